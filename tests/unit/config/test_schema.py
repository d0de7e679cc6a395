"""The validator for minions gives jsonschema's verdicts, and its sentences name key, value and what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from superpod_dcgm.config import resolve
from superpod_dcgm.config import schema as validator

ROOT = Path(__file__).parents[3]
SCHEMA = yaml.safe_load((ROOT / "salt/dcgm/schema.yaml").read_text())
DEFAULTS = yaml.safe_load((ROOT / "salt/dcgm/defaults.yaml").read_text())
COMPATIBILITY = yaml.safe_load((ROOT / "salt/dcgm/compatibility.yaml").read_text())

# (pillar, the words that the one sentence must have; none when the pillar is right)
CASES: list[tuple[Any, tuple[str, ...]]] = [
    ({}, ()),
    ({"exporter": {"port": 9500}}, ()),
    ({"exporter": {"port": "9500"}}, ("dcgm:exporter:port", "'9500'", "whole number", "65535")),
    ({"exporter": {"port": 0}}, ("dcgm:exporter:port", "0", "from 1 to 65535")),
    ({"exporter": {"port": True}}, ("dcgm:exporter:port", "True", "whole number")),
    ({"exporter": {"prot": 9500}}, ("dcgm:exporter:prot", "unknown key", "did you mean port?")),
    ({"exportr": {}}, ("dcgm:exportr", "unknown key", "did you mean exporter?")),
    ({"exporter": {"release": "latest"}}, ("dcgm:exporter:release", "'latest'", "release tag")),
    ({"exporter": {"engine": "sometimes"}}, ("dcgm:exporter:engine", "'sometimes'", "one of auto, remote, embedded")),
    ({"exporter": []}, ("dcgm:exporter", "[]", "a mapping")),
    ({"job_map": {"directory": "dcgm"}}, ("dcgm:job_map:directory", "'dcgm'", "absolute path")),
    ({"exporter": {"store": "/"}}, ("dcgm:exporter:store", "'/'", "two levels")),
    ({"job_map": {"directory": "/run/../dcgm"}}, ("dcgm:job_map:directory", "dcgm in it")),
    ({"job_map": {"directory": "/run/a b"}}, ("dcgm:job_map:directory", "'/run/a b'")),
    ({"go": {"directory": "/usr/local"}}, ("dcgm:go:directory", "'/usr/local'", "dcgm in it")),
    ({"exporter": {"user": "root"}}, ("dcgm:exporter:user", "'root'", "begins with dcgm")),
    (
        {"exporter": {"source": {"url": "https://me:secret@example.com/x.git"}}},
        ("dcgm:exporter:source:url", "password"),
    ),
    ({"roles": {"run_on": []}}, ("dcgm:roles:run_on", "[]", "at least 1")),
    ({"roles": {"run_on": ["a", "a"]}}, ("dcgm:roles:run_on[1]", "'a'", "twice")),
    ({"roles": {"static": {"n1": "slurmclient"}}}, ("dcgm:roles:static:n1", "'slurmclient'", "a list")),
    ({"go": {"sha256": {"amd64": "abc"}}}, ("dcgm:go:sha256:amd64", "'abc'", "SHA-256")),
    ({"go": {"sha256": {"sparc": "0" * 64}}}, ("dcgm:go:sha256:sparc", "unknown key")),
    ({"exporter": {"environment": {"A-B": "1"}}}, ("dcgm:exporter:environment:A-B", "'A-B'", "environment variable")),
    ({"targets": {"labels": {"rack": "r1"}}}, ()),
    ({"watcher": {"minimum_share": 2}}, ("dcgm:watcher:minimum_share", "2", "from 0 to 1")),
    ({"slurm": {"gres": ["gpu", "shard"]}}, ()),
    ({"slurm": {"gres": []}}, ("dcgm:slurm:gres", "[]", "at least 1")),
    ({"slurm": {"gres": ["tpu"]}}, ("dcgm:slurm:gres[0]", "'tpu'", "one of gpu, shard, mps")),
    ({"slurm": {"prolog_link": "/etc/slurm/prolog.d/60-gpu.sh"}}, ("dcgm:slurm:prolog_link", "has prolog in it")),
    ({"slurm": {"epilog_link": "/etc/slurm/epilog.d/60-gpu.sh"}}, ("dcgm:slurm:epilog_link", "has epilog in it")),
    ({"slurm": {"epilog_link": "/e/60-prolog-epilog.sh"}}, ("dcgm:slurm:epilog_link", "and not prolog")),
    ({"slurm": {"epilog_link": "/prologs/x/60-epilog.sh"}}, ()),
    ({"job_map": {"time_limit": 100}}, ("dcgm:job_map:time_limit", "100", "from 500")),
    ({"slurm": {"positions": "nvml"}}, ("dcgm:slurm:positions", "'nvml'", "one of auto, index, minor")),
    ({"job_map": {"label": "yes"}}, ("dcgm:job_map:label", "'yes'", "true or false")),
    ({"job_map": {"log": "dcgm.log"}}, ("dcgm:job_map:log", "'dcgm.log'", "absolute path")),
    ({"metrics": {"textfile_directory": "node"}}, ("dcgm:metrics:textfile_directory", "'node'", "absolute path")),
    (["not", "a", "mapping"], ("dcgm", "a mapping")),
]


@pytest.mark.parametrize(("pillar", "words"), CASES, ids=[str(case[0])[:60] for case in CASES])
def test_a_wrong_value_gives_one_sentence_that_names_key_and_value(pillar: Any, words: tuple[str, ...]) -> None:
    found = validator.errors(pillar, SCHEMA, "dcgm")
    assert len(found) == bool(words)
    for word in words:
        assert word in found[0]


@pytest.mark.parametrize("pillar", [case[0] for case in CASES], ids=[str(case[0])[:60] for case in CASES])
def test_the_verdict_is_that_of_the_jsonschema_library(pillar: Any) -> None:
    library = jsonschema.Draft202012Validator(SCHEMA)
    assert library.is_valid(pillar) == (validator.errors(pillar, SCHEMA, "dcgm") == [])


def test_the_schema_itself_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_a_value_with_a_second_line_is_refused() -> None:
    found = validator.errors({"cluster": "slurm\n"}, SCHEMA, "dcgm")
    assert "dcgm:cluster" in found[0]


def test_the_defaults_are_valid() -> None:
    assert validator.errors(DEFAULTS, SCHEMA, "dcgm") == []


def _keys(schema: dict[str, Any], path: str = "") -> set[str]:
    return (
        {path}
        if "properties" not in schema
        else {key for name, below in schema["properties"].items() for key in _keys(below, f"{path}:{name}")}
    )


def _values(value: Any, schema: dict[str, Any], path: str = "") -> set[str]:
    return (
        {path}
        if "properties" not in schema
        else {
            key for name, item in value.items() for key in _values(item, schema["properties"][name], f"{path}:{name}")
        }
    )


def test_every_key_of_the_schema_has_a_default_and_the_reverse() -> None:
    # Maps that start empty: by architecture, and by what a master has already.
    empty = (":go:sha256", ":watcher:master")
    wanted = {key for key in _keys(SCHEMA) if not key.startswith(empty)}
    assert wanted == _values(DEFAULTS, SCHEMA) - {*empty}


@pytest.mark.parametrize(
    ("pillar", "words"),
    [
        ({"exporter": {"port": 8081}}, ("dcgm:exporter:port", "8081", "CMDaemon")),
        ({"exporter": {"release": "3.0.0-3.0.0"}}, ("dcgm:exporter:release", "3.0.0-3.0.0", "older than 3.3.6-3.4.2")),
        ({"watcher": {"user": "monitor"}}, ("dcgm:watcher:user", "password_file")),
        ({"watcher": {"key": ""}}, ("dcgm:watcher:key", "certificate")),
        ({"slurm": {"epilog_link": DEFAULTS["slurm"]["prolog_link"]}}, ("dcgm:slurm:epilog_link", "prolog")),
    ],
)
def test_values_that_contradict_each_other_are_refused(pillar: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(resolve.ConfigurationError) as error:
        resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)
    for word in words:
        assert word in str(error.value)


def test_all_errors_are_named_at_once() -> None:
    with pytest.raises(resolve.ConfigurationError) as error:
        resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, {"exporter": {"port": 0, "keep": 0}, "x": 1})
    assert len(str(error.value).splitlines()) == 3


def test_mappings_are_merged_and_lists_replaced() -> None:
    merged = resolve.merge({"a": {"b": 1, "c": [1, 2]}, "d": 1}, {"a": {"c": [3]}})
    assert merged == {"a": {"b": 1, "c": [3]}, "d": 1}


def test_commit_and_go_of_a_known_release_need_not_be_given() -> None:
    found = resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, {})
    release = COMPATIBILITY["releases"][DEFAULTS["exporter"]["release"]]
    assert found["exporter"]["facts"]["commit"] == release["commit"]
    assert found["go"]["version"] == release["go"]
    assert resolve.build_errors(found, "amd64") == []


def test_a_build_without_known_commit_or_checksum_says_which_keys_are_missing() -> None:
    pillar = {"exporter": {"release": "4.8.4"}, "go": {"version": "1.27.1"}}
    found = resolve.build_errors(resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar), "arm64")
    assert "dcgm:exporter:commit" in found[0]
    assert "dcgm:go:sha256:arm64" in found[1]


def test_a_build_of_a_release_whose_go_is_not_known_asks_for_it() -> None:
    pillar: dict[str, Any] = {"exporter": {"release": "4.7.1-4.9.1", "commit": "a" * 40}}
    (found,) = resolve.build_errors(resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar), "arm64")
    assert "dcgm:go:version: the release of Go that builds 4.7.1-4.9.1 is not known" in found
    assert "go:sha256:arm64" in found
    pillar["go"] = {"version": "1.27.4", "sha256": {"arm64": "b" * 64}}
    configuration = resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)
    assert resolve.build_errors(configuration, "arm64") == []
    assert configuration["exporter"]["facts"]["assumed"] == "4.9.0"
    pillar["go"] = {"method": "package"}
    assert resolve.build_errors(resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar), "arm64") == []


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("4.5.3-4.8.2", ""),
        ("4.4.1-4.6.0", ""),
        ("4.7.1-4.9.1", "4.7.1-4.9.1 is not in compatibility.yaml: it is taken to read job map and counters"),
        ("4.9.0", "what is known of dcgm-exporter 4.9.0 comes from release notes"),
    ],
)
def test_what_is_assumed_of_a_release_is_a_sentence(release: str, words: str) -> None:
    pillar = {"exporter": {"release": release, "method": "artifact"}}
    notice = resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)["exporter"]["facts"]["notice"]
    assert words in notice and bool(words) == bool(notice)
