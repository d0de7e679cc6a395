"""What no event told is found by asking, and only what an event would have told."""

from __future__ import annotations

import pytest
from superpod_dcgm.fleet import audit
from superpod_dcgm.watcher import belief
from superpod_dcgm.watcher.snapshot import empty_snapshot, read_snapshot

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
SETTINGS = {"exporter": {"enabled": True, "port": 9400}, "roles": {"source": "bcm", "run_on": ["slurmclient"]}}
GOOD = {
    **{"roles": ["slurmclient"], "wanted": "running", "service": "running", "release": "4.5.3-4.8.2", "right": True},
    **{"deployed": True, "lacking": [], "applied": "d1", "at_work": ""},
}
NOTHING = {"deployed": [], "roleless": [], "strayed": [], "applied": []}


@pytest.fixture
def settings(tmp_path):
    return {**SETTINGS, "snapshot": str(tmp_path / "snapshot.json")}


@pytest.fixture
def snapshot():
    """Three nodes that are deployed and owed nothing."""
    devices = {name: {"roles": ["slurmclient"], "category": None, "type": None} for name in MEMBERS}
    found = belief.answered(empty_snapshot(), "master", devices, "t0", belief.Rules()).snapshot
    found["deployed"] = dict.fromkeys(MEMBERS, "2026-01-01T00:00:00Z")
    found["applied"] = dict.fromkeys(MEMBERS, "d1")
    for node in found["nodes"].values():
        node["delivered"] = node["seq"]
    return found


class Nodes:
    """Answer as minions would; ``health`` overrules by minion id, None is silence."""

    def __init__(self, **health):
        self.health, self.calls = health, []

    def __call__(self, ids, fun, arg, kwarg):
        self.calls.append((fun, list(ids)))
        answers = {name: self.health.get(name.partition(".")[0], GOOD) for name in ids}
        return {name: {"ret": answer, "retcode": 0} for name, answer in answers.items() if answer is not None}


CASES = {
    "all is well": (Nodes(), NOTHING),
    "nobody answers": (Nodes(a=None, b=None, c=None), NOTHING),
    "a node that was provisioned has no modules": (Nodes(a="'bcm.health' is not available."), {"strayed": ["a"]}),
    "a node that was provisioned has modules and nothing else": (
        Nodes(b={**GOOD, "deployed": False, "applied": None}),
        {"strayed": ["b"]},
    ),
    "a node that lacks a file": (Nodes(b={**GOOD, "lacking": ["/usr/bin/dcgm-exporter"]}), {"strayed": ["b"]}),
    "a node to which all but the exporter is deployed": (
        Nodes(c={**GOOD, "service": "stopped", "release": None, "right": False}),
        NOTHING,
    ),
    "a node whose service is not as its roles want it": (
        Nodes(c={**GOOD, "service": "stopped", "right": False}),
        {"strayed": ["c"]},
    ),
    "a node whose exporter lost its profiling rows": (Nodes(c={**GOOD, "profiling_lost": True}), {"strayed": ["c"]}),
    "a node with a dead GPU": (Nodes(c={**GOOD, "profiling_lost": False, "shortages": ["no row of GPU-a"]}), NOTHING),
    "a node that knows other roles than BCM": (Nodes(c={**GOOD, "roles": []}), {"roleless": ["c"]}),
    "a node that knows no roles": (Nodes(c={**GOOD, "roles": None}), {"roleless": ["c"]}),
    "an apply that nobody heard of": (Nodes(c={**GOOD, "applied": "d2"}), {"applied": ["c"]}),
    "an answer that is none": (Nodes(a={"a": 1}, b=[], c=5), {"strayed": ["a", "b", "c"]}),
}


@pytest.mark.parametrize(("nodes", "expected"), CASES.values(), ids=CASES.keys())
def test_what_was_missed_is_found(settings, snapshot, nodes, expected) -> None:
    assert audit.missed(settings, snapshot, MEMBERS, nodes) == {**NOTHING, **expected}


def test_a_node_that_is_owed_something_is_not_asked(settings, snapshot) -> None:
    snapshot["nodes"]["b"]["delivered"] = -1
    nodes = Nodes()
    audit.missed(settings, snapshot, MEMBERS, nodes)
    assert nodes.calls == [("bcm.health", ["a.cluster", "c"])]


UNKNOWN = {
    "it was never deployed": ({**GOOD, "deployed": False, "lacking": [], "right": False}, {}),
    "it is being cleaned": ({**GOOD, "at_work": "state.apply runs here (job 1)"}, {}),
    "it has older modules, which do not say whether states run": ({k: GOOD[k] for k in GOOD if k != "at_work"}, {}),
    "it has no modules": ("'bcm.health' is not available.", {}),
    "the snapshot was lost, or another minion said that it was removed": (GOOD, {"deployed": ["a"], "applied": ["a"]}),
    "and it lacks something": (
        {**GOOD, "lacking": ["/usr/bin/dcgm-exporter"]},
        {"deployed": ["a"], "applied": ["a"], "strayed": ["a"]},
    ),
}


@pytest.mark.parametrize(("answer", "expected"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_a_node_that_is_not_known_to_be_deployed_is_believed_when_it_says_so(
    settings, snapshot, answer, expected
) -> None:
    del snapshot["deployed"]["a"], snapshot["applied"]["a"]
    assert audit.missed(settings, snapshot, MEMBERS, Nodes(a=answer)) == {**NOTHING, **expected}


def test_what_the_nodes_said_is_remembered(settings, snapshot) -> None:
    audit.missed(settings, snapshot, MEMBERS, Nodes(a=None, b={**GOOD, "service": "stopped"}))
    seen = read_snapshot(settings["snapshot"])["seen"]
    assert (seen["a"]["at"], seen["b"]["service"], seen["c"]["service"]) == (None, "stopped", "running")
    assert seen["a"]["silent"] and not seen["b"]["silent"]
