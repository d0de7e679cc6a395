"""Serving a change set through a fake bus: who gets what, in which order, and what the report says."""

from __future__ import annotations

import contextlib
import json
import time
from types import SimpleNamespace

import pytest
import superpod_apply
import superpod_minions
import superpod_pending
import superpod_poll
import superpod_serve
import superpod_snapshot
import superpod_watcher
from salt.exceptions import CommandExecutionError

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
GOOD = {"ret": {"x": {"result": True, "changes": {"new": 1}}, "y": {"result": True, "changes": {}}}, "retcode": 0}
BAD = {"ret": {"x": {"result": False, "comment": "no room\nmore", "__id__": "Run it", "__run_num__": 1}}, "retcode": 2}
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
        return {"ping": {"ret": True}, "apply": GOOD}.get(kind, {"ret": {"changed": True}, "retcode": 0})


@pytest.fixture
def watched(tmp_path):
    settings = {
        "snapshot": str(tmp_path / "snapshot.json"),
        "watcher": {"batch": "20%", "interval": 30, "deadline": 60},
        "states": {"changed": "service", "started": "whole"},
    }
    devices = {name: {"roles": ["slurmclient"], "category": "dgx", "type": None} for name in MEMBERS}
    with superpod_snapshot.changing(settings["snapshot"]) as snapshot:
        step = superpod_watcher.answered(snapshot, "master", devices, "t0", superpod_watcher.Rules())
        snapshot.update(step.snapshot)
        superpod_pending.note(snapshot, superpod_pending.News(started={"c"}, deployed={"c"}), MEMBERS, "t0")
        superpod_pending.claim(snapshot, MEMBERS, 0, 30)
    return settings


def pending(settings):
    return superpod_pending.owed(superpod_snapshot.load(settings["snapshot"]), MEMBERS)


def test_changed_nodes_get_the_service_state_and_started_ones_all(watched) -> None:
    bus = Bus()
    report = superpod_serve.serve(watched, MEMBERS, bus)
    assert bus.calls == [
        ("test.ping", ["a.cluster", "b", "c"]),
        ("saltutil.sync_all", ["c"]),
        ("bcm.deliver", ["a.cluster", "b", "c"]),
        ("state.apply", ["a.cluster"], "service"),
        ("state.apply", ["b"], "service"),
        ("state.apply", ["c"], "whole"),
    ]
    good = "ok: 2 states, 1 changed"
    assert report == {"seq": 1, "nodes": {"a": good, "b": good, "c": good}, "failed": [], "down": []}
    assert pending(watched) == []


def test_every_apply_syncs_since_states_may_be_newer_than_modules(watched) -> None:
    bus = Bus()
    superpod_serve.serve(watched, MEMBERS, bus)
    assert [kwarg["sync_mods"] for fun, kwarg in bus.options if fun == "state.apply"] == ["all"] * 3


def test_a_false_event_calls_nobody(watched) -> None:
    superpod_serve.serve(watched, MEMBERS, Bus())
    bus = Bus()
    assert superpod_serve.serve(watched, MEMBERS, bus)["nodes"] == {} and bus.calls == []


def test_nodes_are_served_anew_although_they_are_owed_nothing(watched) -> None:
    superpod_serve.serve(watched, MEMBERS, Bus())
    report = superpod_serve.serve(watched, MEMBERS, Bus(a_apply=[BAD]), anew={"a", "b"})
    assert (list(report["nodes"]), report["failed"], pending(watched)) == (["a", "b"], ["a"], ["a"])


def test_a_node_that_is_down_stays_pending_and_is_no_failure(watched) -> None:
    bus = Bus()
    bus.down = {"b"}
    report = superpod_serve.serve(watched, MEMBERS, bus)
    assert (report["failed"], report["down"], pending(watched)) == ([], ["b"], ["b"])
    assert all("b" not in ids for fun, ids, *_ in bus.calls if fun != "test.ping")


def test_a_failed_state_fails_that_node_alone(watched) -> None:
    report = superpod_serve.serve(watched, MEMBERS, Bus(a_apply=[BAD]))
    assert report["failed"] == ["a"] and report["nodes"]["a"] == "failed: Run it: no room"
    assert pending(watched) == ["a"]


def test_a_node_without_our_code_is_synced_and_asked_again(watched) -> None:
    bus = Bus(a_deliver=[NOT_AVAILABLE, {"ret": {"changed": True}, "retcode": 0}])
    assert superpod_serve.serve(watched, MEMBERS, bus)["failed"] == []
    assert bus.calls[3:5] == [("saltutil.sync_all", ["a.cluster"]), ("bcm.deliver", ["a.cluster"])]


def test_a_node_that_never_learns_our_code_fails(watched) -> None:
    report = superpod_serve.serve(watched, MEMBERS, Bus(a_deliver=[NOT_AVAILABLE]))
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
    report = superpod_serve.serve(watched, MEMBERS, Bus(**{f"a_{fun}": [answer]}))
    assert report["failed"] == ["a"] and expected in report["nodes"]["a"]


def test_a_minion_whose_key_went_away_is_not_called(watched) -> None:
    bus = Bus()
    superpod_serve.serve(watched, {"a": "a.cluster"}, bus)
    assert {name for _, ids, *_ in bus.calls for name in ids} == {"a.cluster"}


def test_two_orchestrations_do_not_serve_at_once(watched, monkeypatch) -> None:
    monkeypatch.setattr(superpod_serve, "_PATIENCE", 0.2)
    with superpod_snapshot.lock(superpod_poll.serving_lock(watched), wait=0), pytest.raises(superpod_serve.Serving):
        superpod_serve.serve(watched, MEMBERS, Bus())


def test_a_snapshot_that_stays_locked_is_not_taken_for_another_orchestration(watched, monkeypatch) -> None:
    lock = superpod_snapshot.lock
    monkeypatch.setattr(superpod_snapshot, "lock", lambda path, wait: lock(path, wait=min(wait, 0.2)))
    with lock(f"{watched['snapshot']}.lock", wait=0), pytest.raises(superpod_snapshot.Busy) as caught:
        superpod_serve.serve(watched, MEMBERS, Bus())
    assert not isinstance(caught.value, superpod_serve.Serving)


@pytest.fixture
def runner(load, watched, tmp_path, monkeypatch):
    """The runner, with a client of Salt that reaches nobody."""
    (tmp_path / "watcher.json").write_text(json.dumps(watched))
    runner = load(
        "_runners/bcm.py", __opts__={"superpod_dcgm_settings": str(tmp_path / "watcher.json")}, __context__={}
    )
    monkeypatch.setattr(runner, "members", lambda match=None: MEMBERS)
    monkeypatch.setattr(runner, "_client", lambda seconds: contextlib.nullcontext(Bus()))
    monkeypatch.setattr(superpod_serve, "_PATIENCE", 0.2)
    return runner


def test_the_runner_finds_only_the_serving_lock_harmless(runner, watched, monkeypatch) -> None:
    lock = superpod_snapshot.lock
    monkeypatch.setattr(superpod_snapshot, "lock", lambda path, wait: lock(path, wait=min(wait, 0.2)))
    with lock(superpod_poll.serving_lock(watched), wait=0):
        assert "another orchestration serves" in runner.serve()["busy"] and runner.__context__ == {}
    with lock(f"{watched['snapshot']}.lock", wait=0), pytest.raises(CommandExecutionError, match="is not noted"):
        runner.serve()


def later(*returns):
    """Return what a client gives: returns as they come, and None in between; at last nothing but None, for ever."""
    yield from returns
    while True:
        yield None


def test_a_node_that_hangs_is_waited_for_no_longer_than_allowed(monkeypatch) -> None:
    returns = ({"a": {"ret": True, "retcode": 0}}, None, {"c": {"ret": True, "retcode": 0}})
    client = SimpleNamespace(cmd_iter_no_block=lambda *args, **options: later(*returns))
    monkeypatch.setattr(superpod_minions.salt.client, "get_local_client", lambda path: contextlib.nullcontext(client))
    began = time.monotonic()
    with superpod_minions.client("/nowhere", 0.3) as run:
        assert superpod_apply.answering(run, ["a", "b", "c"]) == ["a", "c"]
    assert time.monotonic() - began < 5


def test_silent_minions_are_no_answers_whatever_salt_puts_in_their_place() -> None:
    returns = [{}, {"b": False}, None, {"c": {"failed": True}}, {"a": GOOD}, {"error": {"name": "x"}}]
    assert superpod_apply.collected(returns, time.monotonic() + 5) == {"a": GOOD}


def test_a_report_on_all_has_a_problem_when_nobody_is_there_or_answers() -> None:
    good, down = superpod_apply.Outcome("ok", "fine"), superpod_apply.DOWN
    assert "no accepted minion" in superpod_serve.report_on_all({})["problem"]
    dead = superpod_serve.report_on_all({"a": down, "b": down})
    assert (dead["problem"], dead["down"]) == ("none of 2 matched minions answers", ["a", "b"])
    mixed = superpod_serve.report_on_all({"a": good, "b": down})
    assert "problem" not in mixed and (mixed["failed"], mixed["down"]) == ([], ["b"])


@pytest.mark.parametrize(
    ("count", "size", "expected"),
    [(10, "20%", [2] * 5), (3, "20%", [1] * 3), (5, "2", [2, 2, 1]), (4, "100%", [4]), (0, "20%", []), (3, "50", [3])],
)
def test_batches(count, size, expected) -> None:
    assert [len(batch) for batch in superpod_apply.batches(list(range(count)), size)] == expected


def test_a_failed_batch_stops_those_after_it_where_that_is_wanted() -> None:
    for failhard, expected in ((True, "skipped"), (False, "ok")):
        found = superpod_apply.apply_states(Bus(a_apply=[BAD]), ["a", "b"], "x", "1", failhard)
        assert [found[name].state for name in "ab"] == ["failed", expected]


def test_the_report_of_a_node_says_what_is_and_what_should_be() -> None:
    health = {"roles": ["slurmclient"], "wanted": "running", "service": "stopped", "release": "1.0", "right": False}
    outcome = superpod_apply.judge_health({"ret": health, "retcode": 0})
    assert str(outcome) == "failed: release 1.0, stopped, should be running (roles: slurmclient)"
    assert superpod_apply.judge_health(None).state == "down"
    assert superpod_apply.judge_health({"ret": "boom", "retcode": 1}).state == "failed"
