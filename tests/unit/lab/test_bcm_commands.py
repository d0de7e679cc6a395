"""lab-cmd, cmsh and cmha do what the lab and the product's states call them for."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from labcmd.daemon import Daemon
from labcmd.shell import Shell
from labcmd.state import HEADS, Mistake, Paths, State
from standins import HEAD


@pytest.fixture
def state(bcm_root: Path) -> Iterator[State]:
    """A BCM that runs on loopback."""
    daemon = Daemon(Paths(bcm_root), {name: ("127.0.0.1", 0) for name in ("master", *HEADS)})
    daemon.start()
    yield daemon.state
    daemon.stop()


def run(state: State, name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the head."""
    environment = {**os.environ, "LAB_ROOT": str(state.paths.root)}
    return subprocess.run([HEAD / "usr/bin" / name, *words], env=environment, capture_output=True, text=True)


def cmsh(state: State, commands: str) -> list[str]:
    """Return the lines that a session prints."""
    lines: list[str] = []
    Shell(state, lines.append).run(commands)
    return lines


LISTS = [
    ('device list -d "|" -f hostname:40,category', ["hostname (key)|category", "bcm-01|", "bcm-02|", "dgx-01|dgx"]),
    ("device list --type headnode -d , -f hostname", ["hostname (key)", "bcm-01", "bcm-02"]),
    ("device; list -c dgx -d , -f hostname,ip", ["hostname (key),ip", "dgx-01,198.18.0.11", "dgx-02,198.18.0.12"]),
    (
        "device list -f hostname:8,type:4 -c dgx",
        ["hostname (key) type", "dgx-01   PhysicalNode", "dgx-02   PhysicalNode"],
    ),
    ("device; foreach -l slurmclient (get hostname)", ["dgx-01", "dgx-02", "dgx-03", "dgx-04"]),
    ("device; foreach -l headnode (get hostname; get type)", ["bcm-01", "HeadNode", "bcm-02", "HeadNode"]),
    ("device; foreach -n dgx-03,dgx-01 (get ip)", ["198.18.0.11", "198.18.0.13"]),
    ("device use dgx-01; get roles", ["slurmclient", "slurmsubmit"]),
    ("device; use dgx-01; roles; list", ["[overlay:slurm-client] slurmclient", "[overlay:slurm-client] slurmsubmit"]),
    ("device; use bcm-01; roles list", ["backup", "storage", "headnode", "monitoring", "slurmserver", "boot"]),
    ("category list; softwareimage list", ["dgx", "dgx-image"]),
]


@pytest.mark.parametrize(("commands", "lines"), LISTS)
def test_cmsh_lists_what_the_daemon_tells(state: State, commands: str, lines: list[str]) -> None:
    assert cmsh(state, commands)[: len(lines)] == lines


@pytest.mark.parametrize(
    ("commands", "roles"),
    [
        ("device; use dgx-01; append roles backup; commit", ["slurmclient", "slurmsubmit", "backup"]),
        ("device; use dgx-01; removefrom roles slurmclient; commit", ["slurmsubmit"]),
        ("device; use dgx-01; roles; unassign slurmclient; assign boot; commit", ["slurmsubmit", "boot"]),
        ("device; use dgx-01; append roles backup", ["slurmclient", "slurmsubmit"]),
    ],
)
def test_cmsh_changes_roles_at_a_commit_only(state: State, commands: str, roles: list[str]) -> None:
    cmsh(state, commands)
    assert cmsh(state, "device use dgx-01; get roles") == roles


@pytest.mark.parametrize(
    "commands",
    [
        "nonsense",
        "device; nonsense",
        "device use none",
        "device; get hostname",
        "device list --type nonsense",
        "device; foreach (get hostname)",
        "device use dgx-01; get nonsense",
        "device use dgx-01; append nonsense x",
        "cert; createcertificate 2048 x",
        "cert; createcertificate 2048 a b c d e DE wizard '' 30 /dev/null /dev/null",
        "cert; createcertificate 2048 a b c d e DE admin '' long /dev/null /dev/null",
        "softwareimage; clone none new",
        "device use dgx-01; grabimage -i none",
    ],
)
def test_cmsh_ends_with_one_sentence_at_a_mistake(state: State, commands: str) -> None:
    done = run(state, "cmsh", "-n", "-c", commands)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1 and done.stderr.startswith("cmsh: ")


def test_cmsh_fails_when_the_daemon_is_down(state: State) -> None:
    state.set_fault("http-500", 1)
    done = run(state, "cmsh", "-c", "device list")
    assert (done.returncode, done.stdout) == (1, "") and "does not answer" in done.stderr


def test_cmsh_finds_the_active_head(state: State) -> None:
    state.set_fault("passive", 1)
    assert cmsh(state, "device use dgx-01; get hostname") == ["dgx-01"]


def test_cmsh_makes_a_certificate_with_a_profile(state: State, tmp_path: Path) -> None:
    key, certificate = tmp_path / "bcm.key", tmp_path / "bcm.pem"
    cmsh(state, f"cert; createcertificate 2048 watcher 'A/B C' x x x DE readonly root 30 {key} {certificate}")
    subject = subprocess.run(
        ["openssl", "x509", "-in", certificate, "-noout", "-subject", "-nameopt", "multiline"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "title                     = readonly" in subject and "userId                    = root" in subject
    assert "organizationName          = A/B C" in subject
    assert key.stat().st_mode & 0o777 == 0o600


def test_grabimage_writes_only_when_told_so(state: State) -> None:
    dry = cmsh(state, "softwareimage; clone dgx-image dgx-new; device; use dgx-01; grabimage -i dgx-new")
    assert dry == ["dgx-01: dry run, nothing is written to dgx-new"]
    assert state.read("images.json", {})["grabs"] == []
    cmsh(state, "device; use dgx-01; grabimage -w -i dgx-new")
    assert state.read("images.json", {})["grabs"] == [{"node": "dgx-01", "image": "dgx-new"}]


@pytest.mark.parametrize(("fault", "active"), [(None, "bcm-01*"), ("passive", "bcm-02*")])
def test_cmha_marks_the_active_head(state: State, fault: str | None, active: str) -> None:
    if fault:
        state.set_fault(fault, 1)
    done = run(state, "cmha", "status")
    assert done.returncode == 0 and f"{active} -> " in done.stdout and done.stdout.count("*") == 2


def test_lab_cmd_shows_and_changes_roles(state: State) -> None:
    assert run(state, "lab-cmd", "roles", "dgx-01", "-slurmclient", "+backup").stdout == "slurmsubmit backup\n"
    assert run(state, "lab-cmd", "roles", "dgx-01").stdout == "slurmsubmit backup\n"


def test_lab_cmd_changes_several_devices_at_once_or_none(state: State) -> None:
    before = state.devices()
    assert run(state, "lab-cmd", "roles", "dgx-01,dgx-99", "+backup").returncode == 1
    assert state.devices() == before
    run(state, "lab-cmd", "roles", "dgx-01,dgx-02", "-slurmclient")
    having = [found["hostname"] for found in state.devices() if "slurmclient" in found["roles"]]
    assert having == [one["hostname"] for one in before if "slurmclient" in one["roles"]][2:]


@pytest.mark.parametrize(
    "words", [("roles", "none", "+x"), ("roles", "dgx-01", "x"), ("roles", "dgx-01", "+"), ("fault", "slow", "soon"),
              ("fault", "none", "on"), ("remove", "none")]
)  # fmt: skip
def test_lab_cmd_ends_with_one_sentence_at_a_mistake(state: State, words: tuple[str, ...]) -> None:
    done = run(state, "lab-cmd", *words)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == 1


def test_lab_cmd_switches_faults(state: State) -> None:
    run(state, "lab-cmd", "fault", "slow", "3")
    run(state, "lab-cmd", "fault", "half", "on")
    on = [line.split()[0] for line in run(state, "lab-cmd", "faults").stdout.splitlines() if line.split()[1] == "on"]
    assert on == ["slow", "half"] and state.faults()["slow"] == 3
    run(state, "lab-cmd", "fault", "slow", "off")
    assert set(state.faults()) == {"half"}


def test_lab_cmd_init_keeps_what_is_there_only_when_told_so(state: State) -> None:
    state.change_roles("dgx-01", ["-slurmclient"])
    run(state, "lab-cmd", "init", "--keep", "--nodes", "dgx-01,dgx-05=198.18.0.15")
    devices = {found["hostname"]: found for found in json.loads(run(state, "lab-cmd", "devices", "--json").stdout)}
    assert devices["dgx-01"]["roles"] == ["slurmsubmit"] and devices["dgx-05"]["ip"] == "198.18.0.15"
    assert "dgx-04" in devices
    run(state, "lab-cmd", "init", "--nodes", "dgx-01=198.18.0.11")
    assert [found["hostname"] for found in state.devices()] == [*HEADS, "dgx-01"]


def test_lab_cmd_adds_and_removes_nodes(state: State) -> None:
    run(state, "lab-cmd", "add", "dgx-09=198.18.0.19")
    run(state, "lab-cmd", "remove", "dgx-02")
    run(state, "lab-cmd", "category", "dgx-03", "login")
    names = {found["hostname"]: found.get("category") for found in state.devices()}
    assert names["dgx-09"] == "dgx" and "dgx-02" not in names and names["dgx-03"] == "login"


def test_changes_at_once_lose_nothing(state: State) -> None:
    words = [HEAD / "usr/bin/lab-cmd", "--root", state.paths.root, "roles", "dgx-01"]
    running = [subprocess.Popen([*words, f"+role{n}"], stdout=subprocess.DEVNULL) for n in range(8)]
    assert [process.wait() for process in running] == [0] * 8
    roles = next(found["roles"] for found in state.devices() if found["hostname"] == "dgx-01")
    assert {f"role{n}" for n in range(8)} < set(roles)


def test_a_mistake_in_the_shell_is_an_exception(state: State) -> None:
    with pytest.raises(Mistake, match="unknown command 'dance' in device->roles"):
        cmsh(state, "device; use dgx-01; roles; dance")
