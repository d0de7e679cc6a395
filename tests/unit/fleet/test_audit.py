"""What no event told is found by asking, and only what an event would have told."""

from __future__ import annotations

import datetime

import pytest
from superpod_dcgm.fleet import audit
from superpod_dcgm.watcher import belief
from superpod_dcgm.watcher.snapshot import empty_snapshot, read_snapshot

MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}
SETTINGS = {"exporter": {"enabled": True, "port": 9400}, "roles": {"source": "bcm", "run_on": ["slurmclient"]}}
GOOD = {"roles": ["slurmclient"], "wanted": "running", "service": "running", "release": "4.5.3-4.8.2", "right": True}
EMPTY = {**GOOD, "roles": None, "wanted": "unknown", "service": "stopped", "release": None}
NOTHING = {"started": [], "roleless": [], "strayed": []}


@pytest.fixture
def settings(tmp_path):
    return {**SETTINGS, "snapshot": str(tmp_path / "snapshot.json")}


@pytest.fixture
def snapshot():
    """Three nodes, deployed an hour ago, which are owed nothing."""
    devices = {name: {"roles": ["slurmclient"], "category": None, "type": None} for name in MEMBERS}
    found = belief.answered(empty_snapshot(), "master", devices, "t0", belief.Rules()).snapshot
    hour_ago = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(hours=1)
    found["deployed"] = dict.fromkeys(MEMBERS, hour_ago.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for node in found["nodes"].values():
        node["delivered"] = node["seq"]
    return found


class Nodes:
    """Answer as minions would; ``health`` overrules by minion id, None is silence."""

    def __init__(self, booted=7200, **health):
        self.booted, self.health, self.calls = booted, health, []

    def __call__(self, ids, fun, arg, kwarg):
        self.calls.append((fun, list(ids)))
        if fun == "cmd.run":
            return {name: {"ret": f"   {self.booted}", "retcode": 0} for name in ids}
        answers = {name: self.health.get(name.partition(".")[0], GOOD) for name in ids}
        return {name: {"ret": answer, "retcode": 0} for name, answer in answers.items() if answer is not None}


CASES = {
    "all is well": (Nodes(), NOTHING),
    "nobody answers": (Nodes(a=None, b=None, c=None), NOTHING),
    "a node that was provisioned has no modules": (
        Nodes(booted=60, a="'bcm.health' is not available."),
        {**NOTHING, "started": ["a"]},
    ),
    "a node that was provisioned has modules and no release": (
        Nodes(booted=60, b=EMPTY),
        {**NOTHING, "started": ["b"]},
    ),
    "a node that has nothing and did not boot was cleaned": (Nodes(booted=7200, b=EMPTY), NOTHING),
    "a node whose service is not as its roles want it": (
        Nodes(c={**GOOD, "service": "stopped", "right": False}),
        {**NOTHING, "strayed": ["c"]},
    ),
    "a node that knows other roles than BCM": (Nodes(c={**GOOD, "roles": []}), {**NOTHING, "roleless": ["c"]}),
    "a node that knows no roles": (Nodes(c={**GOOD, "roles": None}), {**NOTHING, "roleless": ["c"]}),
}


@pytest.mark.parametrize(("nodes", "expected"), CASES.values(), ids=CASES.keys())
def test_what_was_missed_is_found(settings, snapshot, nodes, expected) -> None:
    assert audit.missed(settings, snapshot, MEMBERS, nodes) == expected


def test_a_node_that_was_never_deployed_or_is_owed_something_is_not_asked(settings, snapshot) -> None:
    del snapshot["deployed"]["a"]
    snapshot["nodes"]["b"]["delivered"] = -1
    nodes = Nodes()
    audit.missed(settings, snapshot, MEMBERS, nodes)
    assert nodes.calls == [("bcm.health", ["c"])]


def test_nobody_is_asked_where_the_exporter_is_switched_off(settings, snapshot) -> None:
    nodes = Nodes()
    switched_off = {**settings, "exporter": {"enabled": False, "port": 9400}}
    assert audit.missed(switched_off, snapshot, MEMBERS, nodes) == NOTHING and nodes.calls == []


@pytest.mark.parametrize("answer", ["", "ps: command not found"])
def test_a_boot_that_cannot_be_dated_counts_as_none(settings, snapshot, answer) -> None:
    nodes = Nodes(booted=answer, a=EMPTY)
    assert audit.missed(settings, snapshot, MEMBERS, nodes) == NOTHING


def test_what_the_nodes_said_is_remembered(settings, snapshot) -> None:
    audit.missed(settings, snapshot, MEMBERS, Nodes(a=None, b={**GOOD, "service": "stopped"}))
    seen = read_snapshot(settings["snapshot"])["seen"]
    assert (seen["a"]["at"], seen["b"]["service"], seen["c"]["service"]) == (None, "stopped", "running")
    assert seen["a"]["silent"] and not seen["b"]["silent"]
