"""
Which nodes are owed a role call: those whose roles changed since the last one, and those whose minion started.

Pure functions on the watcher's snapshot. A role call stays owed until a node says that it worked; it is tried
again with growing intervals, and at once when the node's minion starts.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypedDict

from superpod_dcgm.watcher.snapshot import Attempt, Snapshot

_OF_DEPLOYED: tuple[Literal["started", "boots", "applied", "repairs", "repaired", "seen"], ...]
_OF_DEPLOYED = ("started", "boots", "applied", "repairs", "repaired", "seen")
# A change set takes seconds to begin, however often the watcher polls.
_SHORTEST_WAIT, _LONGEST_WAIT = 5, 900


@dataclass
class News:
    """Short names of nodes by what was heard of them since the last poll."""

    started: set[str] = field(default_factory=set)
    # The administrator applies `dcgm`; until it is cleaned away, the node is repaired when it lacks something.
    deployed: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    # An apply succeeded: its configuration is asked for.
    applied: set[str] = field(default_factory=set)
    # An apply found that the node has no roles, for example because it was cleaned and deployed again.
    roleless: set[str] = field(default_factory=set)
    # Its exporter does not follow its roles, or something is missing, for example because somebody removed it.
    strayed: set[str] = field(default_factory=set)


class Work(TypedDict):
    """What a node is owed: its roles (None: they are not known); ``started``: when its minion did, if it did."""

    roles: list[str] | None
    category: str | None
    seq: int
    started: str | None


def lock_file(snapshot_file: str) -> str:
    """Return the lock file that is held while a change set is carried out."""
    return os.path.join(os.path.dirname(snapshot_file), "deliveries.lock")


def nodes(snapshot: Snapshot, members: Collection[str]) -> list[str]:
    """Return the members that are owed a role call, in order."""
    known, started = snapshot["nodes"], snapshot["started"]
    return sorted(
        name for name in members if name in started or (name in known and known[name]["delivered"] < known[name]["seq"])
    )


def note(snapshot: Snapshot, news: News, members: Collection[str], now: str) -> None:
    """
    Remember what was heard of the members.

    A minion that starts gets its role call at once, whatever back-off it is in: it may have booted.
    """
    deployed = snapshot["deployed"]
    for name in news.deployed.intersection(members):
        deployed[name] = now
        # It may know role calls now.
        snapshot["tries"].pop(name, None)
    for name in news.applied.intersection(members):
        # The administrator put right what was missing, and the node is not busy with it any more.
        snapshot["repairs"].pop(name, None)
        snapshot["tries"].pop(name, None)
    for name in news.removed:
        for records in (deployed, *(snapshot[key] for key in _OF_DEPLOYED)):
            # What it said before is not true any more, and nobody asks a node that is not deployed.
            records.pop(name, None)
    for name in news.started.intersection(members):
        snapshot["tries"].pop(name, None)
        if name in deployed:
            snapshot["started"][name] = now
    note_all(snapshot, (news.roleless | news.strayed).intersection(members))


def note_all(snapshot: Snapshot, names: Iterable[str]) -> None:
    """Owe the nodes a role call again, although nothing changed."""
    for name in names:
        snapshot["tries"].pop(name, None)
        if name in snapshot["nodes"]:
            snapshot["nodes"][name]["delivered"] = -1


def is_due(at: float, moment: float) -> bool:
    """
    Return whether the moment ``at`` has come; one that is further away than any wait was set by another clock.

    :param moment: now, in seconds since the epoch.
    """
    return at <= moment or at - moment > _LONGEST_WAIT


def wait(count: int, interval: float) -> float:
    """Return the seconds until what failed ``count`` times is tried again."""
    return float(min(_LONGEST_WAIT, max(interval, _SHORTEST_WAIT) * 2 ** min(count - 1, 20)))


def claim(
    snapshot: Snapshot, members: Collection[str], moment: float, interval: float, held: Collection[str] = ()
) -> list[str]:
    """
    Choose the owed nodes whose time has come, for one change set; a change newer than the last try does not wait.

    :param moment: now, in seconds since the epoch.
    :param held: nodes that are left alone.
    """
    claimed = []
    for name in nodes(snapshot, set(members) - set(held)):
        seq = _seq(snapshot, name)
        attempt: Attempt | None = snapshot["tries"].get(name)
        if attempt is None or attempt["seq"] != seq:
            attempt = {"seq": seq, "count": 0, "next": moment, "problem": None}
        if not is_due(attempt["next"], moment):
            continue
        attempt["count"] += 1
        attempt["next"] = moment + wait(attempt["count"], interval)
        attempt["claimed"] = True
        snapshot["tries"][name] = attempt
        claimed.append(name)
    return claimed


def claim_again(snapshot: Snapshot, names: Collection[str], moment: float, interval: float) -> None:
    """Claim nodes because the administrator wants it, although nothing changed; unknown roles are not sent."""
    note_all(snapshot, names)
    for name in names:
        seq = _seq(snapshot, name)
        snapshot["tries"][name] = {"seq": seq, "count": 1, "next": moment + interval, "problem": None, "claimed": True}


def claimed(snapshot: Snapshot) -> dict[str, Work]:
    """Return the work of a change set: ``{name: {"roles": [...] | None, "category", "seq", "started"}}``."""
    work: dict[str, Work] = {}
    for name, attempt in snapshot["tries"].items():
        if attempt.get("claimed"):
            node = snapshot["nodes"].get(name)
            work[name] = {
                "roles": node["roles"] if node else None,
                "category": node["category"] if node else None,
                "seq": _seq(snapshot, name),
                "started": snapshot["started"].get(name),
            }
    return work


def called_next(snapshot: Snapshot, members: Collection[str]) -> set[str]:
    """Return the members that get a role call now, or their first one as soon as the change set at work is done."""
    tries = snapshot["tries"]
    first = {name for name in nodes(snapshot, members) if tries.get(name, {}).get("seq") != _seq(snapshot, name)}
    return first | (claimed(snapshot).keys() & set(members))


def _seq(snapshot: Snapshot, name: str) -> int:
    """The number of a node's last change; a node that no answer had yet may be owed a call all the same."""
    return snapshot["nodes"][name]["seq"] if name in snapshot["nodes"] else 0


def settle(snapshot: Snapshot, work: Mapping[str, Work], problems: dict[str, str | None]) -> None:
    """
    Note how a change set went: a node without a problem is owed nothing any more, unless something came since.

    :param work: what ``claimed`` returned before the role calls.
    :param problems: per node what went wrong, or None.
    """
    for name, problem in problems.items():
        attempt, node = snapshot["tries"].get(name), snapshot["nodes"].get(name)
        if problem is not None:
            if attempt:
                attempt.update({"claimed": False, "problem": problem})
            continue
        snapshot["tries"].pop(name, None)
        if node and node["seq"] == work[name]["seq"]:
            node["delivered"] = work[name]["seq"]
        if snapshot["started"].get(name) == work[name]["started"]:
            snapshot["started"].pop(name, None)
