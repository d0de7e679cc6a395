"""What is known of a node without asking it: what is wanted, what it last said, and what is wrong, in one sentence."""

from __future__ import annotations

import datetime
import json

import pytest
from superpod_dcgm.fleet import status_table
from superpod_dcgm.watcher import belief, last_seen, status
from superpod_dcgm.watcher.snapshot import empty_snapshot, read_snapshot

RELEASE = "4.5.3-4.8.2"
SETTINGS = {
    "snapshot": "/nonexistent/snapshot.json",
    "roles": {"source": "bcm", "run_on": ["slurmclient"]},
    "exporter": {"enabled": True, "release": RELEASE},
}
RUNS = {"roles": ["slurmclient"], "service": "running", "release": RELEASE, "right": True}
STOPPED = {**RUNS, "service": "stopped"}
NOTHING = {**STOPPED, "release": None}
WAITS = "waits for its role call, which the watcher makes by itself"
APPLY = "dcgm was never applied to it: `salt NODE state.apply` does that"


def moment(minutes: int) -> str:
    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=minutes)
    return past.strftime("%Y-%m-%dT%H:%M:%SZ")


def known(said=None, silent=False, roles=("slurmclient",), deployed=True, delivered=True, problem=None):
    """Return the snapshot of a cluster of one head and the node a."""
    devices = {
        "a": {"roles": list(roles) if roles is not None else None, "category": "dgx", "type": "PhysicalNode"},
        "master-1": {"roles": ["headnode"], "category": None, "type": "HeadNode"},
    }
    found = belief.answered(empty_snapshot(), "master", devices, moment(1), belief.Rules()).snapshot
    if deployed:
        found["deployed"]["a"] = moment(60)
    if delivered:
        found["nodes"]["a"]["delivered"] = found["nodes"]["a"]["seq"]
    if problem:
        found["tries"]["a"] = {"seq": 1, "count": 1, "next": 0, "problem": problem}
    if said is not None:
        last_seen.note(found, ["a"], {"a": said}, moment(3))
    if silent:
        last_seen.note(found, ["a"], {}, moment(2))
    return found


CASES = {
    "all is well": (known(RUNS), "running", "running", None),
    "never asked": (known(), "running", None, None),
    "not deployed, and not in the way": (known(NOTHING, deployed=False), "running", "stopped", None),
    "deployed and empty": (known(NOTHING), "running", "stopped", "is stopped, should be running"),
    "stopped by hand": (known(STOPPED), "running", "stopped", "is stopped, should be running"),
    "running without a role": (known(RUNS, roles=[]), "stopped", "running", "is running, should be stopped"),
    "stopped without a role": (known(STOPPED, roles=[]), "stopped", "stopped", None),
    "another release": (
        known({**RUNS, "release": "4.4.2-4.7.1"}),
        *("running", "running", f"has release 4.4.2-4.7.1, the pillar has {RELEASE}"),
    ),
    "two things at once": (
        known({**STOPPED, "release": "old"}),
        *("running", "stopped", f"is stopped, should be running; has release old, the pillar has {RELEASE}"),
    ),
    "silent": (known(RUNS, silent=True), "running", "running", "did not answer when it was last asked"),
    "roles not told": (
        known(RUNS, roles=None),
        "unknown",
        "running",
        "its roles are not known: bcm did not tell them yet",
    ),
    "owed": (known(RUNS, delivered=False), "running", "running", WAITS),
    "owed, and unknown to this watcher": (known(RUNS, deployed=False, delivered=False), "running", "running", WAITS),
    "owed, and never asked": (known(delivered=False), "running", None, WAITS),
    "owed before the first apply": (known(deployed=False, delivered=False), "running", None, APPLY),
    "owed and told before it": (known(NOTHING, deployed=False, delivered=False), "running", "stopped", APPLY),
    "a delivery that failed": (known(RUNS, delivered=False, problem="no room"), "running", "running", "no room"),
    "a page that lacks something": (
        known({**RUNS, "shortages": ["no row of GPU-a", "x"]}),
        "running",
        "running",
        "no row of GPU-a; x",
    ),
    "and nothing runs": (known({**STOPPED, "shortages": ["x"]}, roles=[]), "stopped", "stopped", None),
    "odd words on the page": (known({**RUNS, "shortages": [5, "a\x1b", {}]}), "running", "running", None),
    "without our modules": (known("'bcm.health' is not available.", deployed=False), "running", None, None),
}


# name: (job, what went wrong before, what is told)
REPAIRS = {
    "to begin": (None, None, "is to be repaired: the unit is missing"),
    "at work": ("1", None, "is being repaired: the unit is missing"),
    "failed": (None, "no room", "is not repaired: no room"),
}


@pytest.mark.parametrize(("jid", "problem", "told"), REPAIRS.values(), ids=REPAIRS.keys())
def test_a_repair_is_told_as_it_goes(jid, problem, told) -> None:
    snapshot = known(RUNS)
    repair = {"why": "the unit is missing", "jid": jid, "since": 0, "count": 1, "next": 0, "problem": problem}
    snapshot["repairs"]["a"] = repair
    assert status.status(SETTINGS, snapshot, {"a": "a"})["nodes"]["a"]["problem"] == told


@pytest.mark.parametrize(("snapshot", "wanted", "service", "problem"), CASES.values(), ids=CASES.keys())
def test_a_node_is_what_it_last_said_beside_what_is_wanted(snapshot, wanted, service, problem) -> None:
    node = status.status(SETTINGS, snapshot, {"a": "a.cluster"})["nodes"]["a"]
    assert (node["wanted"], node["service"], node["problem"]) == (wanted, service, problem)
    assert (node["minion"], node["head"]) == ("a.cluster", False)


def test_ages_are_in_seconds_and_a_silent_node_keeps_what_it_said_before() -> None:
    found = status.status(SETTINGS, known(RUNS, silent=True), {"a": "a"})
    node = found["nodes"]["a"]
    assert 60 <= found["age"] < 90 and 180 <= node["age"] < 210
    assert node["release"] == RELEASE and node["silent"] > node["seen"]


def test_silence_is_dated_by_its_begin_and_ends_with_an_answer() -> None:
    snapshot = known(RUNS, silent=True)
    since = snapshot["seen"]["a"]["silent"]
    last_seen.note(snapshot, ["a"], {}, moment(0))
    assert snapshot["seen"]["a"]["silent"] == since
    last_seen.note(snapshot, ["a"], {"a": RUNS}, moment(0))
    assert snapshot["seen"]["a"]["silent"] is None


def test_what_is_odd_with_a_page_stays_known_until_the_node_looked_again() -> None:
    snapshot = known({**RUNS, "shortages": ["no row of GPU-a"]})
    last_seen.note(snapshot, ["a"], {"a": RUNS}, moment(0))
    assert snapshot["seen"]["a"]["odd"] == "no row of GPU-a"
    last_seen.note(snapshot, ["a"], {"a": {**RUNS, "shortages": []}}, moment(0))
    assert snapshot["seen"]["a"]["odd"] is None


def test_heads_are_known_by_bcm_or_by_the_pillar_and_nothing_is_wanted_of_them() -> None:
    found = status.status(SETTINGS, known(), {"a": "a"}, heads=["a", "master-1"])["nodes"]
    assert (found["master-1"]["head"], found["master-1"]["wanted"], found["master-1"]["problem"]) == (True, None, None)
    assert not found["a"]["head"], "a head that is a node as well is one"
    snapshot = known()
    snapshot["nodes"]["master-1"]["type"] = None
    assert status.status(SETTINGS, snapshot, {"a": "a"}, heads=["master-1"])["nodes"]["master-1"]["head"]


def test_a_minion_that_the_source_does_not_list_has_a_problem_and_a_device_without_minion_none() -> None:
    found = status.status(SETTINGS, known(STOPPED), {"b": "b"})["nodes"]
    assert found["b"]["problem"] == "its roles are not known: bcm does not list it"
    assert (found["a"]["problem"], found["a"]["minion"]) == (None, None)


@pytest.mark.parametrize(
    ("listed", "expected"),
    [(("slurmclient",), "its roles are taken to be as before: odd"), (None, "its roles are not known: odd")],
)
def test_what_cannot_be_read_of_a_node_is_its_problem_and_of_others_the_lists(listed, expected) -> None:
    snapshot = known(RUNS, roles=listed)
    snapshot["doubts"], snapshot["list_problems"] = {"a": "odd", "switch": "odder"}, ["device 3 has no name"]
    found = status.status(SETTINGS, snapshot, {"a": "a"}, remarks=["one may be a node"])
    assert found["nodes"]["a"]["problem"] == expected
    assert found["list_problems"] == ["switch: odder", "device 3 has no name", "one may be a node"]
    text = status_table.render(found, 100, 40)
    assert "switch: odder" in text and "one may be a node" in text


def test_two_keys_of_one_node_are_its_problem_whether_it_is_served_or_not() -> None:
    found = status.status(SETTINGS, known(RUNS), {"a": "a"}, disputes={"a": "two keys", "b": "two other keys"})
    assert found["nodes"]["a"]["problem"] == "two keys" and found["nodes"]["b"]["problem"] == "two other keys"
    served = status.status(SETTINGS, known(STOPPED), {"a": "a"}, disputes={"a": "two keys"})["nodes"]["a"]
    assert served["problem"] == "two keys; is stopped, should be running"


def test_nothing_is_wrong_with_nodes_where_the_exporter_is_switched_off() -> None:
    settings = {**SETTINGS, "exporter": {"enabled": False, "release": RELEASE}}
    assert status.status(settings, known(STOPPED), {"a": "a"})["nodes"]["a"]["problem"] is None


def test_a_snapshot_from_before_nodes_were_remembered_is_read(tmp_path) -> None:
    snapshot = known()
    del snapshot["seen"]
    (tmp_path / "snapshot.json").write_text(json.dumps(snapshot))
    read = read_snapshot(str(tmp_path / "snapshot.json"))
    assert read["seen"] == {} and read["nodes"] == snapshot["nodes"]
    assert status.status(SETTINGS, read, {"a": "a"})["nodes"]["a"]["service"] is None


def test_a_node_that_is_gone_is_forgotten() -> None:
    snapshot = known(RUNS)
    last_seen.note(snapshot, ["b", "c"], {"b": RUNS, "c": RUNS}, moment(0))
    last_seen.forget(snapshot, ["b"])
    assert sorted(snapshot["seen"]) == ["a", "b"], "a is known to BCM, b is a minion, c is neither"


def asked_again(found, minutes_ago: int, **exporter: object) -> list[str]:
    """Whom a poll asks when the node a was deployed so long ago."""
    found["deployed"]["a"] = moment(minutes_ago)
    settings = {**SETTINGS, "longest_apply": 600, "exporter": {**SETTINGS["exporter"], **exporter}}
    return status.unsettled(settings, found, ["a"], datetime.datetime.now().timestamp())


# What the node said three minutes ago, minutes since it was deployed, and whether it is asked.
SETTLING = {
    "it was never asked": ({}, 1, True),
    "it was asked before": ({"said": RUNS}, 1, True),
    "it was asked since, and all is right": ({"said": RUNS}, 5, False),
    "it was asked in the middle of the apply": ({"said": NOTHING}, 5, True),
    "it was asked before its roles were known": ({"said": NOTHING, "roles": None}, 5, True),
    "it was asked while the service did not run yet": ({"said": STOPPED}, 5, True),
    "it is not right long after the apply": ({"said": STOPPED}, 30, False),
    "the clock was set back since": ({"said": STOPPED}, -300, False),
    "it does not answer": ({"silent": True}, 5, False),
}


@pytest.mark.parametrize(("what", "minutes_ago", "expected"), SETTLING.values(), ids=SETTLING.keys())
def test_a_node_whose_apply_may_be_at_work_is_asked_until_it_is_right(what, minutes_ago, expected) -> None:
    # Made here: the tests before this one take minutes.
    found = known(**what)
    assert asked_again(found, minutes_ago) == (["a"] if expected else [])
    assert asked_again(found, minutes_ago, enabled=False) == []


def test_a_node_that_gets_a_role_call_next_is_not_asked_besides() -> None:
    found = known(STOPPED)
    found["nodes"]["a"].update(seq=1, delivered=0)
    # Nobody called it so far: another change set is at work.
    assert asked_again(found, 1) == []
    found["tries"]["a"] = {"seq": 1, "count": 1, "next": 0.0, "problem": None, "claimed": True}
    assert asked_again(found, 1) == []
    found["tries"]["a"]["claimed"] = False
    assert asked_again(found, 1) == ["a"]


ODD = [
    {"seq": "x", "updated": 5, "nodes": [], "tries": None, "target_problems": {"a": 1}, "deployed": "all"},
    {
        **{"nodes": {"a": 5, "b": {"roles": "x"}}, "tries": {"a": {"seq": 1}}, "repairs": {"a": {}, "b": None}},
        **{"repaired": {"a": "x"}, "seen": {"a": {"service": ["x"]}}, "applied": {"a": 1}, "doubts": {"a": None}},
    },
]


@pytest.mark.parametrize("odd", ODD)
def test_what_another_release_or_a_hand_left_in_another_form_costs_itself(tmp_path, odd) -> None:
    (tmp_path / "snapshot.json").write_text(json.dumps({**known(RUNS), **odd}))
    read = read_snapshot(str(tmp_path / "snapshot.json"))
    assert {key: read[key] for key in odd} == {key: empty_snapshot()[key] for key in odd}


def test_a_device_of_an_earlier_release_is_completed(tmp_path) -> None:
    snapshot = known()
    for key in ("silent", "ip"):
        snapshot["nodes"]["a"].pop(key, None)
    (tmp_path / "snapshot.json").write_text(json.dumps(snapshot))
    assert read_snapshot(str(tmp_path / "snapshot.json"))["nodes"]["a"]["silent"] == 0
