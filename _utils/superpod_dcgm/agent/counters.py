"""Counts what prolog and epilog did, from the spool that they write; the counters outlast this program."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from typing import Any

from superpod_dcgm.base import files, paths

SCRIPTS = ("prolog", "epilog")
# The reasons that the scripts give; `garbage` is for lines of the spool that are none, or name another reason.
REASONS = ("directory", "garbage", "gpu", "job_id", "lock", "mig", "name", "settings", "signal", "table", "write")
# What was odd in the job map's directory: see tidy.Fault.
REPAIRS = ("content", "directory", "kind", "name", "record", "rights")
FAILURES = (*(f"{script} {reason}" for script in SCRIPTS for reason in REASONS), "unknown garbage")
_LINE = re.compile(r"(prolog|epilog) ([0-9]{1,12}) ([a-z_]{1,20}(?:,[a-z_]{1,20}){0,15})", re.ASCII)
# The scripts stop at half of it.
_SPOOL_BYTES = 131072
# A script that opened the spool before it was renamed has written its line by then.
_SETTLED_SECONDS = 2.0
_LOCK_SECONDS = 5.0
# Sentences that are remembered as said; more are said again.
_SAID = 100


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    path = f"{paths.JOB_MAP_STATE}.lock"
    files.make_directory(os.path.dirname(path))
    with files.lock_local(path, _LOCK_SECONDS):
        yield


def _store(known: dict[str, Any]) -> None:
    files.write_atomic(paths.JOB_MAP_STATE, json.dumps(known, sort_keys=True) + "\n")


def load() -> dict[str, Any]:
    """Return the counters, with 0 for all that is lost or no number: any counter may start again."""
    found = files.read_json(paths.JOB_MAP_STATE)
    found = found if isinstance(found, dict) else {}

    def number(key: str, group: str = "") -> float:
        values = found.get(group) if group else found
        value = values.get(key) if isinstance(values, dict) else None
        # JSON's true is a number for Python.
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return 0
        return value if 0 <= value < float("inf") else 0

    return {
        "runs": {script: number(script, "runs") for script in SCRIPTS},
        "microseconds": {script: number(script, "microseconds") for script in SCRIPTS},
        "failures": {key: number(key, "failures") for key in FAILURES},
        "repaired": {reason: number(reason, "repaired") for reason in REPAIRS},
        **{key: number(key) for key in ("removed", "restored", "tried", "moment", "after")},
        "answered": number("answered"),
        "ok": found.get("ok") is True,
        "counted": found.get("counted"),
        **{key: found[key] if isinstance(found.get(key), list) else [] for key in ("lost", "said")},
    }


def count_spool() -> None:
    """
    Count the lines that were set aside in the previous run, and set aside what came since.

    A script may still be writing to what was set aside just now. The counters are stored before the counted file goes,
    and know it then, so that no line is counted twice.

    :raises OSError: the spool cannot be read, or the counters not be stored; the next run tries again.
    """
    aside = f"{paths.SPOOL}.1"
    with _locked():
        for path in (paths.SPOOL, aside):
            _remove_odd(path)
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(aside)
            if 0 <= time.time() - found.st_ctime < _SETTLED_SECONDS:
                return
            known, mark = load(), [found.st_ino, found.st_mtime_ns]
            if known["counted"] != mark:
                with open(aside, "rb") as stream:
                    count_lines(known, stream.read(_SPOOL_BYTES))
                known["counted"] = mark
                _store(known)
            os.unlink(aside)
        with contextlib.suppress(FileNotFoundError):
            os.rename(paths.SPOOL, aside)


def _remove_odd(path: str) -> None:
    """Remove what is no plain file: a FIFO would be waited for, and the scripts write into nothing else."""
    with contextlib.suppress(FileNotFoundError):
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind):
            shutil.rmtree(path)
        elif not stat.S_ISREG(kind):
            os.unlink(path)


def count_lines(known: dict[str, Any], data: bytes) -> None:
    """Add the lines of a spool to the counters."""
    failures = known["failures"]
    for line in data.decode("ascii", "replace").splitlines():
        found = _LINE.fullmatch(line)
        if not found:
            failures["unknown garbage"] += 1
            continue
        script, reasons = found[1], set(found[3].split(",")) - {"ok"}
        known["runs"][script] += 1
        known["microseconds"][script] += int(found[2])
        for reason in reasons:
            failures[f"{script} {reason}" if reason in REASONS else f"{script} garbage"] += 1


def note_reconciliation(
    removed: dict[str, list[str]],
    ok: bool,
    restored: dict[str, list[str]] | None = None,
    after: int = 0,
    lost: Iterable[str] = (),
) -> None:
    """
    Remember a reconciliation for the metrics and for when the next one is due.

    :param removed: the job ids that were removed, per map file.
    :param ok: it worked, and the controller answered where that was needed.
    :param restored: the job ids that were given back, per map file.
    :param after: the job that was asked for last.
    :param lost: the jobs whose label could not be given back.
    :raises OSError: it cannot be stored.
    """
    with _locked():
        known = load()
        known["removed"] += len({job for jobs in removed.values() for job in jobs})
        known["restored"] += len({job for jobs in (restored or {}).values() for job in jobs})
        known |= {"tried": time.time(), "moment": _moment(), "ok": ok, "after": after, "lost": sorted(lost)}
        if ok:
            known["answered"] = known["tried"]
        _store(known)


def note_repairs(reasons: list[str]) -> None:
    """
    Count what was put right in the job map's directory.

    :raises OSError: it cannot be stored.
    """
    if not reasons:
        return
    with _locked():
        known = load()
        for reason in reasons:
            known["repaired"][reason] += 1
        _store(known)


def news(sentences: list[str]) -> list[str]:
    """
    Return those of the sentences that were not said yet since the node started, and remember them.

    :raises OSError: they cannot be remembered.
    """
    with _locked():
        known = load()
        fresh = [sentence for sentence in dict.fromkeys(sentences) if sentence not in known["said"]]
        if fresh:
            known["said"] = [*known["said"], *fresh][-_SAID:]
            _store(known)
    return fresh


def reconciliation_due(interval: float) -> bool:
    """
    Return whether the last one was ``interval`` seconds ago, or there was none since the node started.

    By the time since the boot: the clock may have been set meanwhile.
    """
    moment = load()["moment"]
    return not moment or not 0 <= _moment() - moment < interval


def _moment() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
