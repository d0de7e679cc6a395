"""
Carry out a change set: one role call to each node that is owed one, and note what the nodes say.

A role call renders nothing and asks for no file, so it cannot roll out a newer pillar. A node that does not know it is
neither synced nor applied; one that lacks something is noted for a repair (fleet/repair).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from superpod_dcgm.base import files
from superpod_dcgm.base.names import timestamp
from superpod_dcgm.fleet import outcomes, repair, report
from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.fleet.outcomes import Outcome
from superpod_dcgm.watcher import holds, last_seen, owed
from superpod_dcgm.watcher.snapshot import Snapshot, changing

# Of the calls; a node that knows another one says so, and is left as it is (exporter/role_call).
VERSION = 1
# Nodes that are called at once: thousands of answers at the same moment would hold up the master.
_AT_ONCE = 200
# Seconds for another change set that is at work: after that, the nodes are left to the next poll.
_PATIENCE = 60
_DELIVERED = ("roles", "category")
CLEANED = Outcome("ok", "nothing is deployed there any more: it was cleaned, since it did not boot meanwhile")


class AtWork(files.Busy):
    """Another change set is at work. Harmless, unlike a snapshot that stays locked: nothing was done."""


def carry_out(
    watcher_settings: dict[str, Any], members: Mapping[str, str], run: Run, again: Collection[str] = ()
) -> dict[str, Any]:
    """
    Call the nodes that the watcher claimed; where nothing is claimed, a false event costs nothing.

    :param members: minion ids of the nodes by short name.
    :param again: members that are called whether they are owed something or not.
    :return: the report: a sentence per node, and the lists ``failed``, ``down``, ``owed`` …
    :raises AtWork: another change set is at work; this one is started again by a later poll.
    :raises files.Busy: the snapshot stays locked; what was done, if anything, is not noted.
    """
    return report.report(outcomes_of(watcher_settings, members, run, again))


def outcomes_of(
    watcher_settings: dict[str, Any], members: Mapping[str, str], run: Run, again: Collection[str] = ()
) -> dict[str, Outcome]:
    """
    Do as ``carry_out`` does, and return the outcome of each node by name.

    :raises AtWork: another change set is at work.
    :raises files.Busy: the snapshot stays locked.
    """
    held = holds.read(holds.path(watcher_settings), time.time())
    with _alone(watcher_settings):
        # Under the lock, or another change set could settle these before they are reported on.
        with changing(watcher_settings["snapshot"]) as snapshot:
            free = set(again) - held.keys()
            owed.claim_again(snapshot, free, time.time(), watcher_settings["watcher"]["interval"])
        claimed = owed.claimed(snapshot)
        work = {name: entry for name, entry in claimed.items() if name in members and name not in held}
        returns = _called(work, members, run)
        found = _judged(snapshot, work, members, returns, run)
        if work:
            with changing(watcher_settings["snapshot"]) as snapshot:
                _settle(snapshot, work, found, returns)
    return {**found, **dict.fromkeys(set(again) & held.keys(), outcomes.HELD)}


@contextlib.contextmanager
def _alone(watcher_settings: dict[str, Any]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        # Only taking this lock is guarded: the block takes that of the snapshot.
        try:
            held.enter_context(files.lock_local(owed.lock_file(watcher_settings["snapshot"]), _PATIENCE))
        except files.Busy as exc:
            raise AtWork(f"another change set is at work: {exc}") from exc
        yield


def _called(work: Mapping[str, owed.Work], members: Mapping[str, str], run: Run) -> dict[str, dict[str, Any]]:
    """Return the full returns by short name. Each job has the roles of its own nodes; each node takes its own."""
    found: dict[str, dict[str, Any]] = {}
    # Roles that are not known are not sent: such a node is owed a call that nobody can make yet.
    names = sorted(name for name, entry in work.items() if entry["roles"] is not None)
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        nodes = {members[name]: {key: work[name][key] for key in _DELIVERED} for name in some}  # type: ignore[literal-required]
        seq = max(work[name]["seq"] for name in some)
        kwarg = {"version": VERSION, "nodes": nodes, "seq": seq}
        returns = run(list(nodes), "bcm.role_call", (), kwarg)
        found.update({name: returns[members[name]] for name in some if members[name] in returns})
    return found


def _judged(
    snapshot: Snapshot,
    work: Mapping[str, owed.Work],
    members: Mapping[str, str],
    returns: Mapping[str, dict[str, Any]],
    run: Run,
) -> dict[str, Outcome]:
    found = {}
    for name, entry in work.items():
        if entry["roles"] is None:
            found[name] = Outcome("ok", "its roles are not known yet")
        else:
            found[name] = outcomes.judge_role_call(returns.get(name), name in snapshot["deployed"])
            if _was_cleaned(snapshot, name, returns.get(name)):
                found[name] = CLEANED
    # One that knows no role call has old code of ours, or none at all since it was re-provisioned.
    old = sorted(name for name, outcome in found.items() if outcome.state == "old")
    asked = run([members[name] for name in old], "bcm.health", [_NO_RULES], {}) if old else {}
    for name in old:
        if outcomes.is_bare(asked.get(members[name])):
            found[name] = Outcome("lacking", "it has nothing of what the last apply put there: it was re-provisioned")
    return found


def _was_cleaned(snapshot: Snapshot, name: str, answer: dict[str, Any] | None) -> bool:
    """Whether a deployed node lost all of ours without a boot: somebody cleaned it, and nobody heard it say so."""
    said = (answer or {}).get("ret")
    if name not in snapshot["deployed"] or not isinstance(said, dict) or said.get("deployed") is not False:
        return False
    return said.get("state") != "busy" and bool(said.get("boot")) and said["boot"] == snapshot["boots"].get(name)


# An older version of `bcm.health` demands rules; what it says of roles is not used.
_NO_RULES = {"source": "none", "run_on": []}


def _settle(
    snapshot: Snapshot,
    work: Mapping[str, owed.Work],
    found: Mapping[str, Outcome],
    returns: Mapping[str, dict[str, Any]],
) -> None:
    moment = time.time()
    _note_deployed(snapshot, {name: returns[name].get("ret") for name in work if name in returns})
    problems: dict[str, str | None] = {}
    for name, outcome in found.items():
        problems[name] = None if outcome.state in ("ok", "lacking") else outcome.text
        if outcome is CLEANED:
            owed.note(snapshot, owed.News(removed={name}), (), timestamp())
        elif outcome.state == "lacking":
            # It has its roles, and gets the rest by a repair, whose service state follows them.
            repair.owe(snapshot, name, outcome.text, moment)
    owed.settle(snapshot, work, problems)
    said = {name: returns[name].get("ret") for name in work if name in returns}
    called = [name for name, entry in work.items() if entry["roles"] is not None]
    last_seen.note(snapshot, called, said, timestamp())


def _note_deployed(snapshot: Snapshot, said: Mapping[str, Any]) -> None:
    """Who says that it is deployed is so, whatever was heard or lost; one at work may be in its last moments."""
    for name, answer in said.items():
        if isinstance(answer, dict) and answer.get("deployed") is True and answer.get("state") not in ("busy", None):
            snapshot["deployed"].setdefault(name, timestamp())
            snapshot["boots"][name] = str(answer.get("boot"))
