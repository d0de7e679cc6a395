"""Names and addresses of the lab, and what it is configured with."""

from __future__ import annotations

import ipaddress
import re

import pytest
import yaml

from superpod.errors import SuperpodError
from superpod.lab import layout, site
from superpod.lab.deployment import failures, render
from superpod.lab.lab import parse_answers
from superpod.lab.layout import CONFIG, Layout


@pytest.mark.parametrize("name", ["default", "a", "test-2", "x" * 24])
def test_a_name_of_a_lab_is_accepted(name: str) -> None:
    assert Layout(name).root.name == name


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-a", "a b", "x" * 25, "a\n"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str) -> None:
    with pytest.raises(SuperpodError, match="is no name for a lab"):
        Layout(name)


def test_every_machine_has_an_address_of_its_own() -> None:
    machines = [layout.HEAD, *layout.node_names(layout.MAX_NODES)]
    addresses = [address for machine in machines for address in layout.addresses_of(machine)] + [layout.HOLDER_ADDRESS]
    assert len(set(addresses)) == len(addresses)
    assert all(ipaddress.ip_address(address) in ipaddress.ip_network("198.18.0.0/24") for address in addresses)


def test_the_hosts_file_names_heads_and_nodes() -> None:
    names = {name: line.split()[0] for line in layout.hosts_file().splitlines() for name in line.split()[1:]}
    assert names["head"] == names["bcm-01"] == names["slurmctl"] == "198.18.0.1"
    assert (names["master"], names["bcm-02"]) == ("198.18.0.254", "198.18.0.2")
    assert names["dgx-02"] == layout.addresses_of("dgx-02")[0]


@pytest.mark.parametrize(("nodes", "expected"), [(1, "dgx-[01-01]"), (2, "dgx-[01-02]"), (32, "dgx-[01-32]")])
def test_slurm_knows_all_nodes_and_runs_bcms_dispatcher(nodes: int, expected: str) -> None:
    settings = dict(line.split("=", 1) for line in site.slurm_conf(nodes).splitlines() if line[0] != "#")
    assert settings["NodeName"].startswith(f"{expected} ")
    assert f"Nodes={expected} " in settings["PartitionName"]
    assert settings["Prolog"] == "/cm/local/apps/cmd/scripts/prolog"
    assert "Alloc" in settings["PrologFlags"]


def test_the_pillar_has_a_value_for_every_mark() -> None:
    values = dict.fromkeys(("go_version", "go_sha256", "release", "commit", "build_environment", "grafana"), "value")
    for path in [CONFIG / "sources.yaml.in", *sorted((CONFIG / "pillar").iterdir())]:
        text = render(path.read_text(), values)
        assert re.findall(r"@\w+@", text) == []
        assert yaml.safe_load(text)


def test_failures_are_told_by_minion_and_state() -> None:
    states = {
        "file_|-a_|-a_|-managed": {"__id__": "Write a", "result": True, "comment": "fine"},
        "file_|-b_|-b_|-managed": {"__id__": "Write b", "result": False, "comment": "no space\n"},
        "file_|-c_|-c_|-managed": {"__id__": "Write c", "result": None, "comment": "would"},
    }
    answers = {"dgx-02": states, "dgx-01": ["Rendering SLS failed", "exporter:port: 0 is too small"], "head": False}
    assert failures(answers) == [
        "  dgx-01: Rendering SLS failed exporter:port: 0 is too small",
        "  dgx-02: Write b: no space",
        "  head: False",
    ]


@pytest.mark.parametrize(
    ("text", "answers"),
    [
        ("", {}),
        ('{"head": true}\n', {"head": True}),
        ('{\n "dgx-01": {"a": 1}\n}\n{\n "dgx-02": false\n}\n', {"dgx-01": {"a": 1}, "dgx-02": False}),
    ],
)
def test_answers_of_all_minions_are_merged(text: str, answers: dict[str, object]) -> None:
    assert parse_answers(text) == answers


def test_an_answer_that_is_no_json_is_no_answer() -> None:
    with pytest.raises(ValueError, match="Expecting value"):
        parse_answers("No minions matched the target.")
