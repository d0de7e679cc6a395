"""Module and state of the device table through Salt's loaders, with test=True and for real."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import nvidia, slurmd
from superpod_dcgm.base import paths

NODE = Path(__file__).resolve().parents[2] / "lab/rootfs/node"
NAME = "Make the device table"


class Gpus:
    """The lab's stand-in for a driver in a temporary folder."""

    def __init__(self, root, labgpus) -> None:
        self.root, self.labgpus, self.programs = root, labgpus, root / "bin"
        self.table, self.status = root / "run/devices", root / "run/devices.json"
        self.programs.mkdir()
        (self.programs / "grep").symlink_to(shutil.which("grep"))
        smi = self.programs / "nvidia-smi"
        smi.write_text(f'#!/bin/sh\nLAB_GPUS={root}/gpus.json exec {sys.executable} {NODE}/usr/bin/nvidia-smi "$@"\n')
        smi.chmod(0o755)
        self.profile("identity")

    def profile(self, name: str) -> None:
        description = self.labgpus.describe(name, "dgx-01")
        self.labgpus.save(description, self.root / "gpus.json")
        self.labgpus.write_proc(description, self.root / "proc")

    def fault(self, name: str) -> None:
        (self.root / "nvidia-smi.fault").write_text(f"{name}\n")


@pytest.fixture
def gpus(tmp_path, monkeypatch, load) -> Gpus:
    # Nothing may be left in lab/rootfs: it is copied as it is onto the lab's machines.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = Gpus(tmp_path, load("lab/rootfs/node/usr/lib/lab/labgpus.py"))
    monkeypatch.setattr(nvidia, "SEARCH_PATH", str(found.programs))
    monkeypatch.setattr(nvidia, "PROC", str(tmp_path / "proc"))
    monkeypatch.setattr(slurmd, "_BCM_SLURMD", str(tmp_path / "none"))
    monkeypatch.setattr(paths, "DEVICES", str(found.table))
    monkeypatch.setattr(paths, "DEVICES_STATUS", str(found.status))
    monkeypatch.setattr(paths, "JOB_MAP_CONFIG", str(tmp_path / "job-map.conf"))
    return found


@pytest.mark.parametrize("profile", ["identity", "minor-order", "mig"])
def test_the_table_is_made_once_and_foretold_with_test_true(states, gpus, profile) -> None:
    gpus.profile(profile)
    foretold = states.dcgm_devices.current(name=NAME, test=True)
    assert foretold.result is None
    assert not gpus.table.parent.exists()
    done = states.dcgm_devices.current(name=NAME)
    assert (done.result, done.changes) == (True, foretold.changes)
    assert done.changes["gpus"]["old"] == {}
    assert len(done.changes["gpus"]["new"]) == 8
    for test in (True, False):
        again = states.dcgm_devices.current(name=NAME, test=test)
        assert (again.result, again.changes) == (True, {})


def test_only_what_differs_is_a_change_and_test_true_writes_nothing(states, gpus) -> None:
    states.dcgm_devices.current(name=NAME)
    before = [(path.read_text(), path.stat().st_mtime_ns) for path in (gpus.table, gpus.status)]
    gpus.profile("minor-order")
    foretold = states.dcgm_devices.current(name=NAME, test=True)
    assert foretold.result is None
    assert sorted(foretold.changes) == ["fingerprint", "places"]
    assert [(path.read_text(), path.stat().st_mtime_ns) for path in (gpus.table, gpus.status)] == before
    assert states.dcgm_devices.current(name=NAME).changes == foretold.changes


def test_the_order_of_positions_is_a_setting_or_is_told(states, gpus) -> None:
    gpus.profile("minor-order")
    states.dcgm_devices.current(name=NAME)
    told = states.dcgm_devices.current(name=NAME, positions="minor", test=True)
    (gpus.root / "job-map.conf").write_text("# settings\npositions=minor\n")
    done = states.dcgm_devices.current(name=NAME)
    assert done.changes == told.changes
    assert done.changes["positions"]["new"] == dict(enumerate("23016745"))


@pytest.mark.parametrize("there", [True, False], ids=["a table is there", "no table yet"])
def test_a_driver_that_fails_is_a_failure_and_the_last_good_table_stays(states, gpus, there) -> None:
    if there:
        states.dcgm_devices.current(name=NAME)
    before = gpus.table.read_text() if there else None
    status = gpus.status.read_text() if there else None
    gpus.fault("fail")
    foretold = states.dcgm_devices.current(name=NAME, test=True)
    assert (gpus.status.read_text() if gpus.status.exists() else None) == status
    done = states.dcgm_devices.current(name=NAME)
    for answer in (foretold, done):
        assert (answer.result, answer.changes) == (False, {})
        assert "couldn't communicate with the NVIDIA driver" in answer.comment
    assert (gpus.table.read_text() if gpus.table.exists() else None) == before
    assert json.loads(gpus.status.read_text())["ok"] is False


def test_a_table_that_somebody_changed_is_made_anew(states, gpus) -> None:
    states.dcgm_devices.current(name=NAME)
    text = gpus.table.read_text()
    gpus.table.write_text("position 0 7\n")
    done = states.dcgm_devices.current(name=NAME)
    assert done.changes["positions"] == {"old": {0: "7"}, "new": dict(enumerate("01234567"))}
    without = [line for line in gpus.table.read_text().splitlines() if not line.startswith("made")]
    assert without == [line for line in text.splitlines() if not line.startswith("made")]


def test_a_configuration_that_cannot_be_read_is_a_failure(states, gpus) -> None:
    (gpus.root / "job-map.conf").mkdir()
    assert "job-map.conf cannot be read" in states.dcgm_devices.current(name=NAME).comment


def test_the_module_makes_and_shows_the_table(modules, gpus) -> None:
    with pytest.raises(CommandExecutionError, match="none was made yet"):
        modules.dcgm_devices.show()
    gpus.profile("mig")
    done = modules.dcgm_devices.refresh()
    shown = modules.dcgm_devices.show()
    assert done == {"changed": True, "made": shown["made"], "gpus": shown["gpus"]}
    assert (shown["ok"], shown["problem"], shown["order"], shown["shared"]) == (True, "", "index", ["1.3"])
    assert 0 <= shown["age"] < 60


def test_the_module_says_why_it_could_not_make_the_table(modules, gpus) -> None:
    gpus.fault("fail")
    with pytest.raises(
        CommandExecutionError, match="could not be made: nvidia-smi --query-gpu failed with exit code 9"
    ):
        modules.dcgm_devices.refresh()
    with pytest.raises(CommandExecutionError, match="no device table: nvidia-smi --query-gpu failed"):
        modules.dcgm_devices.show()
    gpus.fault("off")
    modules.dcgm_devices.refresh()
    gpus.fault("fail")
    with pytest.raises(CommandExecutionError):
        modules.dcgm_devices.refresh()
    shown = modules.dcgm_devices.show()
    assert (shown["ok"], len(shown["gpus"])) == (False, 8)
