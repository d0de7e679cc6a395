"""Every SLS compiles on every kind of machine and with every switch either way, and its requisites lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from rendering import ENTRIES, FILE_ROOT, MACHINES, MONITORED, UBUNTU, all_states, read_yaml, unresolved

DEFAULTS = read_yaml(FILE_ROOT / "dcgm/defaults.yaml")
SCHEMA = read_yaml(FILE_ROOT / "dcgm/schema.yaml")


def _switches(
    schema: dict[str, Any], defaults: dict[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[Any, ...]]:
    for key, rule in schema["properties"].items():
        default = defaults[key]
        if "properties" in rule and default:
            yield from _switches(rule, default, (*path, key))
        values = [True, False] if rule.get("type") == "boolean" else rule.get("enum", [])
        yield from ((*path, key, value) for value in values if value != default)


SWITCHES = {":".join(map(str, switch)): switch for switch in _switches(SCHEMA, DEFAULTS)}


# A switch that is a contradiction without another key.
_NEEDS = {"targets:address:fqdn": {"domain": "cluster"}}


def _pillar(switch: tuple[Any, ...]) -> dict[str, Any]:
    *path, value = switch
    last = path.pop()
    value = {last: value, **_NEEDS.get(":".join(map(str, switch)), {})}
    for key in reversed(path):
        value = {key: value}
    return {"dcgm": {**MONITORED["dcgm"], **value}}


def test_every_state_compiles_alone(compiler) -> None:
    with compiler(UBUNTU, {}) as compile_states:
        for name in all_states():
            assert unresolved(compile_states.low(name)) == [], name


@pytest.mark.parametrize("machine", MACHINES)
def test_what_a_site_applies_compiles_on_every_kind_of_machine(applied, machine) -> None:
    steps, _ = applied(machine)
    assert {entry: unresolved(chunks) for entry, chunks in steps.items()} == {entry: [] for entry in steps}


@pytest.mark.parametrize("switch", SWITCHES.values(), ids=SWITCHES.keys())
def test_what_a_site_applies_compiles_with_every_switch_the_other_way(compiler, switch) -> None:
    with compiler(UBUNTU, _pillar(switch)) as compile_states:
        for name in ENTRIES[:-1]:
            assert unresolved(compile_states.low(name)) == [], name


def test_a_node_that_is_head_and_monitoring_too_has_no_id_twice(compiler) -> None:
    with compiler(UBUNTU, MONITORED) as compile_states:
        chunks = compile_states.low("dcgm", "dcgm.head", "dcgm.prometheus")
    assert unresolved(chunks) == []


def test_the_switches_are_found(compiler) -> None:
    assert {"exporter:enabled:False", "slurm:scripts:shared", "roles:source:cmsh"} <= SWITCHES.keys()


@pytest.mark.parametrize(
    ("hosts", "expected"),
    [
        ({}, ["dcgm"]),
        ({"head": "bcm-01", "monitoring": "bcm-01"}, ["dcgm"]),
        ({"head": "dgx-01", "monitoring": "dgx-0*"}, ["dcgm", "dcgm.head", "dcgm.prometheus"]),
        ({"nodes": "", "head": "bcm-01"}, ["dcgm.nobody"]),
        ({"nodes": ""}, ["dcgm.nobody"]),
        ({"nodes": "gpu-*"}, ["dcgm.nobody"]),
        ({"nodes": "dgx-01,dgx-02"}, ["dcgm.nobody"]),
        ({"nodes": "( dgx-01"}, ["dcgm.nobody"]),
        ({"nodes": "E@dgx-["}, ["dcgm.nobody"]),
        ({"nodes": ["dgx-01"]}, ["dcgm.nobody"]),
        ("dgx-*", ["dcgm.nobody"]),
    ],
)
def test_the_top_file_gives_each_host_its_states(compiler, hosts, expected) -> None:
    with compiler(UBUNTU, {"dcgm": {"hosts": hosts}}) as compile_states:
        top = compile_states.high_state.get_top()
        assert compile_states.high_state.verify_tops(top) == []
        matches = {match: [s for s in states if isinstance(s, str)] for match, states in top.get("base", {}).items()}
    assert matches == {"*": expected}


# hosts: words of the sentence
UNMATCHED = {
    "nobody is matched": ({"nodes": "gpu-*"}, "matches this minion, dgx-01: nodes is 'gpu-*', head is ''"),
    "a list without L@": ({"nodes": "dgx-01,dgx-02"}, "dcgm:hosts:nodes: 'dgx-01,dgx-02': a list needs L@"),
    "a wrong expression": ({"nodes": "dgx-01 or"}, "dcgm:hosts:nodes: 'dgx-01 or': or has nothing after it"),
    "a list of YAML": (
        {"nodes": ["dgx-01"]},
        "dcgm:hosts:nodes: ['dgx-01'] is not allowed; it must be a compound match",
    ),
    "text in place of the keys": ("dgx-*", "dcgm:hosts: 'dgx-*' is not allowed; it must be a mapping"),
    "another head": ({"nodes": "", "head": "bcm-02"}, "head is 'bcm-02'"),
}


@pytest.mark.parametrize(("hosts", "words"), UNMATCHED.values(), ids=UNMATCHED.keys())
def test_a_minion_that_no_key_matches_fails_in_a_sentence(compiler, hosts, words) -> None:
    with compiler(UBUNTU, {"dcgm": {"hosts": hosts}}) as compile_states:
        (step,) = compile_states.low("dcgm.nobody")
    assert (step["state"], step["fun"]) == ("test", "fail_without_changes")
    assert words in step["comment"]


def test_a_minion_without_our_pillar_is_told_so(compiler) -> None:
    with compiler({**UBUNTU, "id": "bcm-01"}, {}) as compile_states:
        (step,) = compile_states.low("dcgm.nobody")
    assert "The pillar of this minion, bcm-01, has no `dcgm`" in step["comment"]


def test_no_prometheus_comes_where_the_pillar_names_nobody(compiler) -> None:
    with compiler(UBUNTU, {}) as compile_states:
        (step,) = compile_states.low("dcgm.prometheus")
    assert step["fun"] == "fail_without_changes"
    assert "dcgm:hosts:monitoring: '' does not match this minion, dgx-01" in step["comment"]


def test_a_requisite_that_leads_nowhere_is_found() -> None:
    chunks = [{"__sls__": "a", "__id__": "one", "name": "one", "state": "file", "require": [{"file": "two"}]}]
    assert unresolved(chunks) == ["one: require: {'file': 'two'}"]


def _left_to_the_umask(chunk: dict[str, Any]) -> list[str]:
    """What Salt would give the mode that the minion's umask leaves, or the owner of something to what is above it."""
    if chunk["state"] != "file" or chunk["fun"] not in ("managed", "serialize", "directory", "recurse", "symlink"):
        return []
    found = []
    if chunk["fun"] not in ("symlink", "recurse") and not {"mode", "dir_mode"} & chunk.keys():
        found.append("no mode")
    if chunk["fun"] == "recurse" and not {"file_mode", "dir_mode"} <= chunk.keys():
        found.append("no file_mode and dir_mode")
    if chunk.get("makedirs"):
        if chunk["fun"] == "symlink" or (chunk["fun"] != "directory" and "dir_mode" not in chunk):
            found.append("makedirs without dir_mode")
        if chunk.get("user", "root") != "root":
            found.append("makedirs gives what is above to the owner")
    return [f"{chunk['__id__']}: {words}" for words in found]


@pytest.mark.parametrize(
    "chunk",
    [
        {"fun": "managed"},
        {"fun": "managed", "mode": "0644", "makedirs": True},
        {"fun": "symlink", "makedirs": True},
        {"fun": "directory", "mode": "0755", "makedirs": True, "user": "salt"},
        {"fun": "recurse", "dir_mode": "0755"},
    ],
)
def test_what_the_umask_would_decide_is_found(chunk: dict[str, Any]) -> None:
    assert len(_left_to_the_umask({"state": "file", "__id__": "x", **chunk})) == 1


@pytest.mark.parametrize("pillar", [{}, {"slurm": {"scripts": "local"}, "exporter": {"counters": "salt://x.csv"}}])
def test_the_umask_of_a_minion_decides_nothing(compiler, pillar: dict[str, Any]) -> None:
    with compiler(UBUNTU, {"dcgm": {**pillar, "hosts": {"head": "bcm-01", "monitoring": "bcm-01"}}}) as compile_states:
        for name in all_states():
            assert [words for chunk in compile_states.low(name) for words in _left_to_the_umask(chunk)] == [], name


def test_users_come_before_all_else_and_stop_all_else(applied) -> None:
    steps, _ = applied("Ubuntu 22.04")
    first = [step for step in steps["dcgm"] if step["order"] == min(step["order"] for step in steps["dcgm"])]
    assert "dcgm_user" in {step["state"] for step in first}
    (users,) = [step for step in steps["dcgm"] if step["state"] == "dcgm_user"]
    assert users["failhard"] is True
    assert {user["number"] for user in users["users"]} <= set(range(101, 1000))


def test_the_directory_of_the_job_map_is_there_before_the_exporter_starts(applied) -> None:
    """Its first line in the journal would be an error otherwise."""
    steps, _ = applied("Ubuntu 22.04")
    done = [(step["state"], step["name"]) for step in sorted(steps["dcgm"], key=lambda step: step["order"])]
    assert done.index(("file", "/run/dcgm-job-map")) < done.index(("dcgm_service", "dcgm-exporter.service"))
