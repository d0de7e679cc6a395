"""Carry out a change set: deliver roles to the nodes that are owed them, apply their states, report on each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Literal

from superpod_dcgm.base import files
from superpod_dcgm.fleet import health, report, rollout
from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.fleet.outcomes import DOWN, Outcome, judge_call
from superpod_dcgm.watcher import owed
from superpod_dcgm.watcher.snapshot import changing

# A node may have to build first: later orchestrations rather leave their nodes to the next poll.
_PATIENCE = 60
_DELIVERED: tuple[Literal["roles"], Literal["category"]] = ("roles", "category")


class AtWork(files.Busy):
    """Another orchestration is at work. Harmless, unlike a snapshot that stays locked: nothing was done."""


def carry_out(
    watcher_settings: dict[str, Any], members: Mapping[str, str], run: Run, again: Collection[str] = ()
) -> dict[str, Any]:
    """
    Give the nodes what the watcher claimed for them; where nothing is claimed, a false event costs nothing.

    :param members: minion ids of the nodes by short name.
    :param again: members that get their roles and states whether they are owed something or not.
    :return: ``{"seq", "nodes": {name: sentence}, "failed": [...], "down": [...]}``
    :raises AtWork: another orchestration carries out a change set; its successor is started by a later poll.
    :raises files.Busy: the snapshot stays locked; what was done, if anything, is not noted.
    """
    with _alone(watcher_settings):
        # Under the lock, or another orchestration could settle these before they are reported on.
        with changing(watcher_settings["snapshot"]) as snapshot:
            owed.claim_again(snapshot, again, time.time(), watcher_settings["watcher"]["interval"])
        claimed = owed.claimed(snapshot)
        work = {name: entry for name, entry in claimed.items() if name in members}
        outcomes = _Change(watcher_settings, {members[name]: entry for name, entry in work.items()}, run).made()
        by_name = {name: outcomes[members[name]] for name in work}
        problems = {name: None if outcome.state == "ok" else outcome.text for name, outcome in by_name.items()}
        if work:
            with changing(watcher_settings["snapshot"]) as snapshot:
                owed.settle(snapshot, work, problems)
    # Without the lock: the next change set need not wait for what is only for display.
    down = [name for name, outcome in by_name.items() if outcome is DOWN]
    if work:
        health.ask(watcher_settings, members, work.keys() - set(down), run, silent=down)
    return report.report(by_name, seq=snapshot["seq"])


@contextlib.contextmanager
def _alone(watcher_settings: dict[str, Any]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        # Only taking this lock is guarded: the block takes that of the snapshot.
        try:
            held.enter_context(files.lock_local(owed.lock_file(watcher_settings["snapshot"]), _PATIENCE))
        except files.Busy as exc:
            raise AtWork(f"another orchestration delivers: {exc}") from exc
        yield


class _Change:
    """One change set on its way: every minion gets an outcome, and who has one gets no further step."""

    def __init__(self, watcher_settings: dict[str, Any], work: Mapping[str, owed.Work], run: Run) -> None:
        self._settings, self._work, self._run = watcher_settings, work, run
        self._outcomes: dict[str, Outcome] = {}

    def made(self) -> dict[str, Outcome]:
        """Do all steps and return the outcome of every minion."""
        up = rollout.answering(self._run, sorted(self._work))
        self._outcomes.update(dict.fromkeys(set(self._work) - set(up), DOWN))
        started = [name for name in up if self._work[name]["started"]]
        # A node that boots from its image may have old code of ours, or none.
        self._sync(started)
        self._deliver([name for name in up if self._work[name]["roles"] is not None and name not in self._outcomes])
        states = self._settings["states"]
        self._apply([name for name in up if name not in started], states["changed"])
        self._apply(started, states["started"])
        return self._outcomes

    def _sync(self, ids: list[str]) -> None:
        returns = self._run(ids, "saltutil.sync_all", (), {}) if ids else {}
        outcomes = {name: judge_call(returns.get(name)) for name in ids}
        self._outcomes.update({name: outcome for name, outcome in outcomes.items() if outcome.state != "ok"})

    def _deliver(self, ids: list[str], again: bool = True) -> None:
        """Send all roles in one job; each node takes its own. One that fails may have old code: it is synced first."""
        if not ids:
            return
        nodes = {name: {key: self._work[name][key] for key in _DELIVERED} for name in ids}
        seq = max(self._work[name]["seq"] for name in ids)
        returns = self._run(ids, "bcm.deliver", (), {"nodes": nodes, "seq": seq})
        outcomes = {name: judge_call(returns.get(name)) for name in ids}
        failed = {name: outcome for name, outcome in outcomes.items() if outcome.state != "ok"}
        # Who does not answer is not asked twice.
        once_more = [name for name in failed if again and name in returns]
        for name in failed.keys() - set(once_more):
            self._outcomes[name] = Outcome("failed", f"roles not delivered: {failed[name].text}")
        self._sync(once_more)
        for name in set(once_more) & self._outcomes.keys():
            # Why it could not be synced says less than why it failed before.
            self._outcomes[name] = Outcome("failed", f"roles not delivered: {failed[name].text}")
        self._deliver([name for name in once_more if name not in self._outcomes], again=False)

    def _apply(self, ids: list[str], sls: str) -> None:
        todo = [name for name in ids if name not in self._outcomes]
        size = self._settings["watcher"]["batch"]
        # The master's files may be newer than what a node last synced: new states never meet old modules.
        found = rollout.apply_states(self._run, todo, sls, size, failhard=False, sync_mods="all")
        self._outcomes.update(found)
