"""
Repair nodes that lack something: the whole apply, with the configuration that the administrator last applied to them.

Nobody waits for a repair: it is started as a job of Salt, and a later poll looks for its return. It never queues on a
minion: what is found busy is owed. Without the configuration of the last apply nothing is repaired.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from superpod_dcgm.base.names import timestamp
from superpod_dcgm.fleet import applied, outcomes, rollout
from superpod_dcgm.fleet.minions import Jobs
from superpod_dcgm.watcher import holds, owed
from superpod_dcgm.watcher.snapshot import Repair, Snapshot, changing

# (minion ids, function, arguments, keyword arguments) -> job id, or "" if nobody was asked.
Start = Callable[[Sequence[str], str, Sequence[Any], dict[str, Any]], str]
# Job id -> {minion id: full return} of those that returned so far.
Look = Callable[[str], dict[str, dict[str, Any]]]

UNKNOWN = "it lacks something, and the configuration of its last apply is not known here: apply `dcgm` to it ({})"


def look_after(
    watcher_settings: dict[str, Any], members: Mapping[str, str], told: Collection[str], jobs: Jobs
) -> tuple[list[str], set[str]]:
    """
    Keep the configurations of new applies, see what became of repairs, and begin those whose time has come.

    :param members: minion ids of the nodes by short name.
    :param told: nodes that told of an apply.
    :return: lines for the log, and those of ``told`` that did not say which configuration it was.
    :raises OSError: snapshot or configuration cannot be written.
    :raises files.Busy: the snapshot stays locked.
    """
    digests = applied.ask(watcher_settings, members, told, jobs.run)
    moment = time.time()
    held = holds.read(holds.path(watcher_settings), moment)
    with changing(watcher_settings["snapshot"]) as snapshot:
        snapshot["applied"].update(digests)
        lines = collect(snapshot, members, jobs.look, watcher_settings, moment, timestamp())
        lines += begin(snapshot, members, held, jobs.start, watcher_settings, moment)
    if digests:
        applied.forget(watcher_settings, snapshot["applied"].values())
    return lines, set(told) - digests.keys()


def owe(snapshot: Snapshot, name: str, why: str, moment: float) -> None:
    """Note that a node lacks something, unless that is known and at work already."""
    if name in snapshot["deployed"] and name not in snapshot["repairs"]:
        fresh: Repair = {"why": why, "jid": None, "since": moment, "count": 0, "next": moment, "problem": None}
        snapshot["repairs"][name] = fresh


def collect(
    snapshot: Snapshot,
    members: Mapping[str, str],
    look: Look,
    watcher_settings: dict[str, Any],
    moment: float,
    now: str,
) -> list[str]:
    """
    Look what became of the repairs that are at work, and return lines for the log.

    :param members: minion ids of the nodes by short name.
    :param moment: seconds since the epoch.
    :param now: this moment, as records show it.
    """
    at_work = {name: one for name, one in snapshot["repairs"].items() if one["jid"] and name in members}
    returns = {jid: look(jid) for jid in {one["jid"] for one in at_work.values()} if jid}
    lines = []
    for name, one in at_work.items():
        answer = returns[str(one["jid"])].get(members[name])
        late = not 0 <= moment - one["since"] <= watcher_settings["longest_apply"]
        if answer is None and not late:
            continue
        outcome = outcomes.judge_states(answer)
        if outcome.state == "ok":
            del snapshot["repairs"][name]
            snapshot["repaired"][name] = {"at": now, "why": one["why"]}
            lines.append(f"{name}: repaired: {one['why']}")
            continue
        interval = watcher_settings["watcher"]["interval"]
        one.update({"jid": None, "problem": outcome.text, "next": moment + owed.wait(one["count"], interval)})
        lines.append(f"{name}: not repaired: {outcome.text}")
    return lines


def begin(
    snapshot: Snapshot,
    members: Mapping[str, str],
    held: Collection[str],
    start: Start,
    watcher_settings: dict[str, Any],
    moment: float,
) -> list[str]:
    """
    Start the repairs whose time has come, no more at once than a batch, and return lines for the log.

    :param held: nodes that are left alone.
    """
    repairs = snapshot["repairs"]
    due = [
        name
        for name, one in sorted(repairs.items())
        if name in members and name not in held and not one["jid"] and owed.is_due(one["next"], moment)
    ]
    free = rollout.batch_size(len(members), watcher_settings["watcher"]["batch"])
    # One that is no member any more never returns, and takes nobody's place.
    free -= sum(bool(one["jid"]) for name, one in repairs.items() if name in members)
    by_digest: dict[str, list[str]] = {}
    lines = []
    for name in due[: max(0, free)]:
        one = repairs[name]
        one["count"] += 1
        one["next"] = moment + owed.wait(one["count"], watcher_settings["watcher"]["interval"])
        digest = snapshot["applied"].get(name, "")
        if applied.load(watcher_settings, digest) is None:
            one["problem"] = UNKNOWN.format(one["why"])
            lines.append(f"{name}: {one['problem']}")
        else:
            by_digest.setdefault(digest, []).append(name)
    for digest, names in by_digest.items():
        lines += _started(repairs, {name: members[name] for name in names}, digest, start, watcher_settings, moment)
    return lines


def _started(
    repairs: dict[str, Repair],
    ids: Mapping[str, str],
    digest: str,
    start: Start,
    watcher_settings: dict[str, Any],
    moment: float,
) -> list[str]:
    pillar = {"dcgm_last_applied": applied.load(watcher_settings, digest)}
    # The master's files may be newer than what a node has: new states never meet old modules.
    jid = start(list(ids.values()), "state.apply", ["dcgm"], {"pillar": pillar, "sync_mods": "all"})
    if not jid:
        return [f"{', '.join(ids)}: the master did not take the repair; tried again"]
    for name in ids:
        repairs[name].update({"jid": jid, "since": moment, "problem": None})
    return [f"{name}: repair begins (job {jid}): {repairs[name]['why']}" for name in ids]
