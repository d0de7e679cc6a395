"""What a real GPU said (NVIDIA H200, driver 580.159.04, Ubuntu 24.04) is understood: data of the one seen so far."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from superpod_dcgm.agent import gpus, mig, nvidia
from superpod_dcgm.base.process import Answer

DATA = Path(__file__).resolve().parents[2] / "data/h200"
UUID = "GPU-f04e2d56-ebfe-eb56-1699-74e9ca228a23"


@pytest.fixture
def files() -> dict[str, list[str]]:
    """The driver's files by path, as ``nvidia.tree`` finds them."""
    found: dict[str, list[str]] = {}
    for line in (DATA / "proc.txt").read_text().splitlines():
        if match := re.match(r"((?:\S+/)?(?:version|information|access)):(.*)", line):
            found.setdefault(match[1], []).append(match[2])
    return found


def test_its_row_and_its_files_are_one_gpu(files: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "ask", lambda words, limit: Answer(0, (DATA / "query.csv").read_text()))
    seen = gpus.see(files, nvidia.Limit("nvidia_smi", 1))
    assert [(gpu.index, gpu.uuid, gpu.minor, gpu.divided) for gpu in seen.gpus] == [(0, UUID, 0, False)]
    assert seen.bad == []


def test_without_nvidia_smi_the_driver_knows_the_same(files: dict[str, list[str]]) -> None:
    assert [(gpu.index, gpu.uuid, gpu.minor) for gpu in gpus.of_driver(files).gpus] == [(0, UUID, 0)]


def test_a_user_without_the_device_file_sees_no_gpu(
    files: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 6; `nvidia-smi -L` says it in other words and exits 0."""
    monkeypatch.setattr(nvidia, "ask", lambda words, limit: Answer(6, "No devices were found\n"))
    with pytest.raises(nvidia.Trouble, match="exit code 6: No devices were found"):
        gpus.see(files, nvidia.Limit("nvidia_smi", 1))
    assert mig.read_list("No devices found.\n") == []


def test_its_list_and_its_document_have_no_mig_device() -> None:
    assert mig.read_list((DATA / "list.txt").read_text()) == []
    assert mig.read_instances((DATA / "document.xml").read_text()) == {}
