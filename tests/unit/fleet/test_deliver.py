"""Carrying out a change set through a fake bus: who gets what, in which order, and what the report says."""

from __future__ import annotations

import contextlib
import json
import time
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import files
from superpod_dcgm.fleet import deliver, minions, rollout
from superpod_dcgm.fleet import report as fleet_report
from superpod_dcgm.fleet.outcomes import DOWN, Outcome, judge_health
from superpod_dcgm.watcher import belief, owed
from superpod_dcgm.watcher.snapshot import changing, read_snapshot

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
GOOD = {"ret": {"x": {"result": True, "changes": {"new": 1}}, "y": {"result": True, "changes": {}}}, "retcode": 0}
BAD = {"ret": {"x": {"result": False, "comment": "no room\nmore", "__id__": "Run it", "__run_num__": 1}}, "retcode": 2}
HEALTH = {"ret": {"service": "running", "release": "1.0", "right": True}, "retcode": 0}
NOT_AVAILABLE = {"ret": "'bcm.deliver' is not available.", "retcode": 254}


class Bus:
    """Answers as minions would; ``answers`` overrules by minion and function, the last one counting for ever."""

    def __init__(self, **answers):
        self.answers, self.down, self.calls, self.options = answers, set(), [], []

    def __call__(self, ids, fun, arg, kwarg):
        self.calls.append((fun, list(ids), *arg))
        self.options.append((fun, kwarg))
        return {name: self.one(name, fun) for name in ids if name not in self.down}

    def one(self, name, fun):
        kind = fun.split(".")[1]
        queue = self.answers.get(f"{name.split('.')[0]}_{kind}")
        if queue:
            return queue.pop(0) if len(queue) > 1 else queue[0]
        return {"ping": {"ret": True}, "apply": GOOD, "health": HEALTH}.get(
            kind, {"ret": {"changed": True}, "retcode": 0}
        )


@pytest.fixture
def watched(tmp_path):
    settings = {
        "snapshot": str(tmp_path / "snapshot.json"),
        "watcher": {"batch": "20%", "interval": 30, "deadline": 60},
        "states": {"changed": "service", "started": "whole"},
        "roles": {"source": "bcm", "run_on": ["slurmclient"]},
    }
    devices = {name: {"roles": ["slurmclient"], "category": "dgx", "type": None} for name in MEMBERS}
    with changing(settings["snapshot"]) as snapshot:
        step = belief.answered(snapshot, "master", devices, "t0", belief.Rules())
        snapshot.update(step.snapshot)
        owed.note(snapshot, owed.News(started={"c"}, deployed={"c"}), MEMBERS, "t0")
        owed.claim(snapshot, MEMBERS, 0, 30)
    return settings


def pending(settings):
    return owed.nodes(read_snapshot(settings["snapshot"]), MEMBERS)


def test_changed_nodes_get_the_service_state_and_started_ones_all(watched) -> None:
    bus = Bus()
    report = deliver.carry_out(watched, MEMBERS, bus)
    assert bus.calls == [
        ("test.ping", ["a.cluster", "b", "c"]),
        ("saltutil.sync_all", ["c"]),
        ("bcm.deliver", ["a.cluster", "b", "c"]),
        ("state.apply", ["a.cluster"], "service"),
        ("state.apply", ["b"], "service"),
        ("state.apply", ["c"], "whole"),
        ("bcm.health", ["a.cluster", "b", "c"], watched["roles"]),
    ]
    good = "ok: 2 states, 1 changed"
    assert report == {"seq": 1, "nodes": {"a": good, "b": good, "c": good}, "failed": [], "down": []}
    assert pending(watched) == []


def test_every_apply_syncs_since_states_may_be_newer_than_modules(watched) -> None:
    bus = Bus()
    deliver.carry_out(watched, MEMBERS, bus)
    assert [kwarg["sync_mods"] for fun, kwarg in bus.options if fun == "state.apply"] == ["all"] * 3


def test_a_false_event_calls_nobody(watched) -> None:
    deliver.carry_out(watched, MEMBERS, Bus())
    bus = Bus()
    assert deliver.carry_out(watched, MEMBERS, bus)["nodes"] == {} and bus.calls == []


def test_nodes_get_their_roles_again_although_they_are_owed_nothing(watched) -> None:
    deliver.carry_out(watched, MEMBERS, Bus())
    report = deliver.carry_out(watched, MEMBERS, Bus(a_apply=[BAD]), again={"a", "b"})
    assert (list(report["nodes"]), report["failed"], pending(watched)) == (["a", "b"], ["a"], ["a"])


def test_a_node_that_is_down_stays_pending_and_is_no_failure(watched) -> None:
    bus = Bus()
    bus.down = {"b"}
    report = deliver.carry_out(watched, MEMBERS, bus)
    assert (report["failed"], report["down"], pending(watched)) == ([], ["b"], ["b"])
    assert all("b" not in ids for fun, ids, *_ in bus.calls if fun != "test.ping")


def test_what_the_nodes_are_afterwards_is_remembered(watched) -> None:
    bus = Bus()
    bus.down = {"b"}
    deliver.carry_out(watched, MEMBERS, bus)
    seen = read_snapshot(watched["snapshot"])["seen"]
    assert (seen["a"]["service"], seen["a"]["release"], seen["a"]["silent"]) == ("running", "1.0", None)
    assert seen["b"]["at"] is None and seen["b"]["silent"]


def test_a_failed_state_fails_that_node_alone(watched) -> None:
    report = deliver.carry_out(watched, MEMBERS, Bus(a_apply=[BAD]))
    assert report["failed"] == ["a"] and report["nodes"]["a"] == "failed: Run it: no room"
    assert pending(watched) == ["a"]


def test_a_node_without_our_code_is_synced_and_asked_again(watched) -> None:
    bus = Bus(a_deliver=[NOT_AVAILABLE, {"ret": {"changed": True}, "retcode": 0}])
    assert deliver.carry_out(watched, MEMBERS, bus)["failed"] == []
    assert bus.calls[3:5] == [("saltutil.sync_all", ["a.cluster"]), ("bcm.deliver", ["a.cluster"])]


def test_why_a_delivery_failed_is_told_also_where_the_sync_fails_then(watched) -> None:
    full = {"ret": "ERROR: No space left on device", "retcode": 1}
    report = deliver.carry_out(watched, MEMBERS, Bus(a_deliver=[full], a_sync_all=[{"ret": "no", "retcode": 1}]))
    assert report["nodes"]["a"] == "failed: roles not delivered: ERROR: No space left on device"


def test_a_node_that_never_learns_our_code_fails(watched) -> None:
    report = deliver.carry_out(watched, MEMBERS, Bus(a_deliver=[NOT_AVAILABLE]))
    assert report["nodes"]["a"].startswith("failed: roles not delivered: 'bcm.deliver' is not available")


@pytest.mark.parametrize(
    ("fun", "answer", "expected"),
    [
        ("deliver", {"ret": "ERROR: disk full", "retcode": 1}, "roles not delivered: ERROR: disk full"),
        ("apply", {"ret": ["Rendering SLS failed: x", "y"], "retcode": 1}, "Rendering SLS failed: x"),
        ("apply", {}, "no answer to the state apply"),
        ("apply", {"ret": {}}, "{}"),
    ],
)
def test_every_kind_of_failure_has_its_sentence(watched, fun, answer, expected) -> None:
    report = deliver.carry_out(watched, MEMBERS, Bus(**{f"a_{fun}": [answer]}))
    assert report["failed"] == ["a"] and expected in report["nodes"]["a"]


def test_a_minion_whose_key_went_away_is_not_called(watched) -> None:
    bus = Bus()
    deliver.carry_out(watched, {"a": "a.cluster"}, bus)
    assert {name for _, ids, *_ in bus.calls for name in ids} == {"a.cluster"}


def test_two_orchestrations_do_not_serve_at_once(watched, monkeypatch) -> None:
    monkeypatch.setattr(deliver, "_PATIENCE", 0.2)
    with files.lock_local(owed.lock_file(watched["snapshot"]), 0), pytest.raises(deliver.AtWork):
        deliver.carry_out(watched, MEMBERS, Bus())


def test_a_snapshot_that_stays_locked_is_not_taken_for_another_orchestration(watched, monkeypatch) -> None:
    lock = files.lock_local
    monkeypatch.setattr(files, "lock_local", lambda path, seconds: lock(path, min(seconds, 0.2)))
    with lock(f"{watched['snapshot']}.lock", 0), pytest.raises(files.Busy) as caught:
        deliver.carry_out(watched, MEMBERS, Bus())
    assert not isinstance(caught.value, deliver.AtWork)


@pytest.fixture
def runner(load, watched, tmp_path, monkeypatch):
    """The runner, with a client of Salt that reaches nobody."""
    (tmp_path / "watcher.json").write_text(json.dumps(watched))
    runner = load(
        "_runners/bcm.py",
        __opts__={"superpod_dcgm_settings": str(tmp_path / "watcher.json"), "conf_file": ""},
        __context__={},
    )
    monkeypatch.setattr(runner, "members", lambda match=None: MEMBERS)
    monkeypatch.setattr(minions, "client", lambda conf_file, seconds: contextlib.nullcontext(Bus()))
    monkeypatch.setattr(deliver, "_PATIENCE", 0.2)
    return runner


def test_the_runner_finds_only_the_serving_lock_harmless(runner, watched, monkeypatch) -> None:
    lock = files.lock_local
    monkeypatch.setattr(files, "lock_local", lambda path, seconds: lock(path, min(seconds, 0.2)))
    with lock(owed.lock_file(watched["snapshot"]), 0):
        assert "another orchestration delivers" in runner.deliver_changes()["busy"] and runner.__context__ == {}
    with lock(f"{watched['snapshot']}.lock", 0), pytest.raises(CommandExecutionError, match="is not noted"):
        runner.deliver_changes()


def later(*returns):
    """Return what a client gives: returns as they come, and None in between; at last nothing but None, for ever."""
    yield from returns
    while True:
        yield None


def test_a_node_that_hangs_is_waited_for_no_longer_than_allowed(monkeypatch) -> None:
    returns = ({"a": {"ret": True, "retcode": 0}}, None, {"c": {"ret": True, "retcode": 0}})
    client = SimpleNamespace(cmd_iter_no_block=lambda *args, **options: later(*returns))
    monkeypatch.setattr(minions.salt.client, "get_local_client", lambda path: contextlib.nullcontext(client))
    began = time.monotonic()
    with minions.client("/nowhere", 0.3) as run:
        assert rollout.answering(run, ["a", "b", "c"]) == ["a", "c"]
    assert time.monotonic() - began < 5


def test_silent_minions_are_no_answers_whatever_salt_puts_in_their_place() -> None:
    returns = [{}, {"b": False}, None, {"c": {"failed": True}}, {"a": GOOD}, {"error": {"name": "x"}}]
    assert minions.collected(returns, time.monotonic() + 5) == {"a": GOOD}


def test_a_report_on_all_has_a_problem_when_nobody_is_there_or_answers() -> None:
    good, down = Outcome("ok", "fine"), DOWN
    assert "no accepted minion" in fleet_report.report_on_all({})["problem"]
    dead = fleet_report.report_on_all({"a": down, "b": down})
    assert (dead["problem"], dead["down"]) == ("none of 2 matched minions answers", ["a", "b"])
    mixed = fleet_report.report_on_all({"a": good, "b": down})
    assert "problem" not in mixed and (mixed["failed"], mixed["down"]) == ([], ["b"])


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(10, "20%", [2] * 5), (3, "20%", [1] * 3), (5, "2", [2, 2, 1]), (4, "100%", [4]), (0, "20%", []), (3, "50", [3])],
)
def test_batches(count, size, expected) -> None:
    assert [len(batch) for batch in rollout.batches(list(range(count)), size)] == expected


def test_a_failed_batch_stops_those_after_it_where_that_is_wanted() -> None:
    for failhard, expected in ((True, "skipped"), (False, "ok")):
        found = rollout.apply_states(Bus(a_apply=[BAD]), ["a", "b"], "x", "1", failhard)
        assert [found[name].state for name in "ab"] == ["failed", expected]


def test_the_report_of_a_node_says_what_is_and_what_should_be() -> None:
    health = {"roles": ["slurmclient"], "wanted": "running", "service": "stopped", "release": "1.0", "right": False}
    outcome = judge_health({"ret": health, "retcode": 0})
    assert str(outcome) == "failed: release 1.0, stopped, should be running (roles: slurmclient)"
    assert judge_health(None).state == "down"
    well = {"ret": {**health, "service": "running", "right": True}, "retcode": 0}
    assert (judge_health(well).state, judge_health(well, "1.0").state) == ("ok", "ok")
    assert str(judge_health(well, "2.0")).startswith("failed: release 1.0 (the pillar has 2.0), running")
    assert judge_health({"ret": "boom", "retcode": 1}).state == "failed"
