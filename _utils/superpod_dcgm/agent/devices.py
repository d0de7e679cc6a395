"""The device table: what prolog and epilog look GPUs up in. It is made outside of any job; the last good one stays."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from typing import Any

from superpod_dcgm.agent import gpus, nvidia, positions
from superpod_dcgm.agent.device_table import Table, parse, render
from superpod_dcgm.agent.gpus import Bad
from superpod_dcgm.agent.made import Before, Made, count_again, make
from superpod_dcgm.agent.nvidia import Trouble
from superpod_dcgm.base import paths
from superpod_dcgm.base.files import make_directory, read_json, write_atomic

# What failed is tried again only so often unless somebody asks: each nvidia-smi that hangs may stay as a process.
_REST_SECONDS = 300
# A slurmd that gave no answer is asked again after so long, and then after twice as long each time.
_FIRST_REST_SECONDS = 10
# What a status says of the table in place, whatever the last attempt came to.
_OF_TABLE = (
    *("positions", "guessed", "note", "pending", "sharing", "bad"),
    *("ask_again", "asked", "in_vain", "mark", "known"),
)
_NUMBER = (int, float)
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("tried", "asked"), _NUMBER),
    **dict.fromkeys(("ok", "guessed", "ask_again"), bool),
    **dict.fromkeys(("problem", "fingerprint", "positions", "note", "pending"), str),
    **{"in_vain": int, "remarks": list, "sharing": list, "mark": dict},
}
# What slurmd said last has all of these.
_KNOWN = {"process", "devices", "sharing"}


def refresh(conf: dict[str, str], force: bool = False) -> dict[str, Any]:
    """
    Make the table again if what it depends on changed since, or in any case.

    :param conf: job-map.conf of this node.
    :param force: make it in any case.
    :return: ``changed``: whether it differs from the one before; ``problem``: why it could not be made as it should,
        or ``""``; ``made``: when the table in place was made (0: there is none); ``gpus``: its UUIDs per DCGM id.
    """
    fingerprint, changed, before = "", False, _before()
    problem = before.status.get("problem", "")
    try:
        if force or not _rests(before.status, fingerprint):
            files = nvidia.tree(nvidia.limit(conf, "nvidia_smi"))
            fingerprint = nvidia.fingerprint(files)
            if made := make(conf, files, before) if force else _due(conf, files, fingerprint, before):
                changed, problem = put(made), made.problem
    except (Trouble, OSError) as exc:
        problem = str(exc)
        note_failure(problem, fingerprint)
    table = current() or Table()
    return {"changed": changed, "problem": problem, "made": table.made, "gpus": table.gpus}


def _before() -> Before:
    return Before(current(), kept(), read_status())


def _due(conf: dict[str, str], files: dict[str, list[str]], fingerprint: str, before: Before) -> Made | None:
    """The table, if it has to be made; only with other positions, if nothing else can have changed."""
    table, status = before.last, before.status
    same = table is not None and table.fingerprint == fingerprint
    if not _rests(status, fingerprint) and not (same and _is_whole(status)):
        return make(conf, files, before)
    if table and same and conf.get("positions", "auto") == "auto" and _slurmd_is_due(conf, status):
        return count_again(table, conf, files, [Bad(**one) for one in status.get("bad", [])], before)
    return None


def _is_whole(status: dict[str, Any]) -> bool:
    return status.get("ok") is True and not status.get("bad")


def _rests(status: dict[str, Any], fingerprint: str) -> bool:
    """Whether the same was tried in vain, or with bad GPUs, a moment ago. The clock may be set, this one is not."""
    recent = 0 <= time.monotonic() - status.get("tried", -_REST_SECONDS) < _REST_SECONDS
    return recent and not _is_whole(status) and status.get("fingerprint") == fingerprint


def _slurmd_is_due(conf: dict[str, str], status: dict[str, Any]) -> bool:
    """Whether another slurmd runs, it has another configuration, or one that did not answer may do so now."""
    mark: dict[str, str] = {}
    with contextlib.suppress(Trouble):
        mark = positions.mark(nvidia.limit(conf, "slurmd"))
    # Where none runs any more, what the last one said is as good as what the next one would say.
    if mark and mark != status.get("mark"):
        return True
    rest = min(_REST_SECONDS, _FIRST_REST_SECONDS << min(status.get("in_vain", 0), 8))
    return bool(status.get("ask_again")) and not 0 <= time.monotonic() - status.get("asked", -rest) < rest


def plan(conf: dict[str, str]) -> Made:
    """
    Return the table as it would be made now, without putting it in place.

    :raises Trouble: it cannot be made.
    """
    return make(conf, nvidia.tree(nvidia.limit(conf, "nvidia_smi")), _before())


def put(made: Made) -> bool:
    """
    Put a table in place, and note how it was made.

    :return: whether it differs from the one before in more than the moment when it was made.
    :raises OSError: it cannot be written; the one before stays.
    """
    changed = bool(differences(made.table))
    make_directory(os.path.dirname(paths.DEVICES))
    write_atomic(paths.DEVICES, render(made.table))
    status = status_of(made)
    status["in_vain"] = read_status().get("in_vain", 0) + 1 if status["ask_again"] else 0
    _write_status(status)
    if made.positions.source == "slurmd" and not made.positions.guessed:
        # For the first job after a boot, in which slurmd cannot be asked yet.
        with contextlib.suppress(OSError):
            write_atomic(paths.DEVICES_KEPT, render(dataclasses.replace(made.table, made=0)))
    return changed


def status_of(made: Made) -> dict[str, Any]:
    """Return the status of a table that is put in place now, as ``read_status`` returns it."""
    found = made.positions
    return {
        "tried": made.tried,
        "ok": not made.problem,
        "problem": made.problem,
        "fingerprint": made.table.fingerprint,
        "positions": found.source,
        "guessed": found.guessed,
        "note": found.note,
        "pending": found.pending,
        "ask_again": found.ask_again,
        "asked": time.monotonic(),
        "mark": found.mark,
        "known": found.known,
        "bad": gpus.described(made.bad),
        "remarks": made.remarks,
        "sharing": list(found.sharing),
    }


def note_failure(problem: str, fingerprint: str = "") -> None:
    """Note why the table could not be made; the last good one stays, with what is known of its positions."""
    kept = {key: value for key, value in read_status().items() if key in _OF_TABLE}
    with contextlib.suppress(OSError):
        make_directory(os.path.dirname(paths.DEVICES_STATUS))
        _write_status({**kept, "ok": False, "problem": problem, "fingerprint": fingerprint})


def _write_status(status: dict[str, Any]) -> None:
    """``checked`` is for people; what is waited for is counted by the clock that nobody sets."""
    full = {"checked": int(time.time()), "tried": time.monotonic(), **status}
    write_atomic(paths.DEVICES_STATUS, json.dumps(full) + "\n")


def read_status() -> dict[str, Any]:
    """
    Return how the last attempt went; empty before the first one.

    ``ok``, ``problem``, ``fingerprint``, ``bad`` (GPUs), ``remarks``, and of the positions ``positions`` (whence they
    are), ``guessed``, ``note`` (why), ``pending`` and ``sharing``. The rest is for the next attempt.
    """
    found = read_json(paths.DEVICES_STATUS, {})
    return {key: value for key, value in found.items() if _is_usable(key, value)} if isinstance(found, dict) else {}


def _is_usable(key: str, value: Any) -> bool:
    """Whether a word of a status is what it should be: one of another release, or a damaged one, stops no tick."""
    if key == "bad":
        return isinstance(value, list) and all(
            isinstance(one, dict)
            and one.keys() == {"gpu", "bus", "why"}
            and all(isinstance(text, str) for text in one.values())
            and (not one["gpu"] or one["gpu"].isdecimal())
            for one in value
        )
    if key == "known":
        return isinstance(value, dict) and (not value or value.keys() >= _KNOWN)
    return isinstance(value, _TYPES.get(key, object))


def current() -> Table | None:
    """Return the table that is in place, or ``None``."""
    return _read_table(paths.DEVICES)


def kept() -> Table | None:
    """Return the last table that slurmd's own answer is in, which outlasts a boot, or ``None``."""
    return _read_table(paths.DEVICES_KEPT)


def _read_table(path: str) -> Table | None:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return parse(stream.read())
    except OSError:
        return None


def differences(table: Table) -> dict[str, dict[str, Any]]:
    """Return in what a table differs from the one in place, but for the moment of its making: old and new."""
    new, old = described(table), described(current() or Table())
    return {key: {"old": old[key], "new": new[key]} for key in new if key != "made" and old[key] != new[key]}


def described(table: Table) -> dict[str, Any]:
    """Return a table as Salt can send and print it."""
    fields = dataclasses.asdict(table)
    for key in ("places", "instances"):
        fields[key] = {name: list(words) for name, words in fields[key].items()}
    return {**fields, "shared": sorted(table.shared), "divided": sorted(table.divided), "sharing": list(table.sharing)}
