"""The watcher's snapshot: what is in it, and its file, which engine and runners change under a lock."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from types import NoneType
from typing import Any, TypedDict, cast

from superpod_dcgm.base import files

_LOCK_SECONDS = 10


class _Address(TypedDict, total=False):
    """Where a device is; a snapshot of an earlier release does not have it."""

    ip: str | None


class Node(_Address):
    """
    A device as it is believed to be; ``roles`` is None until an answer spoke of them.

    ``seq`` numbers the change set of its last change, ``delivered`` the one that the node has (-1: none any more).
    ``missing`` and ``silent`` count good lists without the node, or without its roles.
    """

    roles: list[str] | None
    category: str | None
    type: str | None
    since: str | None
    seq: int
    delivered: int
    missing: int
    silent: int


class Attempt(TypedDict, total=False):
    """A role call that was tried, when the next one may be (seconds since the epoch), and what went wrong."""

    seq: int
    count: int
    next: float
    problem: str | None
    claimed: bool


class Repair(TypedDict):
    """
    An apply that a node needs because it lacks something; the watcher makes it with the last applied configuration.

    ``jid``: Salt's job while the apply is at work, or None. ``next``: when it may be tried (seconds since the epoch).
    """

    why: str
    jid: str | None
    since: float
    count: int
    next: float
    problem: str | None


class Repaired(TypedDict):
    """The last repair of a node that succeeded: when, and what it lacked."""

    at: str
    why: str


class Seen(TypedDict):
    """
    What a node last said of itself, and when; None as long as it said nothing.

    ``code``: digest of the package that it runs (base/own_code). ``silent``: since when it does not answer, or None.
    ``odd``: what is odd with what its exporter shows.
    """

    at: str | None
    service: str | None
    release: str | None
    code: str | None
    silent: str | None
    odd: str | None


class Snapshot(TypedDict):
    """
    All that the watcher remembers; times are UTC, ISO 8601.

    ``started``: deployed nodes whose minion started since their last role call. ``deployed``: when a node was
    deployed. ``boots``: the boot (base/boot) in which a node last said that it is. ``applied``: digest of the
    configuration that the administrator last applied. ``tries``: role calls that are owed and were tried.
    ``repairs``: applies that nodes need. ``repaired``: what was repaired. ``seen``: what nodes last said.
    ``doubts``: devices of the last list whose roles cannot be told, with the reason; ``list_problems``: what else
    of that list cannot be used.
    """

    version: int
    seq: int
    updated: str | None
    head: str | None
    failures: int
    error: str | None
    error_since: str | None
    nodes: dict[str, Node]
    started: dict[str, str]
    deployed: dict[str, str]
    boots: dict[str, str]
    applied: dict[str, str]
    tries: dict[str, Attempt]
    repairs: dict[str, Repair]
    repaired: dict[str, Repaired]
    seen: dict[str, Seen]
    target_problems: list[str]
    doubts: dict[str, str]
    list_problems: list[str]


def empty_snapshot() -> Snapshot:
    """Return the snapshot of a watcher that never had an answer."""
    return {
        "version": 1,
        "seq": 0,
        "updated": None,
        "head": None,
        "failures": 0,
        "error": None,
        "error_since": None,
        "nodes": {},
        "started": {},
        "deployed": {},
        "boots": {},
        "applied": {},
        "tries": {},
        "repairs": {},
        "repaired": {},
        "seen": {},
        "target_problems": [],
        "doubts": {},
        "list_problems": [],
    }


UNHEARD: Node = {
    "roles": None,
    "category": None,
    "type": None,
    "since": None,
    "seq": 0,
    "delivered": 0,
    "missing": 0,
    "silent": 0,
}
_WORD = (str, NoneType)
_NUMBER = (int, float)
_PLACE = {"category": _WORD, "type": _WORD, "since": _WORD, "ip": _WORD}
_COUNTS = {"seq": int, "delivered": int, "missing": int, "silent": int}
_PLAN = {"count": int, "next": _NUMBER, "problem": _WORD}
# What the records of a section must have, by type.
_RECORDS: dict[str, dict[str, Any]] = {
    "nodes": {"roles": (list, NoneType), **_PLACE, **_COUNTS},
    "tries": {"seq": int, **_PLAN},
    "repairs": {"why": str, "jid": _WORD, "since": _NUMBER, **_PLAN},
    "repaired": {"at": str, "why": str},
    "seen": dict.fromkeys(("at", "service", "release", "silent", "odd"), _WORD),
}


def read_snapshot(path: str) -> Snapshot:
    """
    Return the snapshot; one that is missing or unusable counts as never having had an answer.

    A record that another release, or a hand, left in another form costs itself and not the whole.
    """
    found = files.read_json(path)
    fresh = empty_snapshot()
    if not isinstance(found, dict) or found.get("version") != fresh["version"]:
        return fresh
    return cast(Snapshot, {key: _usable(key, found.get(key), default) for key, default in fresh.items()})


def _usable(key: str, value: Any, default: Any) -> Any:
    """Return what a snapshot has under a key, without what is of another form than it should be."""
    if default is None:
        return value if isinstance(value, str) else None
    if not isinstance(value, type(default)):
        return default
    if isinstance(value, list):
        return [item for item in value if isinstance(item, str)]
    if not isinstance(value, dict):
        return value
    if key not in _RECORDS:
        return {name: text for name, text in value.items() if isinstance(text, str)}
    completed = {name: _completed(key, one) for name, one in value.items()}
    return {name: one for name, one in completed.items() if one is not None}


def _completed(key: str, record: Any) -> dict[str, Any] | None:
    """Return a record, with what a device of an earlier release does not have, or None for one of another form."""
    if not isinstance(record, dict):
        return None
    found: dict[str, Any] = {**UNHEARD, "ip": None, **record} if key == "nodes" else record
    return found if all(isinstance(found.get(name), kind) for name, kind in _RECORDS[key].items()) else None


@contextlib.contextmanager
def changing(path: str) -> Iterator[Snapshot]:
    """
    Give the snapshot to be changed in place, and write it when the block ends without an error.

    :raises files.Busy: another process holds its lock.
    :raises OSError: the directory cannot be written.
    """
    with files.lock_local(f"{path}.lock", _LOCK_SECONDS):
        snapshot = read_snapshot(path)
        yield snapshot
        files.write_atomic(path, json.dumps(snapshot, indent=1, sort_keys=True) + "\n")
