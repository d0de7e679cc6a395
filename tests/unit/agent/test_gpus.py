"""Bad GPUs: what nvidia-smi prints of them costs the one GPU that it is about, and names it."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest
from superpod_dcgm.agent import gpus as agent_gpus
from superpod_dcgm.agent import mig, nvidia
from superpod_dcgm.agent.device_table import Table

BUSES = ["07", "0B", "48", "4C", "88", "8B", "C8", "CB"]
MINORS = [2, 3, 0, 1, 6, 7, 4, 5]
LIMIT = nvidia.Limit("nvidia_smi", 10)
MASKED = "GPU-????????-????-????-????-????????????"


def uuid(gpu: int) -> str:
    return f"GPU-{gpu:08x}-1111-2222-3333-444444444444"


def place(gpu: int) -> str:
    return f"00000000:{BUSES[gpu]}:00.0"


def row(gpu: int, **other: str) -> str:
    cells = {"index": str(gpu), "uuid": uuid(gpu), "bus": place(gpu), "mode": "Disabled"} | other
    return ", ".join(cells.values())


def rows(without: tuple[int, ...] = (), **of_2: str) -> list[str]:
    return [row(gpu, **(of_2 if gpu == 2 else {})) for gpu in range(8) if gpu not in without]


def files(masked: tuple[int, ...] = (), excluded: tuple[int, ...] = (), without: tuple[int, ...] = ()):
    """What the driver has in /proc."""
    return {
        f"gpus/0000:{BUSES[gpu].lower()}:00.0/information": [
            f"GPU UUID: \t {MASKED if gpu in masked else uuid(gpu)}",
            f"Bus Location: \t 0000:{BUSES[gpu].lower()}:00.0",
            f"Device Minor: \t {MINORS[gpu]}",
            f"GPU Excluded:\t {'Yes' if gpu in excluded else 'No'}",
        ]
        for gpu in range(8)
        if gpu not in without
    }


LAST = Table(
    gpus={str(gpu): uuid(gpu) for gpu in range(8)},
    places={str(gpu): (str(MINORS[gpu]), place(gpu)) for gpu in range(8)},
)


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that puts a nvidia-smi in place: what it prints, what it complains of, its exit code."""
    monkeypatch.setattr(nvidia, "SEARCH_PATH", str(tmp_path))

    def install(out: list[str], error: str = "", code: int = 0) -> None:
        lines = [f"echo {shlex.quote(line)}" for line in out] + [f"echo {shlex.quote(error)} >&2" if error else ":"]
        path = tmp_path / "nvidia-smi"
        path.write_text(f"#!{shutil.which('sh')}\n" + "\n".join(lines) + f"\nexit {code}\n")
        path.chmod(0o755)

    return install


LOST = "Unable to determine the device handle for GPU{}: {}"
# name: (standard output, standard error, exit code, DCGM id and reason of what is bad)
ANSWERS = {
    "all well": (rows(), "", 0, []),
    "colours and other ends of lines": ([f"\x1b[1m{line}\x1b[0m\r" for line in ["", *rows(), ""]], "", 0, []),
    "an infoROM with exit code 14": (
        [*rows(), "WARNING: infoROM is corrupted at gpu 0000:48:00.0"],
        "",
        14,
        [("2", "infoROM")],
    ),
    "an infoROM of an old driver": (
        [*rows(), "WARNING: infoROM is corrupted at gpu 0000:48:00.0"],
        "",
        0,
        [("2", "info")],
    ),
    "a warning before the rows": (
        ["WARNING: infoROM is corrupted at gpu 0000:48:00.0", *rows()],
        "",
        14,
        [("2", "info")],
    ),
    "lost: no UUID": (rows(uuid="[GPU is lost]", mode="[GPU is lost]"), "", 15, [("2", "[GPU is lost]")]),
    "requires reset": (rows(mode="[GPU requires reset]"), "", 0, [("2", "[GPU requires reset]")]),
    "unknown error in every field": (
        rows(index="[Unknown Error]", uuid="[Unknown Error]", mode="[Unknown Error]"),
        "",
        255,
        [("2", "[Unknown Error]")],
    ),
    "no index and no bus": (rows(index="[N/A]", bus="[N/A]"), "", 0, [("2", "[N/A]")]),
    "no handle, no row": (
        rows(without=(2,)),
        LOST.format("0000:48:00.0", "Unknown Error"),
        255,
        [("2", "Unable to determine the device handle")],
    ),
    "no handle, on standard output": (
        [LOST.format(" 0000:48:00.0", "GPU is lost.  Reboot the system to recover this GPU"), *rows(without=(2,))],
        "",
        15,
        [("2", "GPU is lost")],
    ),
    "no handle and no row at all": ([LOST.format("0000:48:00.0", "Unknown Error")], "", 255, [("2", "Unable")]),
    "two bad ones": (
        [*rows(uuid="[GPU is lost]")[:7], "WARNING: infoROM is corrupted at gpu 0000:CB:00.0", rows()[7]],
        "",
        14,
        [("2", "lost"), ("7", "infoROM")],
    ),
    "the last one has no row": (rows(without=(7,)), "", 15, [("7", "nvidia-smi does not list it")]),
}


@pytest.mark.parametrize(("out", "error", "code", "bad"), ANSWERS.values(), ids=ANSWERS.keys())
def test_one_bad_gpu_is_named_and_all_keep_their_places(smi, out, error, code, bad) -> None:
    smi(out, error, code)
    seen = agent_gpus.see(files(), LIMIT, LAST)
    assert [(gpu.index, gpu.uuid, gpu.minor, gpu.bus) for gpu in seen.gpus] == [
        (gpu, uuid(gpu), MINORS[gpu], place(gpu)) for gpu in range(8)
    ]
    assert [one.gpu for one in seen.bad] == [gpu for gpu, _ in bad]
    assert all(word in one.why for one, (_, word) in zip(seen.bad, bad, strict=True))


@pytest.mark.parametrize("name", ["lost: no UUID", "no handle, no row", "no handle and no row at all"])
def test_without_a_last_table_a_bad_gpu_is_found_in_proc_or_left_out(smi, name) -> None:
    out, error, code, _ = ANSWERS[name]
    smi(out, error, code)
    seen = agent_gpus.see(files(masked=(2,)), LIMIT)
    others = [gpu for gpu in seen.gpus if gpu.index != 2]
    assert [(gpu.index, gpu.minor) for gpu in others] == [(gpu, MINORS[gpu]) for gpu in range(8) if gpu != 2]
    assert [gpu.uuid for gpu in seen.gpus if gpu.index == 2] in ([], [""])
    assert [one.bus for one in seen.bad] == [place(2)]


def test_what_else_is_said_is_kept_as_a_remark(smi) -> None:
    smi([*rows(), "Field is deprecated"], "libnvidia: odd", 9)
    seen = agent_gpus.see(files(), LIMIT)
    assert seen.bad == []
    assert seen.remarks[:2] == ["Field is deprecated", "libnvidia: odd"]
    assert "failed with exit code 9" in seen.remarks[2]


def test_a_gpu_that_the_administrator_excluded_is_not_bad(smi) -> None:
    smi([row(new, uuid=uuid(old), bus=place(old)) for new, old in enumerate((0, 1, 3, 4, 5, 6, 7))])
    seen = agent_gpus.see(files(excluded=(2,)), LIMIT)
    assert (seen.bad, [gpu.minor for gpu in seen.gpus]) == ([], [2, 3, 1, 6, 7, 4, 5])


def test_a_gpu_that_is_drained_takes_no_number_of_another(smi) -> None:
    smi([row(new, uuid=uuid(old), bus=place(old)) for new, old in enumerate((0, 1, 3, 4, 5, 6, 7))])
    seen = agent_gpus.see(files(), LIMIT, LAST)
    assert [gpu.uuid for gpu in seen.gpus] == [uuid(old) for old in (0, 1, 3, 4, 5, 6, 7)]
    assert [(one.gpu, one.bus) for one in seen.bad] == [("", place(2))]


NOTHING = {
    "no devices": (["No devices were found"], 6, "exit code 6: No devices were found"),
    "no driver": (["NVIDIA-SMI has failed because it couldn't communicate"], 9, "exit code 9"),
    "nothing": ([], 0, "knows no GPU"),
    "every one is lost": (
        [LOST.format(f"0000:{bus}:00.0", "Unknown Error") for bus in BUSES],
        255,
        "Unable to determine",
    ),
}


@pytest.mark.parametrize(("out", "code", "why"), NOTHING.values(), ids=NOTHING.keys())
def test_no_gpu_at_all_is_a_trouble(smi, out, code, why) -> None:
    smi(out, code=code)
    with pytest.raises(nvidia.Trouble, match=why):
        agent_gpus.see(files(), LIMIT, LAST)


def test_proc_alone_gives_gpus_in_the_order_of_their_buses() -> None:
    seen = agent_gpus.of_driver(files(masked=(1, 2), excluded=(5,)), LAST)
    assert [gpu.uuid for gpu in seen.gpus] == [uuid(gpu) for gpu in (0, 1, 2, 3, 4, 6, 7)]
    assert [gpu.uuid for gpu in agent_gpus.of_driver(files(masked=(0,))).gpus][:2] == ["", uuid(1)]


def _document(gpu: int, devices: str, processes: str = "") -> str:
    return (
        f'<gpu id="{place(gpu)}">\n<uuid>{uuid(gpu)}</uuid>\n<mig_devices>\n{devices}</mig_devices>\n'
        f"<processes>\n{processes}</processes>\n</gpu>\n"
    )


def _device(number: int, instance: str) -> str:
    return (
        f"<mig_device>\n<index>{number}</index>\n<gpu_instance_id>{instance}</gpu_instance_id>\n"
        "<compute_instance_id>0</compute_instance_id>\n</mig_device>\n"
    )


GOOD = _document(0, _device(0, "1") + _device(1, "5")) + _document(1, _device(0, "7"))
INSTANCES = {(uuid(0), "0"): 1, (uuid(0), "1"): 5, (uuid(1), "0"): 7}
# name: (document, GPU instances)
DOCUMENTS = {
    "all well": (f'<?xml version="1.0" ?>\n<nvidia_smi_log>\n{GOOD}</nvidia_smi_log>', INSTANCES),
    "one line": (GOOD.replace("\n", ""), INSTANCES),
    "an odd name of a process": (GOOD.replace("<processes>\n", "<processes>\na & \x1b\x00 <b> \ufffd"), INSTANCES),
    "a process that calls itself a GPU": (
        GOOD.replace("<processes>\n", f"<processes>\n<process_name>{_device(0, '9')}</process_name>"),
        INSTANCES,
    ),
    "a process that calls itself another GPU costs the one": (
        _document(0, _device(0, "1"), _document(1, _device(0, "9"))) + _document(1, _device(0, "7")),
        {(uuid(0), "0"): 1},
    ),
    "a GPU that cannot be read": (
        GOOD.replace(f"<uuid>{uuid(0)}</uuid>", "<uuid>[GPU is lost]</uuid>"),
        {(uuid(1), "0"): 7},
    ),
    "an instance that cannot be read": (
        _document(0, _device(0, "[Unknown Error]") + _device(1, "5")),
        {(uuid(0), "1"): 5},
    ),
    "cut off": (GOOD[: GOOD.index(uuid(1))], {(uuid(0), "0"): 1, (uuid(0), "1"): 5}),
    "nothing": ("", {}),
}


@pytest.mark.parametrize(("document", "expected"), DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_odd_text_in_a_document_costs_at_most_the_gpu_that_it_is_about(document, expected) -> None:
    assert mig.read_instances(document) == expected


def test_devices_below_a_gpu_that_cannot_be_read_are_not_those_of_the_one_before() -> None:
    listing = (
        f"GPU 0: NVIDIA H100 (UUID: {uuid(0)})\n  MIG 1g.10gb     Device  0: (UUID: MIG-0)\n"
        "Unable to determine the device handle for gpu 0000:0B:00.0: GPU is lost.\n"
        "  MIG 1g.10gb     Device  0: (UUID: MIG-1)\n"
        f"GPU 2: odd (name) (UUID: {uuid(2)})\n  MIG 1c.2g.20gb  Device  3: (UUID: MIG-2)\n"
    )
    assert [(parent, number, name) for parent, number, name, _ in mig.read_list(listing)] == [
        (uuid(0), "0", "MIG-0"),
        (uuid(2), "3", "MIG-2"),
    ]
