"""Serve the nodes of a change set: deliver their roles, apply their states, and report on each."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import superpod_apply
import superpod_pending
import superpod_poll
import superpod_snapshot
from superpod_apply import DOWN, Outcome, Run

# A whole apply may have to build first: later orchestrations rather leave their nodes to the next poll.
_PATIENCE = 60


class Serving(superpod_snapshot.Busy):
    """Another orchestration serves. Harmless, unlike a snapshot that stays locked: nothing was done."""


def serve(settings: dict[str, Any], members: Mapping[str, str], run: Run, anew: Collection[str] = ()) -> dict[str, Any]:
    """
    Serve what the watcher claimed; do nothing when nothing is claimed, so that a false event costs nothing.

    :param members: minion ids of the nodes by short name.
    :param anew: serve these members whether they are owed something or not.
    :return: ``{"seq", "nodes": {name: sentence}, "failed": [...], "down": [...]}``
    :raises Serving: another orchestration serves; its successor is started by a later poll.
    :raises superpod_snapshot.Busy: the snapshot stays locked; what was done, if anything, is not noted.
    """
    with _alone(settings):
        # Under the lock, or another orchestration could serve these before they are reported on.
        with superpod_snapshot.changing(settings["snapshot"]) as snapshot:
            superpod_pending.claim_anew(snapshot, anew, time.time(), settings["watcher"]["interval"])
        claimed = superpod_pending.claimed(snapshot)
        work = {name: entry for name, entry in claimed.items() if name in members}
        outcomes = _Change(settings, {members[name]: entry for name, entry in work.items()}, run).made()
        by_name = {name: outcomes[members[name]] for name in work}
        problems = {name: None if outcome.state == "ok" else outcome.text for name, outcome in by_name.items()}
        if work:
            with superpod_snapshot.changing(settings["snapshot"]) as snapshot:
                superpod_pending.settle(snapshot, work, problems)
    return report(by_name, seq=snapshot["seq"])


@contextlib.contextmanager
def _alone(settings: dict[str, Any]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        # Only taking this lock is guarded: the block takes that of the snapshot.
        try:
            held.enter_context(superpod_snapshot.lock(superpod_poll.serving_lock(settings), wait=_PATIENCE))
        except superpod_snapshot.Busy as exc:
            raise Serving(f"another orchestration serves: {exc}") from exc
        yield


def report_on_all(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the report on all nodes that a match found; it has a ``problem`` if those are none, or none answered."""
    if not outcomes:
        return report(outcomes, problem="no accepted minion is matched: look at hosts in the pillar, and `salt-key -L`")
    if all(outcome.state == "down" for outcome in outcomes.values()):
        return report(outcomes, problem=f"none of {len(outcomes)} matched minions answers")
    return report(outcomes)


def report(outcomes: Mapping[str, Outcome], **more: Any) -> dict[str, Any]:
    """Return the per-node report of an orchestration. Nodes that are down are listed and are not failures."""
    return {
        **more,
        "nodes": {name: str(outcome) for name, outcome in sorted(outcomes.items())},
        "failed": sorted(name for name, outcome in outcomes.items() if outcome.state in ("failed", "skipped")),
        "down": sorted(name for name, outcome in outcomes.items() if outcome.state == "down"),
    }


class _Change:
    """One change set on its way: every minion gets an outcome, and who has one gets no further step."""

    def __init__(self, settings: dict[str, Any], work: Mapping[str, dict[str, Any]], run: Run) -> None:
        self._settings, self._work, self._run = settings, work, run
        self._outcomes: dict[str, Outcome] = {}

    def made(self) -> dict[str, Outcome]:
        """Do all steps and return the outcome of every minion."""
        up = superpod_apply.answering(self._run, sorted(self._work))
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
        outcomes = {name: superpod_apply.judge_call(returns.get(name)) for name in ids}
        self._outcomes.update({name: outcome for name, outcome in outcomes.items() if outcome.state != "ok"})

    def _deliver(self, ids: list[str], again: bool = True) -> None:
        """Send all roles in one job; each node takes its own. A node that does not know the function yet is synced."""
        if not ids:
            return
        nodes = {name: {key: self._work[name][key] for key in ("roles", "category")} for name in ids}
        seq = max(self._work[name]["seq"] for name in ids)
        returns = self._run(ids, "bcm.deliver", (), {"nodes": nodes, "seq": seq})
        ignorant = [name for name in ids if again and "is not available" in str(returns.get(name, {}).get("ret"))]
        for name in set(ids) - set(ignorant):
            outcome = superpod_apply.judge_call(returns.get(name))
            if outcome.state != "ok":
                self._outcomes[name] = Outcome("failed", f"roles not delivered: {outcome.text}")
        self._sync(ignorant)
        self._deliver([name for name in ignorant if name not in self._outcomes], again=False)

    def _apply(self, ids: list[str], sls: str) -> None:
        todo = [name for name in ids if name not in self._outcomes]
        size = self._settings["watcher"]["batch"]
        # The master's files may be newer than what a node last synced: new states never meet old modules.
        found = superpod_apply.apply_states(self._run, todo, sls, size, failhard=False, sync_mods="all")
        self._outcomes.update(found)
