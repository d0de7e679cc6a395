"""Nodes that the administrator holds: watcher and roll-out leave them alone. One record on the head."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any, TypedDict

from superpod_dcgm.base import files, names

_LOCK_SECONDS = 10
_HOUR = 3600


class Hold(TypedDict):
    """Since when a node is held, and until when (seconds since the epoch); None: until it is let go."""

    since: str
    until: float | None


def path(watcher_settings: dict[str, str]) -> str:
    """Return the file of the holds, beside the snapshot."""
    return os.path.join(os.path.dirname(watcher_settings["snapshot"]), "holds.json")


def read(file: str, moment: float) -> dict[str, Hold]:
    """
    Return the holds that count now, by short name.

    :param moment: seconds since the epoch.
    """
    found = files.read_json(file, {})
    known: dict[str, Any] = found if isinstance(found, dict) else {}
    return {name: one for name, one in known.items() if _counts(one, moment)}


def _counts(one: Any, moment: float) -> bool:
    if not isinstance(one, dict) or not isinstance(one.get("since"), str):
        return False
    until = one.get("until")
    return until is None or (isinstance(until, (int, float)) and moment < until)


def text(one: Hold) -> str:
    """Return a hold in words."""
    until = "until it is let go" if one["until"] is None else f"until {names.timestamp(one['until'])}"
    return f"held since {one['since']}, {until}"


def hold(file: str, nodes: Iterable[str], hours: float | None, moment: float, now: str) -> None:
    """
    Hold nodes; one that is held already gets the new time.

    :param hours: None: until they are let go.
    :raises files.Busy: another command changes the holds.
    :raises OSError: the file cannot be written.
    """
    until = None if hours is None else moment + hours * _HOUR
    with files.lock_local(f"{file}.lock", _LOCK_SECONDS):
        _write(file, {**read(file, moment), **{name: Hold(since=now, until=until) for name in nodes}})


def unhold(file: str, nodes: Iterable[str], moment: float) -> list[str]:
    """
    Let nodes go, and return those that were held.

    :raises files.Busy: another command changes the holds.
    :raises OSError: the file cannot be written.
    """
    with files.lock_local(f"{file}.lock", _LOCK_SECONDS):
        known = read(file, moment)
        found = sorted(known.keys() & set(nodes))
        _write(file, {name: one for name, one in known.items() if name not in found})
    return found


def _write(file: str, holds: dict[str, Hold]) -> None:
    files.write_atomic(file, json.dumps(holds, indent=1, sort_keys=True) + "\n")
