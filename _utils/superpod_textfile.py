"""This project's own metrics of a node: counts what prolog and epilog did, and writes all of it as one text file."""

import contextlib
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import superpod_files
import superpod_job_map
import superpod_paths
from superpod_job_map import View

SCRIPTS = ("prolog", "epilog")
# The reasons that the scripts give; `garbage` is for lines of the spool that are none, or name another reason.
REASONS = ("directory", "garbage", "gpu", "job_id", "lock", "mig", "name", "settings", "signal", "table", "write")
FAILURES = (*(f"{script} {reason}" for script in SCRIPTS for reason in REASONS), "unknown garbage")
_LINE = re.compile(r"(prolog|epilog) ([0-9]{1,12}) ([a-z_]{1,20}(?:,[a-z_]{1,20}){0,15})", re.ASCII)
# The scripts stop at half of it.
_SPOOL_BYTES = 131072
# A script that opened the spool before it was renamed has written its line by then.
_SETTLED_SECONDS = 2.0
_LOCK_SECONDS = 5.0


@dataclass
class Family:
    """One metric: its samples are name suffix, labels and value."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        self.samples.append((suffix, labels, value))


@contextlib.contextmanager
def _locked() -> Iterator[None]:
    path = f"{superpod_paths.JOB_MAP_STATE}.lock"
    os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
    with superpod_files.locked(path, _LOCK_SECONDS):
        yield


def _store(known: dict[str, Any]) -> None:
    superpod_files.write_atomic(superpod_paths.JOB_MAP_STATE, json.dumps(known, sort_keys=True) + "\n")


def _load() -> dict[str, Any]:
    """Return the counters, with 0 for all that is lost or no number: any counter may start anew."""
    found = superpod_files.read_json(superpod_paths.JOB_MAP_STATE)
    found = found if isinstance(found, dict) else {}

    def number(key: str, group: str = "") -> float:
        values = found.get(group) if group else found
        value = values.get(key) if isinstance(values, dict) else None
        return value if type(value) in (int, float) and 0 <= value < float("inf") else 0

    return {
        "runs": {script: number(script, "runs") for script in SCRIPTS},
        "microseconds": {script: number(script, "microseconds") for script in SCRIPTS},
        "failures": {key: number(key, "failures") for key in FAILURES},
        "removed": number("removed"),
        "tried": number("tried"),
        "answered": number("answered"),
        "ok": found.get("ok") is True,
        "counted": found.get("counted"),
    }


def count_spool() -> None:
    """
    Count the lines that were set aside in the previous run, and set aside what came since.

    A script may still be writing to what was set aside just now. The counters are stored before the counted file goes,
    and know it then, so that no line is counted twice.

    :raises OSError: the spool cannot be read, or the counters not be stored; the next run tries again.
    """
    aside = f"{superpod_paths.SPOOL}.1"
    with _locked():
        with contextlib.suppress(FileNotFoundError):
            found = os.stat(aside)
            if 0 <= time.time() - found.st_ctime < _SETTLED_SECONDS:
                return
            known, mark = _load(), [found.st_ino, found.st_mtime_ns]
            if known["counted"] != mark:
                with open(aside, "rb") as stream:
                    count_lines(known, stream.read(_SPOOL_BYTES))
                known["counted"] = mark
                _store(known)
            os.unlink(aside)
        with contextlib.suppress(FileNotFoundError):
            os.rename(superpod_paths.SPOOL, aside)


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


def note_reconciliation(removed: dict[str, list[str]], ok: bool) -> None:
    """
    Remember a reconciliation for the metrics and for when the next one is due.

    :param removed: the job ids that were removed, per map file.
    :param ok: it worked, and the controller answered where that was needed.
    :raises OSError: it cannot be stored.
    """
    with _locked():
        known = _load()
        known["removed"] += len({job for jobs in removed.values() for job in jobs})
        known["tried"] = time.time()
        known["ok"] = ok
        if ok:
            known["answered"] = known["tried"]
        _store(known)


def reconciliation_due(interval: float) -> bool:
    """Return whether the last one was ``interval`` seconds ago, or there was none since the node started."""
    return abs(time.time() - _load()["tried"]) >= interval


def write(settings: dict[str, str], table: Any, table_ok: bool) -> None:
    """
    Write all metrics into the directory that the settings name; none named, nothing is written.

    :param table: the device table (``gpus``, ``instances``, ``made``).
    :param table_ok: the last attempt to make it worked.
    :raises OSError: it cannot be written. Only the directory of our own server is made.
    """
    directory = settings.get("textfile", "")
    if not directory:
        return
    if directory == superpod_paths.TEXTFILE_DIRECTORY:
        os.makedirs(directory, mode=0o755, exist_ok=True)
    try:
        view = superpod_job_map.look(settings.get("directory", ""))
    except OSError:
        # Said by the reconciliation; the other metrics are still true.
        view = View({}, {})
    families = [*_counted(_load()), *_devices(table, table_ok), *_jobs(view, table, settings.get("users") == "yes")]
    path = os.path.join(directory, superpod_paths.TEXTFILE)
    superpod_files.write_atomic(path, render(families))
    # The same text is not written again, but its time says that it is still true.
    os.utime(path, follow_symlinks=False)


def _counted(known: dict[str, Any]) -> list[Family]:
    runs = Family("dcgm_job_map_runs_total", "counter", "Runs of prolog and epilog of the job map.")
    failures = Family("dcgm_job_map_failures_total", "counter", "What did not work in prolog and epilog, by reason.")
    seconds = Family("dcgm_job_map_duration_seconds", "summary", "How long prolog and epilog took.")
    for script in SCRIPTS:
        runs.add(known["runs"][script], script=script)
        seconds.add(known["microseconds"][script] / 1e6, "_sum", script=script)
        seconds.add(known["runs"][script], "_count", script=script)
    for key, value in known["failures"].items():
        script, reason = key.split()
        if value or script in SCRIPTS:
            failures.add(value, script=script, reason=reason)
    removed = Family("dcgm_job_map_reconcile_removed_total", "counter", "Job ids that reconciliation removed.")
    removed.add(known["removed"])
    last = Family("dcgm_job_map_reconcile_timestamp_seconds", "gauge", "When a reconciliation got all answers last.")
    ok = Family("dcgm_job_map_reconcile_ok", "gauge", "Whether the last reconciliation got all answers.")
    if known["answered"]:
        last.add(known["answered"])
    if known["tried"]:
        ok.add(int(known["ok"]))
    return [runs, failures, seconds, removed, last, ok]


def _devices(table: Any, table_ok: bool) -> list[Family]:
    made = Family("dcgm_job_map_device_table_timestamp_seconds", "gauge", "When the device table was made.")
    ok = Family("dcgm_job_map_device_table_ok", "gauge", "Whether the last attempt to make the device table worked.")
    if table.made:
        made.add(table.made)
    ok.add(int(table_ok))
    return [made, ok]


def _jobs(view: View, table: Any, users: bool) -> list[Family]:
    count = Family("dcgm_job_map_jobs", "gauge", "Job ids in the map file of a GPU or MIG instance.")
    info = Family("slurm_gpu_job_info", "gauge", "The Slurm jobs that hold a GPU or MIG instance, and whose they are.")
    for name in view.files.keys() | table.gpus.keys() | table.instances.keys():
        gpu, _, instance = name.partition(".")
        place = {"gpu": gpu, **({"GPU_I_ID": instance} if instance else {})}
        ids = view.files[name].ids if name in view.files else []
        count.add(len(ids), **place)
        uuid, profile = table.instances.get(name) or (table.gpus.get(gpu, ""), "")
        device = {**place, "UUID": uuid, **({"GPU_I_PROFILE": profile} if instance else {})}
        for job in ids if users else []:
            record = superpod_job_map.parse_record(view.records[job].data) if job in view.records else None
            record = record or superpod_job_map.Record("", "", "", "")
            owner = {"user": record.user, "account": record.account, "partition": record.partition}
            info.add(1, **device, hpc_job=job, **owner)
    return [count, *([info] if users else [])]


def render(families: list[Family]) -> str:
    """Return the families in Prometheus' text format."""
    lines = []
    for family in sorted(families, key=lambda one: one.name):
        lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
        lines += sorted(f"{family.name}{suffix}{_labels(labels)} {value!r}" for suffix, labels, value in family.samples)
    return "\n".join(lines) + "\n"


def _labels(labels: dict[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
