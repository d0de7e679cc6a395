"""What the switches of lab-gpus change on a node."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType

import labdcgm
import labgpus
import pytest
from standins import NODE, program


@pytest.fixture
def commands() -> list[list[str]]:
    """Programs that were run."""
    return []


@pytest.fixture
def node(tmp_path: Path, commands: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """lab-gpus on a node of eight GPUs that lies in a folder; the programs that it runs are only noted."""
    found = program(NODE / "usr/bin/lab-gpus")
    description, settings = tmp_path / "gpus.json", tmp_path / "dcgm.json"
    monkeypatch.setattr(labgpus, "DESCRIPTION", description)
    for function in (labgpus.load, labgpus.seen, labgpus.save):
        monkeypatch.setattr(function, "__defaults__", (description,))
    for function in (labdcgm.settings, labdcgm.change):
        monkeypatch.setattr(function, "__defaults__", (settings,))
    store, place = tmp_path / "store", tmp_path / "lib"
    for folder in (store, place):
        folder.mkdir()
    for major in (3, 4):
        (store / f"libdcgm.so.{major}").write_text(str(major))
    monkeypatch.setattr(labdcgm.install, "__defaults__", (store, place))
    for name, value in {"AWAY": tmp_path / "gpus.away", "PROC": tmp_path / "proc"}.items():
        monkeypatch.setattr(found, name, value)
    monkeypatch.setattr(found, "make_device", lambda path, minor: None)
    monkeypatch.setattr(subprocess, "run", lambda argv, check: commands.append(argv))
    found.start()
    return found


def gpus() -> list[int]:
    """Indices of the GPUs that whoever asks finds."""
    return [gpu["index"] for gpu in labgpus.seen()["gpus"]]


def test_a_driver_that_is_away_takes_gpus_and_its_part_of_proc_along(
    node: ModuleType, tmp_path: Path, commands: list[list[str]]
) -> None:
    assert gpus() == list(range(8)) and (tmp_path / "proc/nvidia/version").exists()
    before = labgpus.load()
    for _ in range(2):
        node.set_driver(False)
        assert gpus() == [] and not labgpus.DESCRIPTION.exists() and not (tmp_path / "proc/nvidia").exists()
    assert commands[-1] == ["systemctl", "try-restart", "nvidia-dcgm.service"]
    node.start()
    assert gpus() == [], "a boot brings no driver back"
    for _ in range(2):
        node.set_driver(True)
        assert labgpus.load() == before and (tmp_path / "proc/nvidia/version").exists()


def test_another_profile_brings_the_driver_back(node: ModuleType) -> None:
    node.set_driver(False)
    node.set_profile("mig")
    assert gpus() == list(range(8))
    node.start()
    assert labgpus.load()["profile"] == "mig"


def test_a_gpu_that_fell_off_the_bus_is_not_counted_again(node: ModuleType, commands: list[list[str]]) -> None:
    node.lose(3)
    assert gpus() == [0, 1, 2, 4, 5, 6, 7]
    assert commands[-1] == ["systemctl", "try-restart", "nvidia-dcgm.service"]
    node.start()
    assert gpus() == [0, 1, 2, 4, 5, 6, 7]
    node.set_profile("identity")
    assert gpus() == list(range(8))


def test_libdcgm_goes_and_comes_in_a_version(node: ModuleType, tmp_path: Path, commands: list[list[str]]) -> None:
    node.set_dcgm("3.3.9")
    assert [(path.name, path.read_text()) for path in (tmp_path / "lib").iterdir()] == [("libdcgm.so.3.3.9", "3")]
    assert (labdcgm.settings()["version"], commands[-1]) == ("3.3.9", ["ldconfig"])
    node.set_dcgm("off")
    assert (list((tmp_path / "lib").iterdir()), commands[-1]) == ([], ["ldconfig"])
    node.set_dcgm(labdcgm.checked("on"))
    assert [path.name for path in (tmp_path / "lib").iterdir()] == [f"libdcgm.so.{labdcgm.VERSION}"]
    assert labdcgm.settings()["version"] == labdcgm.VERSION


def test_profiling_is_switched_for_the_host_engine_too(node: ModuleType, commands: list[list[str]]) -> None:
    node.set_profiling(False)
    assert labdcgm.settings() == {"version": labdcgm.VERSION, "profiling": False}
    assert commands[-1] == ["systemctl", "try-restart", "nvidia-dcgm.service"]
    node.set_profiling(True)
    assert labdcgm.settings()["profiling"] is True
