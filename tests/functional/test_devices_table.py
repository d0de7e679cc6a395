"""Module and state of the device table through Salt's loaders, with test=True and for real."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import nvidia
from superpod_dcgm.base import paths

from tests.fake_slurmd import FakeSlurmd

NODE = Path(__file__).resolve().parents[2] / "lab/rootfs/node"
NAME = "Make the device table"


class Gpus:
    """The lab's stand-in for a driver in a temporary folder."""

    def __init__(self, root, labgpus) -> None:
        self.root, self.labgpus, self.programs = root, labgpus, root / "bin"
        self.table, self.status = root / "run/devices", root / "run/devices.json"
        self.slurmd: FakeSlurmd
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
    monkeypatch.setattr(paths, "DEVICES_KEPT", str(tmp_path / "var/devices"))
    found.slurmd = FakeSlurmd(tmp_path / "slurm", monkeypatch)
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


def test_a_driver_that_fails_is_a_failure_and_the_last_good_table_stays(states, gpus) -> None:
    states.dcgm_devices.current(name=NAME)
    before, status = gpus.table.read_text(), gpus.status.read_text()
    gpus.fault("fail")
    foretold = states.dcgm_devices.current(name=NAME, test=True)
    assert gpus.status.read_text() == status
    done = states.dcgm_devices.current(name=NAME)
    for answer in (foretold, done):
        assert (answer.result, answer.changes) == (False, {})
        assert "couldn't communicate with the NVIDIA driver" in answer.comment
    assert gpus.table.read_text() == before
    assert json.loads(gpus.status.read_text())["ok"] is False


def test_a_driver_whose_tool_fails_from_the_first_is_a_failure_and_prolog_has_what_proc_says(states, gpus) -> None:
    gpus.fault("fail")
    assert states.dcgm_devices.current(name=NAME, test=True).result is False
    assert not gpus.table.exists()
    done = states.dcgm_devices.current(name=NAME)
    assert (done.result, len(done.changes["gpus"]["new"])) == (False, 8)
    assert "the table is made of" in done.comment
    shutil.rmtree(gpus.root / "proc/gpus")
    gpus.table.unlink()
    assert states.dcgm_devices.current(name=NAME).changes == {}
    assert not gpus.table.exists()


# name: (what nvidia-smi prints in the end, its exit code, what the warning names)
BAD = {
    "an infoROM": (
        "WARNING: infoROM is corrupted at gpu 0000:52:00.0",
        14,
        "GPU 2 (00000000:52:00.0): WARNING: infoROM",
    ),
    "a GPU that is lost": (
        "Unable to determine the device handle for GPU0000:52:00.0: Unknown Error",
        255,
        "GPU 2 (00000000:52:00.0): Unable to determine",
    ),
}


@pytest.mark.parametrize(("line", "code", "warning"), BAD.values(), ids=BAD.keys())
def test_a_bad_gpu_is_a_warning_and_the_state_succeeds(states, modules, gpus, line, code, warning) -> None:
    smi = gpus.programs / "nvidia-smi"
    smi.write_text(smi.read_text().replace("exec ", "") + f"echo '{line}'\nexit {code}\n")
    done = states.dcgm_devices.current(name=NAME)
    assert done.result is True
    assert any(warning in text for text in done.warnings)
    assert warning in done.comment
    again = states.dcgm_devices.current(name=NAME)
    assert (again.result, again.changes, again.warnings) == (True, {}, done.warnings)
    shown = modules.dcgm_devices.show()
    assert (shown["ok"], len(shown["gpus"]), [one["gpu"] for one in shown["bad"]]) == (True, 8, ["2"])
    assert any(warning in text for text in shown["warnings"])


def test_what_is_known_from_slurmd_and_what_is_guessed_has_a_word_each(states, modules, gpus) -> None:
    states.dcgm_devices.current(name=NAME)
    assert (modules.dcgm_devices.show()["known"], modules.dcgm_devices.show()["order"]) == ("guessed", "index")
    line = "slurmd: Gres Name={} Type=h100 Count=8 Index=0 ID=1 File=/dev/nvidia[0-7] Links=(null)"
    gpus.slurmd.script("\n".join(f"echo '{line.format(kind)}'" for kind in ("gpu", "shard")))
    gpus.slurmd.start()
    (gpus.root / "job-map.conf").write_text("shared=no\n")
    done = states.dcgm_devices.current(name=NAME)
    shown = modules.dcgm_devices.show()
    assert (shown["known"], shown["order"]) == ("slurmd", "slurmd")
    assert done.warnings == shown["warnings"]
    assert ["gres/shard" in warning for warning in done.warnings] == [True], done.warnings
    states.dcgm_devices.current(name=NAME, positions="index")
    assert modules.dcgm_devices.show()["known"] == "set"


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
    guessed = ["The positions in Slurm are guessed (by index): this node has no slurmd"]
    assert done == {"changed": True, "made": shown["made"], "gpus": shown["gpus"], "warnings": guessed}
    assert (shown["ok"], shown["problem"], shown["order"], shown["shared"]) == (True, "", "index", ["1.3"])
    assert 0 <= shown["age"] < 60


def test_the_module_says_why_it_could_not_make_the_table(modules, gpus) -> None:
    gpus.fault("fail")
    shutil.move(gpus.root / "proc", gpus.root / "no-proc")
    with pytest.raises(
        CommandExecutionError, match="could not be made: nvidia-smi --query-gpu failed with exit code 9"
    ):
        modules.dcgm_devices.refresh()
    with pytest.raises(CommandExecutionError, match="no device table: nvidia-smi --query-gpu failed"):
        modules.dcgm_devices.show()
    gpus.fault("off")
    shutil.move(gpus.root / "no-proc", gpus.root / "proc")
    modules.dcgm_devices.refresh()
    gpus.fault("fail")
    with pytest.raises(CommandExecutionError):
        modules.dcgm_devices.refresh()
    shown = modules.dcgm_devices.show()
    assert (shown["ok"], len(shown["gpus"])) == (False, 8)
