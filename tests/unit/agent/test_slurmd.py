"""What slurmd -G prints, and which of its device files is which GPU: tables of cases."""

from __future__ import annotations

import pytest
from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent import slurmd as agent_slurmd

CAPS = "/dev/nvidia0,/dev/nvidia-caps/nvidia-cap66,/dev/nvidia-caps/nvidia-cap67"

# name: (Count, File, device files by position)
FILES = {
    "one": (1, "/dev/nvidia3", [["/dev/nvidia3"]]),
    "a range": (3, "/dev/nvidia[0-2]", [["/dev/nvidia0"], ["/dev/nvidia1"], ["/dev/nvidia2"]]),
    "a range with gaps": (3, "/dev/nvidia[0-1,10]", [["/dev/nvidia0"], ["/dev/nvidia1"], ["/dev/nvidia10"]]),
    "a range and a path": (3, "/dev/nvidia[4-5],/dev/nvidia0", [["/dev/nvidia4"], ["/dev/nvidia5"], ["/dev/nvidia0"]]),
    "padded numbers": (2, "/dev/nvidia[09-10]", [["/dev/nvidia09"], ["/dev/nvidia10"]]),
    "a MIG device": (1, CAPS, [CAPS.split(",")]),
    "a MIG device with a range": (
        1,
        "/dev/nvidia0,/dev/nvidia-caps/nvidia-cap[66-67]",
        [["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap67"]],
    ),
    "no files": (2, "(null)", [[], []]),
    "more devices than files": (4, "/dev/nvidia[0-1]", [[], [], [], []]),
    "two devices that are one": (1, "/dev/nvidia[0-1]", [["/dev/nvidia0", "/dev/nvidia1"]]),
    "a range backwards": (1, "/dev/nvidia[3-1]", [[]]),
    "no device": (0, "(null)", []),
}


@pytest.mark.parametrize(("count", "files", "expected"), FILES.values(), ids=FILES.keys())
def test_each_position_has_its_device_files(count, files, expected) -> None:
    line = (
        f"slurmd-dgx-01: Gres Name=gpu Type=h100 Count={count} Index=0 ID=7696487 File={files} Links=(null) Flags=X\n"
    )
    assert agent_slurmd.parse(line) == expected
    assert agent_slurmd.parse(f"{line}slurmd: debug\n{line}") == expected * 2


# name: (what slurmd prints, number of positions)
TEXTS = {
    "without a type and with links": (
        "slurmd: Gres Name=gpu Count=1 ID=7 File=/dev/nvidia0 Links=-1,4 UniqueId=GPU-1",
        1,
    ),
    "with a time": (
        "[2026-11-24T10:00:00.000] Gres Name=gpu Type=a Count=2 Index=0 File=/dev/nvidia[0-1] Links=(null)",
        2,
    ),
    "shards": ("slurmd: Gres Name=shard Type=h100 Count=8 Index=0 ID=1 File=/dev/nvidia0 Links=(null)", 0),
    "gpu in another name": (
        "slurmd: Gres Name=gpu_mem Type=h100 Count=8 Index=0 ID=1 File=/dev/nvidia0 Links=(null)",
        0,
    ),
    "an enormous count": ("slurmd: Gres Name=gpu Count=99999999999 Index=0 File=(null) Links=(null)", 1024),
    "an enormous range": ("slurmd: Gres Name=gpu Count=2 Index=0 File=/dev/nvidia[0-99999999] Links=(null)", 2),
    "nothing": ("", 0),
}


@pytest.mark.parametrize(("text", "number"), TEXTS.values(), ids=TEXTS.keys())
def test_lines_of_gpus_are_told_from_others(text, number) -> None:
    assert len(agent_slurmd.parse(text)) == number


GPUS = {2: 0, 3: 1, 0: 2}
CAPABILITIES = {66: (2, 7), 67: (2, 7), 201: (3, 7), 30: (0, 3)}
KNOWN = {"2", "0.7", "1.7"}
# name: (device files, map name)
NAMES = {
    "a GPU by its minor number": (["/dev/nvidia0"], "2"),
    "an instance": (["/dev/nvidia2", "/dev/nvidia-caps/nvidia-cap66", "/dev/nvidia-caps/nvidia-cap67"], "0.7"),
    "an instance without its GPU": (["/dev/nvidia-caps/nvidia-cap201"], "1.7"),
    "the file of the GPU counts where they differ": (["/dev/nvidia3", "/dev/nvidia-caps/nvidia-cap66"], "1.7"),
    "a divided GPU": (["/dev/nvidia2"], None),
    "an instance that is gone": (["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap30"], None),
    "a capability of nothing": (["/dev/nvidia2", "/dev/nvidia-caps/nvidia-cap999"], None),
    "two GPUs": (["/dev/nvidia0", "/dev/nvidia2"], None),
    "a minor number of nothing": (["/dev/nvidia7"], None),
    "another device": (["/dev/nvidiactl"], None),
    "nothing": ([], None),
}


@pytest.mark.parametrize(("files", "expected"), NAMES.values(), ids=NAMES.keys())
def test_device_files_lead_to_the_name_in_the_job_map(files, expected) -> None:
    assert agent_slurmd.name(files, GPUS, CAPABILITIES, KNOWN) == expected


def test_capabilities_are_found_by_the_numbers_of_their_files() -> None:
    files = {
        "capabilities/mig/config": ["DeviceFileMinor: 1"],
        "capabilities/gpu0/mig/gi7/access": ["DeviceFileMinor: 66", "DeviceFileMode: 292"],
        "capabilities/gpu0/mig/gi7/ci0/access": ["DeviceFileMinor: 67"],
        "capabilities/gpu12/mig/gi1/access": ["DeviceFileMinor: 1632"],
        "capabilities/gpu0/mig/gi8/access": ["nothing"],
        "gpus/0000:1b:00.0/information": ["Device Minor: 3"],
    }
    assert nvidia.capabilities(files) == {66: (0, 7), 67: (0, 7), 1632: (12, 1)}
