"""Port, places and services of others are theirs: ours is refused in a sentence, and removed without a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import listeners, paths, readable, systemd
from superpod_dcgm.base.process import Answer
from superpod_dcgm.monitoring import ownership, package

UNIT = "prometheus.service"


class Machine:
    """The systemd of a machine, as far as it is asked, and its directories."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.calls: list[tuple[str, ...]] = []
        self.enabled: dict[str, str] = {}
        self.listens: list[listeners.Listener] = []
        self.conffiles = ""

    def systemctl(self, *arguments: str) -> str:
        self.calls.append(arguments)
        if arguments[0] == "list-unit-files":
            return "".join(f"{unit} enabled enabled\n" for unit in self.enabled)
        if arguments[0] == "show":
            return self.enabled.get(arguments[-1], "") if "ExecStart" in arguments[1] else ""
        if arguments[0] == "mask":
            (self.root / "units" / arguments[1]).symlink_to("/dev/null")
        if arguments[0] == "unmask":
            (self.root / "units" / arguments[1]).unlink()
        return ""

    def run(self, argv: list[str], *_: Any, **__: Any) -> Answer:
        self.calls.append(tuple(argv))
        if argv[0] == "dpkg-query":
            return Answer(0 if self.conffiles else 1, self.conffiles)
        return Answer(0, "5d41402abc4b2a76b9719d911017c592  x\n")

    def did(self, *words: str) -> bool:
        return any(all(word in call for word in words) for call in self.calls)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(ownership, "UNIT_DIRECTORY", str(tmp_path / "units"))
    for name, path in {
        "PROMETHEUS_UNIT_FILE": f"units/{paths.PROMETHEUS_UNIT}",
        "PROMETHEUS_CONFIG": "ours",
        "PROMETHEUS_RECORD": "ours/record.json",
        "PROMETHEUS_GOOD": "ours/last-good",
        "PROMETHEUS_RULES": "ours/rules",
        "PROMETHEUS_WEB": "ours/web.yml",
    }.items():
        monkeypatch.setattr(paths, name, str(tmp_path / path))
    monkeypatch.setattr(systemd, "systemctl", found.systemctl)
    monkeypatch.setattr(ownership.process, "run", found.run)
    monkeypatch.setattr(listeners, "on", lambda _port: found.listens)
    return found


def wanted(root: Path, **others: Any) -> ownership.Wanted:
    plain = {"port": 9090, "data": f"{root}/data", "config": f"{root}/ours/p.yml", "program": "/bin/true"}
    return ownership.Wanted(**{**plain, "packages": ("prometheus",), "unit": UNIT, **others})


def exec_start(listen: str = "") -> str:
    return f"{{ path=/usr/bin/prometheus ; argv[]=/usr/bin/prometheus {listen} ; }}\n"


def test_nothing_is_in_the_way_of_the_first_one(machine: Machine) -> None:
    assert ownership.obstacles(wanted(machine.root)) == []


def test_a_port_that_somebody_has_is_named_with_who_has_it(machine: Machine) -> None:
    machine.listens = [listeners.Listener(9090, 812, "prometheus", UNIT)]
    (sentence,) = ownership.obstacles(wanted(machine.root))
    assert sentence.startswith("dcgm:prometheus:port: on 9090 listens prometheus (process 812 of prometheus.service)")
    assert "prometheus:mode to existing" in sentence


def test_our_own_listener_is_no_obstacle(machine: Machine) -> None:
    machine.listens = [listeners.Listener(9090, 812, "prometheus", paths.PROMETHEUS_UNIT)]
    assert ownership.obstacles(wanted(machine.root)) == []


@pytest.mark.parametrize(
    ("listen", "clashes"),
    [
        ("", True),
        ("--web.listen-address=:9090", True),
        ("--web.listen-address=0.0.0.0:9190", False),
        ("--web.listen-address 127.0.0.1:9190", False),
    ],
)
def test_a_service_that_would_take_the_port_at_the_next_boot_counts(
    machine: Machine, listen: str, clashes: bool
) -> None:
    machine.enabled = {UNIT: exec_start(listen)}
    found = ownership.obstacles(wanted(machine.root))
    assert [sentence.split(":")[3].split()[0] for sentence in found] == [UNIT] * clashes


def test_an_exporter_is_no_prometheus(machine: Machine) -> None:
    machine.enabled = {"prometheus-node-exporter.service": "{ path=/usr/bin/prometheus-node-exporter ; }"}
    assert ownership.obstacles(wanted(machine.root)) == []


def test_data_of_somebody_else_is_refused(machine: Machine) -> None:
    (machine.root / "data").mkdir()
    assert ownership.obstacles(wanted(machine.root)) == []
    (machine.root / "data/wal").mkdir()
    (sentence,) = ownership.obstacles(wanted(machine.root))
    assert sentence.startswith(f"dcgm:prometheus:data: {machine.root}/data belongs to ")


def test_files_of_somebody_else_are_refused(machine: Machine) -> None:
    (machine.root / "ours").mkdir()
    (machine.root / "ours/p.yml").write_text("global: {}\n")
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("[Service]\n")
    found = ownership.obstacles(wanted(machine.root))
    assert ["was not written by this project" in sentence for sentence in found] == [True, True]
    for path in (machine.root / "ours/p.yml", Path(paths.PROMETHEUS_UNIT_FILE)):
        path.write_text(f"{ownership.MARK}\n")
    assert ownership.obstacles(wanted(machine.root)) == []


def test_a_package_whose_start_would_start_the_sites_unit_is_not_installed(machine: Machine) -> None:
    (machine.root / f"units/{UNIT}").write_text("[Service]\n")
    assert ownership.obstacles(wanted(machine.root)) == []
    (sentence,) = ownership.obstacles(wanted(machine.root, program="/nowhere/prometheus"))
    assert sentence.startswith("dcgm:prometheus:packages:")


def test_a_unit_that_we_masked_is_given_back_and_not_enabled(machine: Machine) -> None:
    package.mask(UNIT, ["prometheus"])
    assert package.is_masked_by_us() == UNIT
    assert package.unmask() == UNIT
    assert not os.path.lexists(machine.root / f"units/{UNIT}")
    assert machine.did("disable", UNIT)
    assert package.unmask() == ""


def test_a_unit_that_others_masked_stays_masked(machine: Machine) -> None:
    (machine.root / f"units/{UNIT}").symlink_to("/dev/null")
    package.mask(UNIT, ["prometheus"])
    assert package.unmask() == ""
    assert os.path.lexists(machine.root / f"units/{UNIT}")


def test_removal_takes_our_files_only(machine: Machine) -> None:
    config = machine.root / "ours/p.yml"
    package.note(config=str(config), data="/data")
    (machine.root / "ours/rules").mkdir()
    rules, web = machine.root / "ours/rules/dcgm.yml", machine.root / "ours/web.yml"
    for path in (config, Path(paths.PROMETHEUS_UNIT_FILE), rules, web):
        path.write_text(f"{ownership.MARK}\n")
    (machine.root / "other.yml").write_text("global: {}\n")
    assert str(config) in package.present(str(machine.root / "other.yml"))
    package.remove(str(machine.root / "other.yml"))
    assert not (machine.root / "ours").exists()
    assert (machine.root / "other.yml").exists()
    assert machine.did("disable", "--now", paths.PROMETHEUS_UNIT)
    assert package.present(str(config)) == []


def test_a_foreign_unit_of_our_name_is_not_stopped(machine: Machine) -> None:
    Path(paths.PROMETHEUS_UNIT_FILE).write_text("[Service]\n")
    package.remove(str(machine.root / "ours/p.yml"))
    assert Path(paths.PROMETHEUS_UNIT_FILE).exists()
    assert not machine.did("disable")


PRISTINE = " /etc/default/prometheus 5d41402abc4b2a76b9719d911017c592\n"
EDITED = " /etc/default/prometheus 00000000000000000000000000000000\n"


@pytest.mark.parametrize(
    ("conffiles", "others", "alone"),
    [(PRISTINE, False, True), (EDITED, False, False), (PRISTINE, True, False), ("", False, False)],
    ids=["nobody configured it", "the site did", "the site has a drop-in", "nobody can tell"],
)
def test_what_an_earlier_version_took_over_is_given_back(
    machine: Machine, conffiles: str, others: bool, alone: bool
) -> None:
    machine.conffiles = conffiles
    folder = machine.root / f"units/{UNIT}.d"
    folder.mkdir()
    config = machine.root / "superpod-dcgm.yml"
    config.touch()
    (folder / "superpod-dcgm.conf").write_text(f"ExecStart=/usr/bin/prometheus --config.file={config} --x\n")
    if others:
        (folder / "site.conf").touch()
    package.leave(UNIT)
    assert machine.did("disable", "--now", UNIT) == alone
    assert machine.did("try-restart", UNIT) != alone
    assert not config.exists()
    assert folder.exists() == others


# name: (text of the file, whether it is ours)
INCLUDED: dict[str, tuple[str, bool]] = {
    "with our mark": (f"{ownership.MARK}: x\nscrape_configs: []\n", True),
    "of an earlier version": (json.dumps({"scrape_configs": [{"job_name": "dcgm-exporter"}]}), True),
    "of somebody else": (json.dumps({"scrape_configs": [{"job_name": "node"}]}), False),
    "ours among others'": (
        json.dumps({"scrape_configs": [{"job_name": "dcgm-exporter"}, {"job_name": "node"}]}),
        False,
    ),
    "with more than jobs": (json.dumps({"scrape_configs": [{"job_name": "dcgm-exporter"}], "global": {}}), False),
    "no YAML": ("{", False),
    "empty": ("", False),
}


@pytest.mark.parametrize(("text", "ours"), INCLUDED.values(), ids=INCLUDED.keys())
def test_a_scrape_configuration_is_ours_by_mark_or_by_having_our_jobs_only(
    tmp_path: Path, text: str, ours: bool
) -> None:
    path = tmp_path / "dcgm-exporter.yml"
    path.write_text(text)
    assert ownership.is_ours_to_include(str(path)) is ours


def test_a_file_that_is_missing_is_nobodys(tmp_path: Path) -> None:
    ask: Callable[[str], bool] = ownership.is_ours_to_include
    assert ask(str(tmp_path / "x")) is False


def test_a_secret_that_everybody_can_read_is_told(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch()
    for mode, found in (
        (0o600, []),
        (0o640, []),
        (0o644, [f"{secret} can be read by everybody; take that right away"]),
    ):
        secret.chmod(mode)
        said = ownership.exposed([str(secret), str(tmp_path / "missing")])
        assert [sentence.partition(" (")[0] for sentence in said] == found


def test_who_reads_is_asked_and_not_the_modes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = machine.root / "password"
    secret.touch()
    monkeypatch.setattr(readable, "by", lambda *_: True)
    assert ownership.unreadable("superpod-prometheus", [str(secret)]) == []
    monkeypatch.setattr(readable, "by", lambda *_: False)
    found = ownership.unreadable("superpod-prometheus", [str(secret), str(machine.root), f"{machine.root}/x"])
    assert found == [
        f"{secret} cannot be read by the user superpod-prometheus",
        f"{machine.root} cannot be read by the user superpod-prometheus; Prometheus would find no target",
        f"{machine.root}/x is not there",
    ]
