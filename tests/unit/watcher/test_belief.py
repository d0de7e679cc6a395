"""The watcher's state machine: tables of polls, and what no sequence of polls may ever do."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from superpod_dcgm.watcher import belief
from superpod_dcgm.watcher.belief import Rules
from superpod_dcgm.watcher.device_list import Odd
from superpod_dcgm.watcher.snapshot import empty_snapshot

RULES = Rules(minimum_share=0.5, confirm=3)
ON, OFF = ["slurmclient"], ["storage"]


def answer(**roles):
    """A list with a head and these nodes; names may not have a dash here."""
    nodes = {name: {"roles": given, "category": "dgx", "type": "PhysicalNode"} for name, given in roles.items()}
    return {"head": {"roles": ["headnode"], "category": None, "type": "HeadNode"}, **nodes}


ALL = answer(a=ON, b=ON, c=ON, d=ON)
# Three of four known nodes are enough; two are not. The head does not count.
SHORT = answer(a=ON, b=ON)
LESS = answer(a=ON, b=ON, c=ON)
EMPTY: dict = {}


def play(polls, snapshot=None):
    """Return the last step of a sequence of polls; text is a failure."""
    step, snapshot = None, snapshot or empty_snapshot()
    for number, poll in enumerate(polls):
        now = f"t{number}"
        if isinstance(poll, str):
            step = belief.failed(snapshot, poll, now)
        else:
            step = belief.answered(snapshot, "master", poll, now, RULES)
        snapshot = step.snapshot
    return step


def roles(step):
    return {name: node["roles"] for name, node in step.snapshot["nodes"].items() if name != "head"}


KNOWN = {"a": ON, "b": ON, "c": ON, "d": ON}
# Polls, whether the last one is believed, what it changed, and the roles that are known then.
TABLE = {
    "a first list is believed": ([ALL], True, ["a", "b", "c", "d", "head"], KNOWN),
    "the same list again changes nothing": ([ALL, ALL], True, [], KNOWN),
    "a failure changes nothing": ([ALL, "down"], False, [], KNOWN),
    "many failures change nothing": ([ALL, *["down"] * 50], False, [], KNOWN),
    "an empty list changes nothing": ([ALL, EMPTY], False, [], KNOWN),
    "an empty list is never believed, however often it comes": ([ALL, *[EMPTY] * 20], False, [], KNOWN),
    "a short list is not believed": ([ALL, SHORT], False, [], KNOWN),
    "however often it comes": ([ALL, *[SHORT] * 20], False, [], KNOWN),
    "nor one that has only the head": ([ALL, answer()], False, [], KNOWN),
    "a list without any role is not believed": (
        [ALL, {name: {**d, "roles": []} for name, d in ALL.items()}],
        False,
        [],
        KNOWN,
    ),
    "nor one in which only the head has roles": ([ALL, *[answer(a=[], b=[], c=[], d=[])] * 20], False, [], KNOWN),
    "a list in which half of the nodes lost all roles is not believed": (
        [ALL, *[answer(a=[], b=[], c=ON, d=ON)] * 20],
        False,
        [],
        KNOWN,
    ),
    "nodes that never had roles do not count as having lost them": (
        [answer(a=ON, b=ON, c=[], d=[]), answer(a=ON, b=ON, c=[], d=[])],
        True,
        [],
        {**KNOWN, "c": [], "d": []},
    ),
    "one of four that loses all roles is a change": (
        [ALL, answer(a=[], b=ON, c=ON, d=ON)],
        True,
        ["a"],
        {**KNOWN, "a": []},
    ),
    "a role that goes away is a change": ([ALL, {**ALL, "a": answer(a=OFF)["a"]}], True, ["a"], {**KNOWN, "a": OFF}),
    "a missing node stays": ([ALL, LESS], True, [], KNOWN),
    "and stays in the second list": ([ALL, LESS, LESS], True, [], KNOWN),
    "and is forgotten after the third": ([ALL, LESS, LESS, LESS], True, [], {"a": ON, "b": ON, "c": ON}),
    "a failure does not count as missing": ([ALL, LESS, LESS, "down", "down"], False, [], KNOWN),
    "a node that is back is not missing": ([ALL, LESS, LESS, ALL, LESS, LESS], True, [], KNOWN),
    "a forgotten node that comes back is new": ([ALL, LESS, LESS, LESS, ALL], True, ["d"], KNOWN),
    "roles that are not told are not changed": ([ALL, answer(a=None, b=ON, c=ON, d=ON)], True, [], KNOWN),
    "until they are not told three times": (
        [ALL, *[answer(a=None, b=ON, c=ON, d=ON)] * 3],
        True,
        ["a"],
        {**KNOWN, "a": []},
    ),
    "a new node of unknown roles is not yet a change": (
        [ALL, {**ALL, **answer(e=None)}],
        True,
        [],
        {**KNOWN, "e": None},
    ),
    "a restart of the head: refused, passive, back": ([ALL, "refused", "passive", ALL], True, [], KNOWN),
    "two heads that disagree flap between two lists": ([ALL, LESS, ALL, LESS, ALL, LESS], True, [], KNOWN),
    "a change seen after a failure is a change": (
        [ALL, "down", answer(a=OFF, b=ON, c=ON, d=ON)],
        True,
        ["a"],
        {**KNOWN, "a": OFF},
    ),
}


@pytest.mark.parametrize(("polls", "believed", "changed", "known"), TABLE.values(), ids=TABLE.keys())
def test_polls(polls, believed, changed, known) -> None:
    step = play(polls)
    assert step.believed is believed
    assert sorted(step.changed) == sorted(changed)
    assert roles(step) == known


def test_a_change_set_has_one_number() -> None:
    first = play([ALL])
    assert first.snapshot["seq"] == 1
    second = play([ALL, {**ALL, **answer(a=OFF, b=OFF)}])
    assert second.snapshot["seq"] == 2
    assert {name: node["seq"] for name, node in second.snapshot["nodes"].items()} == dict(head=1, a=2, b=2, c=1, d=1)
    assert [second.snapshot["nodes"][name]["since"] for name in "ac"] == ["t1", "t0"]


def test_a_failure_is_told_once_and_counted() -> None:
    once, again, other, back = (play([ALL, *polls]) for polls in (["x"], ["x", "x"], ["x", "y"], ["x", "x", ALL]))
    assert once.lines == ["roles are unknown, nothing is changed: x"] and again.lines == []
    assert other.lines == ["roles are unknown, nothing is changed: y"]
    assert back.lines == ["master answers again after 2 failed polls"]
    assert (again.snapshot["failures"], again.snapshot["error_since"], again.snapshot["updated"]) == (2, "t1", "t0")
    assert (back.snapshot["failures"], back.snapshot["error"]) == (0, None)


def test_a_doubtful_list_says_what_is_odd_and_what_to_do() -> None:
    error = play([ALL, SHORT]).snapshot["error"]
    assert error == "the list has only 2 of 4 known nodes; if that is so, say `salt-run bcm.accept`"
    error = play([ALL, answer(a=[], b=[], c=[], d=ON)]).snapshot["error"]
    assert error == "only 1 of 4 nodes that had roles have any; if that is so, say `salt-run bcm.accept`"


def test_the_administrator_can_accept_that_most_nodes_lost_their_roles() -> None:
    bare = answer(a=[], b=[], c=[], d=ON)
    step = belief.answered(play([ALL, bare]).snapshot, "master", bare, "t9", RULES, accept=True)
    assert step.believed and step.changed == ["a", "b", "c"]


def test_the_administrator_can_accept_a_short_list_but_not_an_empty_one() -> None:
    known = play([ALL]).snapshot
    step = belief.answered(known, "master", SHORT, "t9", RULES, accept=True)
    assert step.believed and step.forgotten == ["c", "d"] and roles(step) == {"a": ON, "b": ON}
    step = belief.answered(known, "master", EMPTY, "t9", RULES, accept=True)
    assert not step.believed and roles(step) == KNOWN


def test_a_lasting_category_survives_an_answer_without_it() -> None:
    bare = {name: {**device, "category": None} for name, device in ALL.items()}
    step = play([ALL, bare])
    assert step.changed == [] and step.snapshot["nodes"]["a"]["category"] == "dgx"


def odd(devices, snapshot, times=1, **kinds):
    """Return the last step of so many lists of which something cannot be used."""
    for number in range(times):
        step = belief.answered(snapshot, "master", devices, f"o{number}", RULES, odd=Odd(**kinds))
        snapshot = step.snapshot
    return step


@pytest.mark.parametrize("known", [ON, OFF])
def test_a_node_whose_roles_cannot_be_read_stays_as_it_is_however_often_and_the_others_follow(known) -> None:
    before = play([answer(a=known, b=ON, d=ON)]).snapshot
    step = odd(answer(a=None, b=OFF, c=ON, d=ON), before, times=9, doubts={"a": "odd"})
    assert step.believed and roles(step) == {"a": known, "b": OFF, "c": ON, "d": ON}
    assert step.snapshot["doubts"] == {"a": "odd"}
    assert play([answer(a=OFF, b=ON, d=ON)], step.snapshot).snapshot["doubts"] == {}


def test_a_new_node_whose_roles_cannot_be_read_is_unknown() -> None:
    step = odd(answer(a=None, b=ON), play([answer(b=ON)]).snapshot, times=9, doubts={"a": "odd"})
    assert roles(step) == {"a": None, "b": ON}


def test_what_is_odd_is_logged_once_until_it_is_another() -> None:
    first = odd(ALL, empty_snapshot(), problems=["a switch"], doubts={"a": "odd"})
    assert first.lines[:2] == ["a: odd; nothing is changed there", "a switch"]
    assert odd(ALL, first.snapshot, problems=["a switch"], doubts={"a": "odd"}).lines == []
    again = odd(ALL, first.snapshot, problems=["a switch", "another"], doubts={"a": "odder"})
    assert again.lines == ["a: odder; nothing is changed there", "another"]


def test_no_node_is_forgotten_while_a_device_with_an_odd_name_may_be_it() -> None:
    before = play([ALL]).snapshot
    assert odd(LESS, before, times=9, complete=False).forgotten == []
    assert "d" in odd(LESS, before, times=9, complete=False).snapshot["nodes"]
    assert odd(LESS, before, times=3).forgotten == ["d"]


DEVICES = st.dictionaries(
    st.sampled_from("abcdef"),
    st.fixed_dictionaries(
        {
            "roles": st.none() | st.lists(st.sampled_from(["slurmclient", "storage"]), unique=True).map(sorted),
            "category": st.none() | st.sampled_from(["dgx", "cpu"]),
            "type": st.just("PhysicalNode"),
        }
    ),
)
POLLS = st.lists(st.one_of(st.sampled_from(["down", "HTTP 401"]), DEVICES), max_size=12)


@settings(max_examples=300, deadline=None)
@given(POLLS, st.one_of(st.just("down"), st.just(EMPTY)))
def test_no_history_makes_an_unreadable_answer_change_anything(polls, last) -> None:
    before = play([ALL, *polls]).snapshot
    kept = copy.deepcopy(before)
    step = play([last], before)
    assert not step.believed and step.changed == [] and step.forgotten == []
    assert step.snapshot["nodes"] == kept["nodes"] and step.snapshot["seq"] == kept["seq"]
    assert before == kept, "the previous snapshot is not touched"


@settings(max_examples=300, deadline=None)
@given(POLLS)
def test_a_role_is_lost_only_when_a_list_says_so(polls) -> None:
    snapshot = empty_snapshot()
    for poll in [ALL, *polls]:
        step = play([poll], snapshot)
        for name, node in snapshot["nodes"].items():
            lost = "slurmclient" in (node["roles"] or []) and "slurmclient" not in (
                step.snapshot["nodes"].get(name, node)["roles"] or []
            )
            told = not isinstance(poll, str) and name in poll and poll[name]["roles"] is not None
            silent = not isinstance(poll, str) and name in poll and node["silent"] + 1 >= RULES.confirm
            assert not lost or told or silent
        snapshot = step.snapshot
