"""Which nodes are owed a role call, when it is tried, and what settles it."""

from __future__ import annotations

import pytest
from superpod_dcgm.watcher import belief, last_seen, owed
from superpod_dcgm.watcher.owed import News, claim, claimed, note, note_all, settle
from superpod_dcgm.watcher.snapshot import empty_snapshot

MEMBERS = {"a": "a.cluster", "b": "b.cluster"}


@pytest.fixture
def snapshot():
    devices = {name: {"roles": ["slurmclient"], "category": None, "type": None} for name in ("a", "b", "cpu")}
    fresh = empty_snapshot()
    return belief.answered(fresh, "master", devices, "t0", belief.Rules()).snapshot


def delivered(snapshot):
    for node in snapshot["nodes"].values():
        node["delivered"] = node["seq"]
    return snapshot


def change(snapshot, name):
    snapshot["seq"] += 1
    snapshot["nodes"][name]["seq"] = snapshot["seq"]


def test_every_member_is_owed_its_first_roles_and_nobody_else(snapshot) -> None:
    assert owed.nodes(snapshot, MEMBERS) == ["a", "b"]
    assert owed.nodes(snapshot, {**MEMBERS, "new": "new"}) == ["a", "b"], "its roles are not known"


def test_one_change_set_is_claimed_once(snapshot) -> None:
    assert claim(snapshot, MEMBERS, 100, 30) == ["a", "b"]
    assert claim(snapshot, MEMBERS, 101, 30) == []
    assert set(claimed(snapshot)) == {"a", "b"}


def test_what_is_not_settled_is_tried_again_with_growing_intervals(snapshot) -> None:
    moments = [moment for moment in range(0, 4000) if claim(snapshot, {"a": "a"}, moment, 30)]
    assert moments == [0, 30, 90, 210, 450, 930, 1830, 2730, 3630], "doubled up to a quarter of an hour"


def test_a_new_change_does_not_wait_for_the_back_off(snapshot) -> None:
    for moment in (0, 30, 90):
        claim(snapshot, MEMBERS, moment, 30)
    change(snapshot, "a")
    assert claim(snapshot, MEMBERS, 91, 30) == ["a"]


def test_a_delivery_that_worked_is_settled(snapshot) -> None:
    claim(snapshot, MEMBERS, 0, 30)
    settle(snapshot, claimed(snapshot), {"a": None, "b": "does not answer"})
    assert owed.nodes(snapshot, MEMBERS) == ["b"] and claimed(snapshot) == {}
    assert snapshot["tries"]["b"]["problem"] == "does not answer"
    assert claim(snapshot, MEMBERS, 30, 30) == ["b"]


def test_a_change_during_a_delivery_stays_owed(snapshot) -> None:
    claim(snapshot, MEMBERS, 0, 30)
    work = claimed(snapshot)
    change(snapshot, "a")
    settle(snapshot, work, {"a": None, "b": None})
    assert owed.nodes(snapshot, MEMBERS) == ["a"]


def test_a_lost_event_is_made_good_by_the_next_poll_but_one(snapshot) -> None:
    claim(snapshot, MEMBERS, 0, 30)
    # Nobody delivered: the master restarted. The claim is in the snapshot and comes again.
    assert claim(snapshot, MEMBERS, 30, 30) == ["a", "b"]


def test_a_start_causes_a_call_to_a_deployed_node_and_to_another_one_only_what_it_is_owed(snapshot) -> None:
    delivered(snapshot)
    note(snapshot, News(started={"a", "b"}, deployed={"a"}), MEMBERS, "t1")
    assert owed.nodes(snapshot, MEMBERS) == ["a"]
    claim(snapshot, MEMBERS, 0, 30)
    assert claimed(snapshot)["a"]["started"] == "t1"


def test_a_start_ends_the_back_off(snapshot) -> None:
    for moment in (0, 30, 90, 210):
        claim(snapshot, MEMBERS, moment, 30)
    note(snapshot, News(started={"b"}), MEMBERS, "t1")
    assert claim(snapshot, MEMBERS, 211, 30) == ["b"]


def test_a_start_during_a_delivery_is_answered_again(snapshot) -> None:
    note(snapshot, News(started={"a"}, deployed={"a"}), MEMBERS, "t1")
    claim(snapshot, MEMBERS, 0, 30)
    work = claimed(snapshot)
    note(snapshot, News(started={"a"}), MEMBERS, "t2")
    settle(snapshot, work, {"a": None})
    assert owed.nodes(snapshot, {"a": "a"}) == ["a"] and snapshot["started"] == {"a": "t2"}


def test_a_removed_node_is_left_alone_when_it_starts(snapshot) -> None:
    delivered(snapshot)
    note(snapshot, News(deployed={"a"}), MEMBERS, "t1")
    note(snapshot, News(started={"a"}), MEMBERS, "t2")
    note(snapshot, News(removed={"a"}), MEMBERS, "t3")
    assert owed.nodes(snapshot, MEMBERS) == [] and snapshot["deployed"] == {}


@pytest.mark.parametrize("kind", ["roleless", "strayed"])
def test_a_node_that_has_no_roles_or_does_not_follow_them_gets_them_again(snapshot, kind) -> None:
    delivered(snapshot)
    note(snapshot, News(**{kind: {"a"}}), MEMBERS, "t1")
    assert owed.nodes(snapshot, MEMBERS) == ["a"]


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_was_set_delays_no_call_by_more_than_one_back_off(snapshot, hours) -> None:
    for moment in (0, 30, 90, 210):
        claim(snapshot, {"a": "a"}, moment, 30)
    now = 210 + hours * 3600
    assert claim(snapshot, {"a": "a"}, now, 30) == ["a"]
    assert claim(snapshot, {"a": "a"}, now + owed.wait(5, 30) + 1, 30) == ["a"]


def test_a_held_node_is_not_claimed_and_what_it_is_owed_comes_afterwards(snapshot) -> None:
    assert claim(snapshot, MEMBERS, 0, 30, held=["a"]) == ["b"]
    assert claim(snapshot, MEMBERS, 1, 30) == ["a"]


@pytest.mark.parametrize("kinds", [{"deployed"}, {"applied"}, {"deployed", "applied"}])
def test_an_apply_of_the_administrator_ends_a_back_off(snapshot, kinds) -> None:
    """It is busy while it is applied to, and its calls come further and further apart."""
    claim(snapshot, MEMBERS, 0, 30)
    note(snapshot, News(**{kind: {"a"} for kind in kinds}), MEMBERS, "t1")
    assert claim(snapshot, MEMBERS, 1, 30) == ["a"]


def test_an_apply_of_the_administrator_ends_a_repair(snapshot) -> None:
    snapshot["repairs"]["a"] = {"why": "x", "jid": None, "since": 0, "count": 1, "next": 9, "problem": None}
    note(snapshot, News(deployed={"a"}, applied={"a"}), MEMBERS, "t1")
    assert snapshot["repairs"] == {}


def test_strangers_are_not_noted(snapshot) -> None:
    delivered(snapshot)
    note(snapshot, News(started={"x"}, deployed={"x"}, roleless={"x"}), MEMBERS, "t1")
    assert snapshot["deployed"] == {} and snapshot["started"] == {}


def test_all_can_be_owed_again(snapshot) -> None:
    note_all(delivered(snapshot), MEMBERS)
    assert owed.nodes(snapshot, MEMBERS) == ["a", "b"]
    claim(snapshot, MEMBERS, 0, 30)
    settle(snapshot, claimed(snapshot), dict.fromkeys(MEMBERS))
    assert owed.nodes(snapshot, MEMBERS) == []


def test_settling_a_forgotten_node_does_no_harm(snapshot) -> None:
    claim(snapshot, MEMBERS, 0, 30)
    work = claimed(snapshot)
    del snapshot["nodes"]["a"], snapshot["tries"]["a"]
    settle(snapshot, work, {"a": "down", "b": None})
    assert owed.nodes(snapshot, MEMBERS) == []


def test_what_a_removed_node_said_is_forgotten(snapshot) -> None:
    snapshot["deployed"]["a"] = "2026-01-01T00:00:00Z"
    snapshot["seen"]["a"] = {**last_seen.NEVER, "at": "2026-01-01T00:00:00Z", "service": "running", "release": "x"}
    note(snapshot, News(removed={"a"}), ["a"], "2026-01-01T00:01:00Z")
    assert "a" not in snapshot["seen"] and "a" not in snapshot["deployed"]
