"""Carrying out a change set through a fake bus: who gets what, in which order, and what the report says."""

from __future__ import annotations

import contextlib
import json
import time
from types import SimpleNamespace

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import files
from superpod_dcgm.fleet import minions, role_calls, rollout
from superpod_dcgm.fleet import report as fleet_report
from superpod_dcgm.fleet.outcomes import DOWN, Outcome, judge_health, judge_states
from superpod_dcgm.watcher import belief, holds, owed
from superpod_dcgm.watcher.snapshot import changing, read_snapshot

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
GOOD = {"ret": {"x": {"result": True, "changes": {"new": 1}}, "y": {"result": True, "changes": {}}}, "retcode": 0}
BAD = {"ret": {"x": {"result": False, "comment": "no room\nmore", "__id__": "Run it", "__run_num__": 1}}, "retcode": 2}
SAID = {"state": "ok", "text": "runs and answers", "deployed": True, "service": "running", "release": "1.0"}
WELL = {"ret": SAID, "retcode": 0}
NOT_AVAILABLE = {"ret": "'bcm.role_call' is not available.", "retcode": 254}
NO_HEALTH = {"ret": "'bcm.health' is not available.", "retcode": 254}
OLD_HEALTH = {"ret": {"release": "1.0", "service": "running", "roles": [], "wanted": "running", "right": True}}


def said(**more):
    return {"ret": {**SAID, **more}, "retcode": 0}


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
        return {"ping": {"ret": True}, "apply": GOOD, "health": OLD_HEALTH}.get(kind, WELL)


@pytest.fixture
def watched(tmp_path):
    settings = {
        "snapshot": str(tmp_path / "snapshot.json"),
        "watcher": {"batch": "20%", "interval": 30, "deadline": 60},
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


def test_every_owed_node_gets_one_call_in_one_job_and_nothing_is_applied_or_synced(watched) -> None:
    bus = Bus()
    report = role_calls.carry_out(watched, MEMBERS, bus)
    assert bus.calls == [("bcm.role_call", ["a.cluster", "b", "c"])]
    kwarg = bus.options[0][1]
    entry = {"roles": ["slurmclient"], "category": "dgx"}
    assert kwarg == {"version": 1, "nodes": {"a.cluster": entry, "b": entry, "c": entry}, "seq": 1}
    good = "ok: runs and answers"
    assert report == {"nodes": {"a": good, "b": good, "c": good}, "failed": [], "down": []}
    assert pending(watched) == []


def test_thousands_are_called_some_at_a_time_and_each_job_has_its_own_nodes_only(watched, monkeypatch) -> None:
    monkeypatch.setattr(role_calls, "_AT_ONCE", 2)
    bus = Bus()
    role_calls.carry_out(watched, MEMBERS, bus)
    assert [list(kwarg["nodes"]) for _, kwarg in bus.options] == [["a.cluster", "b"], ["c"]]


def test_a_false_event_calls_nobody(watched) -> None:
    role_calls.carry_out(watched, MEMBERS, Bus())
    bus = Bus()
    assert role_calls.carry_out(watched, MEMBERS, bus)["nodes"] == {} and bus.calls == []


def test_nodes_get_their_roles_again_although_they_are_owed_nothing(watched) -> None:
    role_calls.carry_out(watched, MEMBERS, Bus())
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[said(state="failed")]), again={"a", "b"})
    assert (list(report["nodes"]), report["failed"], pending(watched)) == (["a", "b"], ["a"], ["a"])


def test_a_node_that_is_down_stays_pending_and_is_no_failure(watched) -> None:
    bus = Bus()
    bus.down = {"b"}
    report = role_calls.carry_out(watched, MEMBERS, bus)
    assert (report["failed"], report["down"], pending(watched)) == ([], ["b"], ["b"])


def test_what_the_nodes_said_is_remembered(watched) -> None:
    bus = Bus()
    bus.down = {"b"}
    role_calls.carry_out(watched, MEMBERS, bus)
    seen = read_snapshot(watched["snapshot"])["seen"]
    assert (seen["a"]["service"], seen["a"]["release"], seen["a"]["silent"]) == ("running", "1.0", None)
    assert seen["b"]["at"] is None and seen["b"]["silent"]


@pytest.mark.parametrize("state", ["busy", "starting"])
def test_what_is_busy_is_owed_and_no_failure_of_the_watcher_but_one_of_a_command(watched, state) -> None:
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[said(state=state, text="state.apply runs here")]))
    assert (report["failed"], report["owed"], pending(watched)) == ([], ["a"], ["a"])
    assert read_snapshot(watched["snapshot"])["tries"]["a"]["problem"] == "state.apply runs here"
    assert "retcode" not in fleet_report.judged(dict(report), {}, owed_is_well=True)
    assert fleet_report.judged(dict(report), {})["retcode"] == 1


def deploy(settings, *names):
    with changing(settings["snapshot"]) as snapshot:
        snapshot["deployed"].update(dict.fromkeys(names, "t0"))


OLD = {
    "it has older modules": NOT_AVAILABLE,
    "it takes other arguments": {"ret": "Passed invalid arguments to bcm.role_call: nodes", "retcode": 1},
    "it knows another version": said(state="version", text="this node knows role calls of 2"),
}


@pytest.mark.parametrize("answer", OLD.values(), ids=OLD.keys())
def test_a_node_that_does_not_know_the_call_is_listed_and_neither_synced_nor_applied(watched, answer) -> None:
    deploy(watched, "a")
    bus = Bus(a_role_call=[answer])
    report = role_calls.carry_out(watched, MEMBERS, bus)
    assert report["old"] == ["a"] and "needs the roll-out" in report["nodes"]["a"]
    assert {fun for fun, *_ in bus.calls} == {"bcm.role_call", "bcm.health"}
    assert read_snapshot(watched["snapshot"])["repairs"] == {} and pending(watched) == ["a"]


def test_a_node_without_anything_of_ours_is_repaired_only_if_it_was_deployed(watched) -> None:
    deploy(watched, "a")
    bus = Bus(a_role_call=[NOT_AVAILABLE], b_role_call=[NOT_AVAILABLE], a_health=[NO_HEALTH])
    report = role_calls.carry_out(watched, MEMBERS, bus)
    assert report["nodes"]["b"] == "ok: nothing is deployed here"
    snapshot = read_snapshot(watched["snapshot"])
    assert list(snapshot["repairs"]) == ["a"] and "re-provisioned" in snapshot["repairs"]["a"]["why"]
    assert pending(watched) == [], "a repair takes the roles in"


def test_a_node_in_its_first_apply_is_not_taken_for_one_that_lost_everything(watched) -> None:
    deploy(watched, "a")
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[said(state="busy", deployed=False)]))
    assert report["owed"] == ["a"] and read_snapshot(watched["snapshot"])["repairs"] == {}


LACKING = {
    "something is missing": said(state="lacking", text="/usr/bin/dcgm-exporter is missing"),
    "its image has our modules and nothing is deployed": said(state="idle", deployed=False),
}


@pytest.mark.parametrize("answer", LACKING.values(), ids=LACKING.keys())
def test_what_a_node_lacks_is_noted_for_a_repair(watched, answer) -> None:
    deploy(watched, "a")
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[answer]))
    assert report["owed"] == ["a"] and list(read_snapshot(watched["snapshot"])["repairs"]) == ["a"]


def test_a_node_that_lost_everything_without_a_boot_was_cleaned_and_is_not_repaired(watched) -> None:
    """Its event that it is removed was lost."""
    deploy(watched, "a", "b")
    role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[said(boot="1")], b_role_call=[said(boot="1")]))
    gone = {"state": "idle", "deployed": False}
    bus = Bus(a_role_call=[said(**gone, boot="1")], b_role_call=[said(**gone, boot="2")])
    report = role_calls.carry_out(watched, MEMBERS, bus, again={"a", "b"})
    assert "it was cleaned" in report["nodes"]["a"] and report["owed"] == ["b"]
    snapshot = read_snapshot(watched["snapshot"])
    assert "a" not in snapshot["deployed"] and list(snapshot["repairs"]) == ["b"]


@pytest.mark.parametrize(
    "answer", [{"ret": {"a": 1}}, {"ret": None}, {"ret": []}, {"ret": {}}, {"ret": {"state": ["x"]}}, {"ret": 5}, {}]
)
def test_an_odd_answer_is_that_nodes_failure_alone(watched, answer) -> None:
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[answer]))
    assert (report["failed"], pending(watched)) == (["a"], ["a"])


def test_a_held_node_is_left_alone_whoever_asks(watched) -> None:
    holds.hold(holds.path(watched), ["a"], None, time.time(), "t0")
    bus = Bus()
    report = role_calls.carry_out(watched, MEMBERS, bus, again={"a", "b"})
    assert bus.calls == [("bcm.role_call", ["b", "c"])]
    assert report["held"] == ["a"] and "unhold" in report["nodes"]["a"]


def test_a_minion_whose_key_went_away_is_not_called(watched) -> None:
    bus = Bus()
    role_calls.carry_out(watched, {"a": "a.cluster"}, bus)
    assert {name for _, ids, *_ in bus.calls for name in ids} == {"a.cluster"}


def test_two_orchestrations_do_not_serve_at_once(watched, monkeypatch) -> None:
    monkeypatch.setattr(role_calls, "_PATIENCE", 0.2)
    with files.lock_local(owed.lock_file(watched["snapshot"]), 0), pytest.raises(role_calls.AtWork):
        role_calls.carry_out(watched, MEMBERS, Bus())


def test_a_snapshot_that_stays_locked_is_not_taken_for_another_orchestration(watched, monkeypatch) -> None:
    lock = files.lock_local
    monkeypatch.setattr(files, "lock_local", lambda path, seconds: lock(path, min(seconds, 0.2)))
    with lock(f"{watched['snapshot']}.lock", 0), pytest.raises(files.Busy) as caught:
        role_calls.carry_out(watched, MEMBERS, Bus())
    assert not isinstance(caught.value, role_calls.AtWork)


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
    monkeypatch.setattr(role_calls, "_PATIENCE", 0.2)
    return runner


def test_the_runner_finds_only_the_serving_lock_harmless(runner, watched, monkeypatch) -> None:
    lock = files.lock_local
    monkeypatch.setattr(files, "lock_local", lambda path, seconds: lock(path, min(seconds, 0.2)))
    with lock(owed.lock_file(watched["snapshot"]), 0):
        assert "another change set is at work" in runner.deliver_changes()["busy"] and runner.__context__ == {}
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


def test_a_node_where_another_run_is_at_work_is_asked_again_and_never_queued(monkeypatch) -> None:
    monkeypatch.setattr(rollout, "_BUSY_PAUSE", 0.01)
    running = {"ret": ['The function "state.apply" is running as PID 7 and was started at x with jid y'], "retcode": 1}
    bus = Bus(a_apply=[running, running, GOOD])
    found = rollout.apply_states(bus, ["a", "b"], "x", "2", failhard=True)
    assert [found[name].state for name in "ab"] == ["ok", "ok"]
    assert [ids for _, ids, *_ in bus.calls] == [["a", "b"], ["a"], ["a"]]
    assert all("queue" not in kwarg for _, kwarg in bus.options)
    monkeypatch.setattr(rollout, "_BUSY_SECONDS", 0)
    found = rollout.apply_states(Bus(a_apply=[running]), ["a", "b"], "x", "1", failhard=True)
    assert [found[name].state for name in "ab"] == ["busy", "skipped"]


def test_the_report_of_a_node_says_what_is_and_what_should_be() -> None:
    health = {"roles": ["slurmclient"], "wanted": "running", "service": "stopped", "release": "1.0", "right": False}
    outcome = judge_health({"ret": health, "retcode": 0})
    assert str(outcome) == "failed: release 1.0, stopped, should be running (roles: slurmclient)"
    assert judge_health(None).state == "down"
    well = {"ret": {**health, "service": "running", "right": True}, "retcode": 0}
    assert (judge_health(well).state, judge_health(well, "1.0").state) == ("ok", "ok")
    assert str(judge_health(well, "2.0")).startswith("failed: release 1.0 (the pillar has 2.0), running")
    assert judge_health({"ret": "boom", "retcode": 1}).state == "failed"
    dead = {"ret": {**health, "right": True, "service": "running", "shortages": ["no row of GPU-a"]}, "retcode": 0}
    assert str(judge_health(dead)).startswith("ok: ") and str(judge_health(dead)).endswith("; no row of GPU-a")
    dead["ret"]["profiling_lost"] = True
    assert judge_health(dead).state == "failed"


ODD = [5, "x", {"a": 1}, [1, None], None]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["roles", "lacking", "release", "service", "wanted", "right"])
def test_an_odd_word_of_one_node_spoils_no_report(key, odd) -> None:
    health = {"roles": [], "wanted": "stopped", "service": "stopped", "release": "1.0", "right": True}
    assert judge_health({"ret": {**health, key: odd}, "retcode": 0}).text


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_place_of_a_state_spoils_no_report(odd) -> None:
    states = {"x": {"result": True, "__run_num__": odd}, "y": {"result": False, "comment": "no", "__run_num__": 1}}
    assert str(judge_states({"ret": states})) == "failed: None: no"


TRACEBACK = """An exception occurred in this state: Traceback (most recent call last):
  File "/x/state.py", line 2, in call
    ret = self.states[cdata["full"]](
KeyError: 'timeout'
"""
REASONS = {
    "an exception in a state": (TRACEBACK, "KeyError: 'timeout'"),
    "a heading": (
        "Error occurred installing package(s). Additional info follows:\n\nerrors:\n    - E: no room on /var\n",
        "Error occurred installing package(s). Additional info follows: errors: - E: no room on /var",
    ),
    "colours": ("\x1b[31mno room\x1b[0m\non /var", "no room"),
    "one sentence": ("no room: on /var", "no room: on /var"),
    "nothing": ("", "no reason given"),
}


@pytest.mark.parametrize(("comment", "expected"), REASONS.values(), ids=REASONS.keys())
def test_a_line_of_a_report_is_the_reason_and_not_what_announces_it(comment, expected) -> None:
    state = {"result": False, "comment": comment, "__id__": "Run it"}
    assert judge_states({"ret": {"x": state}}).text == f"Run it: {expected}"


def test_an_exception_in_a_module_is_told_by_its_last_line(watched) -> None:
    text = "The minion function caused an exception: " + TRACEBACK.partition(": ")[2]
    report = role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[{"ret": text, "retcode": 1}]))
    assert report["nodes"]["a"] == "failed: KeyError: 'timeout'"


def test_a_node_that_says_that_it_is_deployed_is_known_to_be_after_the_snapshot_was_lost(watched) -> None:
    answers = {"a_role_call": [said(state="lacking", text="x is missing")], "b_role_call": [said(state="busy")]}
    role_calls.carry_out(watched, MEMBERS, Bus(c_role_call=[said(deployed=False, state="idle")], **answers))
    snapshot = read_snapshot(watched["snapshot"])
    assert "a" in snapshot["deployed"] and next(iter(snapshot["repairs"])) == "a"
    assert "b" not in snapshot["deployed"], "it may be being cleaned"


def test_what_a_node_says_of_itself_is_kept_only_as_words(watched) -> None:
    role_calls.carry_out(watched, MEMBERS, Bus(a_role_call=[said(service={"a": 1}, release=["x"] * 9)]))
    seen = read_snapshot(watched["snapshot"])["seen"]["a"]
    assert (seen["service"], seen["release"]) == (None, None)


@pytest.mark.parametrize(
    ("size", "expected"), [("4", True), ("10%", True), ("0", False), ("all", False), ("-1", False)]
)
def test_a_size_of_batches_is_a_number_or_a_percentage(size, expected) -> None:
    assert rollout.is_batch(size) is expected
