"""What the administrator says on the head: names in every form, and answers that are sentences."""

from __future__ import annotations

import contextlib

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import files
from superpod_dcgm.fleet import members, minions, role_calls

NODES = {"dgx-01": "dgx-01.cluster", "prod.dgx-02": "prod.dgx-02", "1001": "1001"}
GOOD = {"ret": {"x": {"result": True, "changes": {}}}, "retcode": 0}


@pytest.fixture
def runner(load, tmp_path, monkeypatch):
    settings = {
        **{"snapshot": str(tmp_path / "snapshot.json"), "longest_apply": 60, "watcher": {"batch": "20%"}},
        **{"hosts": {"nodes": "*"}},
    }
    salt = {
        "bcm.members": lambda match=None: dict(NODES),
        "bcm.settings": lambda: settings,
        "bcm.disputed": lambda match=None: {},
    }

    def run(ids, fun, arg, kwarg):
        return {name: {"ret": True} if fun == "test.ping" else GOOD for name in ids}

    monkeypatch.setattr(minions, "client", lambda conf_file, seconds: contextlib.nullcontext(run))
    return load("_runners/dcgm.py", __opts__={"conf_file": ""}, __context__={}, __salt__=salt)


@pytest.mark.parametrize(
    ("said", "held"),
    [
        ("dgx-01, DGX-01.cluster", ["dgx-01"]),
        ("prod.dgx-02", ["prod.dgx-02"]),
        (1001, ["1001"]),
        (["dgx-01", "1001"], ["1001", "dgx-01"]),
    ],
)
def test_a_node_is_held_and_let_go_by_each_of_its_names(runner, said, held) -> None:
    assert sorted(runner.hold(said)) == held
    assert runner.unhold(said) == {}


def test_a_held_node_that_went_away_is_let_go(runner, monkeypatch) -> None:
    runner.hold("prod.dgx-02")
    monkeypatch.delitem(NODES, "prod.dgx-02")
    assert runner.unhold("prod.dgx-02") == {}


def test_a_size_of_batches_that_is_none_is_refused_before_anybody_is_asked(runner) -> None:
    with pytest.raises(CommandExecutionError, match="batch: 'all' is not allowed"):
        runner.apply("dcgm", batch="all")


def test_role_calls_that_have_to_wait_cost_no_report(runner, monkeypatch) -> None:
    def busy(*_):
        raise files.Busy("another process holds it")

    monkeypatch.setattr(role_calls, "outcomes_of", busy)
    found = runner.apply("dcgm")
    assert found["owed"] == sorted(NODES) and "left to the next poll" in found["nodes"]["dgx-01"]


def test_a_node_is_called_the_same_whoever_is_beside_it() -> None:
    everybody = members.Members({"dgx-01.a": "dgx-01.a", "dgx-01.b": "dgx-01.b"})
    assert members.Members({"dgx-01": "dgx-01.b"}).renamed(everybody).nodes == {"dgx-01.b": "dgx-01.b"}


def test_a_node_that_never_says_what_was_applied_is_not_waited_for_at_every_poll(load) -> None:
    asked = []

    def poll(news):
        asked.append(news.get("applied", []))
        return {"unanswered": asked[-1], "seq": 1, "updated": None, "failures": 0, "error": None}

    engine = load("_engines/bcm_watcher.py", __opts__={}, __runners__={"bcm.poll": poll})
    watcher, bus = engine._Watcher(), type("Bus", (), {"fire_event": lambda *_: None})()
    watcher._hear(engine.APPLIED, {"id": "a"})
    for _ in range(9):
        watcher._poll(bus)
    assert asked == [["a"]] * 6 + [[]] * 3
