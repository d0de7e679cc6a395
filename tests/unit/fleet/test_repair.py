"""Repairs: with the configuration of the last apply and no other, waited for by nobody, obeying holds."""

from __future__ import annotations

import pytest
from superpod_dcgm.config import applied as kept
from superpod_dcgm.fleet import applied, repair
from superpod_dcgm.watcher import owed
from superpod_dcgm.watcher.snapshot import empty_snapshot

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
CONFIGURATION = {"exporter": {"release": "1.0"}}
DIGEST = kept.digest(CONFIGURATION)
GOOD = {"ret": {"x": {"result": True, "changes": {}}}}
RUNNING = {"ret": ['The function "state.apply" is running as PID 7']}


class Jobs:
    """Takes jobs, and has returns by job id."""

    def __init__(self):
        self.started, self.returns, self.refuses = [], {}, False

    def start(self, ids, fun, arg, kwarg):
        self.started.append((list(ids), fun, list(arg), kwarg))
        return "" if self.refuses else f"j{len(self.started)}"

    def look(self, jid):
        return self.returns.get(jid, {})


@pytest.fixture
def settings(tmp_path):
    found = {
        "snapshot": str(tmp_path / "snapshot.json"),
        "watcher": {"batch": "3", "interval": 30},
        "longest_apply": 600,
    }
    answer = {"ret": {"digest": DIGEST, "configuration": CONFIGURATION}}
    assert applied.ask(found, MEMBERS, ["a"], lambda ids, *_: {ids[0]: answer}) == {"a": DIGEST}
    return found


@pytest.fixture
def snapshot():
    found = empty_snapshot()
    found["deployed"] = dict.fromkeys(MEMBERS, "t0")
    found["applied"] = dict.fromkeys(MEMBERS, DIGEST)
    return found


def begin(snapshot, settings, jobs, moment=1000.0, held=()):
    return repair.begin(snapshot, MEMBERS, held, jobs.start, settings, moment)


def collect(snapshot, settings, jobs, moment):
    return repair.collect(snapshot, MEMBERS, jobs.look, settings, moment, "t1")


def test_a_repair_uses_the_last_applied_configuration_and_nobody_waits_for_it(settings, snapshot) -> None:
    jobs = Jobs()
    for name in ("a", "b"):
        repair.owe(snapshot, name, "x is missing", 1000)
    lines = begin(snapshot, settings, jobs)
    options = {"pillar": {"dcgm_last_applied": CONFIGURATION}, "sync_mods": "all"}
    assert jobs.started == [(["a.cluster", "b"], "state.apply", ["dcgm"], options)]
    assert [line.split(":")[0] for line in lines] == ["a", "b"]
    assert collect(snapshot, settings, jobs, 1010) == [] and len(snapshot["repairs"]) == 2
    jobs.returns["j1"] = {"a.cluster": GOOD}
    assert collect(snapshot, settings, jobs, 1020) == ["a: repaired: x is missing"]
    assert snapshot["repaired"] == {"a": {"at": "t1", "why": "x is missing"}} and list(snapshot["repairs"]) == ["b"]
    assert begin(snapshot, settings, jobs, 1030) == [], "the other is at work"


@pytest.mark.parametrize("answer", [RUNNING, {"ret": {"x": {"result": False, "comment": "no"}}}, {"ret": {"a": 1}}])
def test_what_did_not_succeed_is_owed_and_tried_again_later(settings, snapshot, answer) -> None:
    jobs = Jobs()
    repair.owe(snapshot, "a", "x is missing", 1000)
    begin(snapshot, settings, jobs)
    jobs.returns["j1"] = {"a.cluster": answer}
    assert "not repaired" in collect(snapshot, settings, jobs, 1010)[0]
    assert begin(snapshot, settings, jobs, 1020) == [] and snapshot["repairs"]["a"]["problem"]
    assert begin(snapshot, settings, jobs, 1041) and len(jobs.started) == 2


def test_a_repair_without_a_return_ends_some_time(settings, snapshot) -> None:
    jobs = Jobs()
    repair.owe(snapshot, "a", "x is missing", 1000)
    begin(snapshot, settings, jobs)
    assert collect(snapshot, settings, jobs, 1600) == []
    assert "no answer" in collect(snapshot, settings, jobs, 1601)[0]


@pytest.mark.parametrize("moment", [1000 - 7200, 1000 + 7200])
def test_a_clock_that_was_set_delays_nothing(settings, snapshot, moment) -> None:
    jobs = Jobs()
    repair.owe(snapshot, "a", "x is missing", 1000)
    begin(snapshot, settings, jobs)
    collect(snapshot, settings, jobs, moment)
    assert begin(snapshot, settings, jobs, moment + owed.wait(1, 30) + 1)


@pytest.mark.parametrize("digest", ["", "0" * 64, "../snapshot", "x"])
def test_without_the_last_configuration_nothing_is_applied(settings, snapshot, digest) -> None:
    jobs = Jobs()
    snapshot["applied"]["a"] = digest
    repair.owe(snapshot, "a", "x is missing", 1000)
    assert "apply `dcgm` to it" in begin(snapshot, settings, jobs)[0]
    assert jobs.started == [] and "not known here" in snapshot["repairs"]["a"]["problem"]


def test_who_is_held_or_not_deployed_is_not_repaired(settings, snapshot) -> None:
    jobs = Jobs()
    del snapshot["deployed"]["b"]
    for name in ("a", "b"):
        repair.owe(snapshot, name, "x is missing", 1000)
    assert list(snapshot["repairs"]) == ["a"]
    assert begin(snapshot, settings, jobs, held=["a"]) == [] and jobs.started == []


def test_no_more_than_a_batch_is_repaired_at_once(settings, snapshot) -> None:
    jobs = Jobs()
    settings["watcher"]["batch"] = "1"
    for name in MEMBERS:
        repair.owe(snapshot, name, "x is missing", 1000)
    begin(snapshot, settings, jobs)
    begin(snapshot, settings, jobs, 1001)
    assert [ids for ids, *_ in jobs.started] == [["a.cluster"]]


def test_a_master_that_does_not_take_the_job_is_told(settings, snapshot) -> None:
    jobs = Jobs()
    jobs.refuses = True
    repair.owe(snapshot, "a", "x is missing", 1000)
    assert "did not take" in begin(snapshot, settings, jobs)[0] and snapshot["repairs"]["a"]["jid"] is None


def test_a_node_that_went_away_during_its_repair_takes_nobodys_place(settings, snapshot) -> None:
    jobs = Jobs()
    settings["watcher"]["batch"] = "1"
    for name in MEMBERS:
        repair.owe(snapshot, name, "x is missing", 1000)
    begin(snapshot, settings, jobs)
    left = {name: minion for name, minion in MEMBERS.items() if name != "a"}
    repair.begin(snapshot, left, (), jobs.start, settings, 1001)
    assert [ids for ids, *_ in jobs.started] == [["a.cluster"], ["b"]]


ODD = [
    {"ret": {"digest": DIGEST, "configuration": {1: 2, "a": b"x"}}},
    {"ret": {"digest": DIGEST, "configuration": {"a": b"x"}}},
    {"ret": {"digest": DIGEST, "configuration": {"exporter": {"release": "2.0"}}}},
    {"ret": {"digest": "../../etc/passwd", "configuration": CONFIGURATION}},
    {"ret": {"digest": "0" * 64}},
    {"ret": "no such function"},
    {"ret": None},
    {},
]


@pytest.mark.parametrize("answer", ODD)
def test_what_does_not_fit_its_digest_is_not_kept(tmp_path, answer) -> None:
    settings = {"snapshot": str(tmp_path / "snapshot.json")}
    assert applied.ask(settings, MEMBERS, ["a"], lambda ids, *_: {ids[0]: answer}) == {}
    assert list(tmp_path.iterdir()) == []


def test_a_known_configuration_is_not_sent_again_and_an_unused_one_goes(settings, snapshot, tmp_path) -> None:
    asked = []

    def run(ids, fun, arg, kwarg):
        asked.append(arg)
        return {name: {"ret": {"digest": DIGEST}} for name in ids}

    assert applied.ask(settings, MEMBERS, ["b", "c"], run) == {"b": DIGEST, "c": DIGEST}
    assert asked == [[[DIGEST]]]
    path = tmp_path / "applied" / f"{DIGEST}.json"
    assert path.stat().st_mode & 0o777 == 0o600
    applied.forget(settings, [DIGEST])
    assert path.exists()
    applied.forget(settings, [])
    assert not path.exists()
