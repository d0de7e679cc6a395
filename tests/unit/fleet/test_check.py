"""The pillar is judged in sentences: who is matched, who is not, and what YAML says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import resolve
from superpod_dcgm.fleet import check

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)
ACCEPTED = ["bcm-01", "dgx-01", "dgx-02", "dgx-c1"]
ARCHITECTURES = {"dgx-01": "amd64", "dgx-02": "amd64", "dgx-c1": "arm64"}


def fleet(own: str = "bcm-01", waiting: tuple[str, ...] = (), **matched: list[str]) -> check.Fleet:
    nobody: dict[str, list[str]] = {"nodes": [], "head": [], "builder": [], "monitoring": []}
    known = {"nodes": ["dgx-01", "dgx-02"], "head": ["bcm-01"]}
    return check.Fleet(ACCEPTED, waiting, {**nobody, **known, **matched}, ARCHITECTURES, own)


RIGHT = {"nodes": "dgx-0*", "head": "bcm-01", "builder": "", "monitoring": ""}
# name: (hosts besides the right ones, fleet, words of the one sentence; none where all is right)
CASES: dict[str, tuple[dict[str, str], check.Fleet, str]] = {
    "all is right": ({}, fleet(), ""),
    "one builder of each architecture": (
        {"builder": "dgx-01 or dgx-c1"},
        fleet(nodes=["dgx-01", "dgx-c1"], builder=["dgx-01", "dgx-c1"]),
        "",
    ),
    "nodes in another case": (
        {"nodes": "DGX-01"},
        fleet(nodes=[]),
        "(did you mean dgx-01?)",
    ),
    "nodes that match nobody": (
        {"nodes": "gpu-*"},
        fleet(nodes=[]),
        "dcgm:hosts:nodes: 'gpu-*' matches none of the accepted minions, bcm-01, dgx-01",
    ),
    "nodes whose keys wait": (
        {"nodes": "gpu-*"},
        fleet(nodes=[], waiting=("gpu-01",)),
        "the key of gpu-01 waits: `salt-key -a gpu-01`",
    ),
    "a builder that does not exist": (
        {"builder": "dgx-1"},
        fleet(),
        "dcgm:hosts:builder: 'dgx-1' matches none of the accepted minions",
    ),
    "a name that is nearly right": ({"builder": "dgx-1"}, fleet(), "did you mean dgx-"),
    "a monitoring host that does not exist": (
        {"monitoring": "mon-01"},
        fleet(),
        "dcgm:hosts:monitoring: 'mon-01' matches none",
    ),
    "two builders of one architecture": (
        {"builder": "dgx-0*"},
        fleet(builder=["dgx-01", "dgx-02"]),
        "matches dgx-01, dgx-02 of amd64; name one per architecture",
    ),
    "an architecture without a builder": (
        {"builder": "dgx-01"},
        fleet(nodes=["dgx-01", "dgx-c1"], builder=["dgx-01"]),
        "has none of arm64, which dgx-c1 need",
    ),
    "no head": ({"head": ""}, fleet(head=[]), "dcgm:hosts:head is empty: give the id of this master's own minion"),
    "another head": (
        {"head": "dgx-01"},
        fleet(head=["dgx-01"]),
        "dcgm:hosts:head: 'dgx-01' matches dgx-01, and not the minion of this master, bcm-01",
    ),
    "a head that does not exist": ({"head": "bcm01"}, fleet(head=[]), "(did you mean bcm-01?)"),
    "a head without an accepted minion": ({}, fleet(own="bcm-09"), "`salt-key -a bcm-09`"),
}


@pytest.mark.parametrize(("hosts", "found", "words"), CASES.values(), ids=CASES.keys())
def test_a_match_that_means_the_wrong_ones_is_one_sentence(
    hosts: dict[str, str], found: check.Fleet, words: str
) -> None:
    sentences = check.problems({**RIGHT, **hosts}, found, builds=True)
    assert len(sentences) == bool(words), sentences
    assert words in "".join(sentences)


def test_nobody_needs_a_builder_where_nothing_is_built() -> None:
    assert check.problems({**RIGHT, "builder": "nobody"}, fleet(), builds=False) == []


def configuration(**pillar: Any) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)


def test_what_would_happen_is_a_few_lines() -> None:
    lines = check.plan(configuration(hosts={"builder": "dgx-01"}), fleet(builder=["dgx-01"]))
    assert lines == [
        "head: bcm-01",
        "nodes: 2: dgx-01, dgx-02",
        "builder: dgx-01 (amd64)",
        "release: 4.5.3-4.8.2",
        "roles: bcm, one of slurmclient",
        "monitoring: nobody",
    ]


def test_what_is_assumed_of_a_release_is_noted() -> None:
    lines = check.plan(configuration(exporter={"release": "4.9.1", "method": "artifact"}), fleet())
    assert lines[-1].startswith("note: dcgm-exporter 4.9.1 is not in compatibility.yaml")
    off = configuration(exporter={"release": "4.9.1", "method": "artifact", "enabled": False})
    assert not any(line.startswith("note: ") for line in check.plan(off, fleet()))


def test_what_may_not_be_meant_is_noted() -> None:
    found = fleet(nodes=["bcm-01", "dgx-01"])
    lines = check.plan(configuration(hosts={"nodes": "*", "monitoring": "L@bcm-01,mon-01"}), found)
    assert "note: hosts:nodes matches the head too: bcm-01 gets the exporter" in lines
    assert "note: hosts:monitoring lists mon-01, which no accepted minion is called" in lines


def test_what_the_watcher_would_miss_on_the_head_is_told(tmp_path: Path) -> None:
    other = tmp_path / "site.conf"
    other.write_text("engines: [{x: {}}]\n")
    places = {"certificate": f"{tmp_path}/c.pem", "key": f"{tmp_path}/c.key", "ca": [f"{tmp_path}/ca.pem"]}
    found = check.on_this_head(
        configuration(watcher=places, targets={"directory": "/nowhere/shared/targets"}), [str(other)], "own.conf"
    )
    assert len(found) == 5
    for words in (
        "sets engines",
        "c.pem is missing",
        "c.key is missing",
        "ca.pem cannot be read",
        "no /nowhere/shared",
    ):
        assert [words in sentence for sentence in found].count(True) == 1


def test_without_the_watcher_nothing_is_missed() -> None:
    assert check.on_this_head(configuration(watcher={"enabled": False}), [], "own.conf") == []


@pytest.mark.parametrize(
    ("opts", "cause"),
    [({}, ""), ({"job_cache": False}, "job_cache is false"), ({"ext_job_cache": "redis"}, "ext_job_cache is set")],
)
def test_a_master_that_keeps_no_returns_is_told(opts, cause) -> None:
    found = check.unkept_returns({"watcher": {"enabled": True}}, opts)
    assert [cause in sentence for sentence in found] == [True] * bool(cause)
    assert check.unkept_returns({"watcher": {"enabled": False}}, opts) == []
