"""What a lab node shows of its GPUs is the same everywhere, and the Slurm dispatcher behaves as BCM's."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import labgpus
import pytest
from standins import NODE

SMI = NODE / "usr/bin/nvidia-smi"


def smi(description: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run nvidia-smi on a description."""
    environment = {**os.environ, "LAB_GPUS": str(description)}
    return subprocess.run([SMI, *words], env=environment, capture_output=True, text=True, timeout=20)


@pytest.fixture(params=labgpus.PROFILES)
def described(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A node's description under each profile."""
    path = tmp_path / "gpus.json"
    labgpus.save(labgpus.describe(request.param, "dgx-01"), path)
    return path, labgpus.load(path)


def mig(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    """A node with MIG."""
    path = tmp_path / "gpus.json"
    labgpus.save(labgpus.describe("mig", "dgx-01"), path)
    return path, labgpus.load(path)


@pytest.mark.parametrize(
    ("profile", "minors", "divided"),
    [
        ("identity", [0, 1, 2, 3, 4, 5, 6, 7], []),
        ("minor-order", [2, 3, 0, 1, 6, 7, 4, 5], []),
        ("mig", [0, 1, 2, 3, 4, 5, 6, 7], [0, 1]),
    ],
)
def test_a_profile_says_minors_and_divisions(profile: str, minors: list[int], divided: list[int]) -> None:
    gpus = labgpus.describe(profile, "dgx-01")["gpus"]
    assert [gpu["minor"] for gpu in gpus] == minors
    assert [gpu["index"] for gpu in gpus if gpu["mig"]] == divided


def test_instances_are_sparse_and_one_is_shared() -> None:
    gpus = labgpus.describe("mig", "dgx-01")["gpus"]
    ids = [[device["gi"] for device in gpu["mig"]] for gpu in gpus[:2]]
    assert ids == [[2, 5, 9], [3, 3, 7, 11, 13]]


def test_ids_are_the_same_each_time_and_differ_between_nodes() -> None:
    first, again, other = (labgpus.describe("mig", host) for host in ("dgx-01", "dgx-01", "dgx-02"))
    assert first == again
    assert {gpu["uuid"] for gpu in first["gpus"]}.isdisjoint(gpu["uuid"] for gpu in other["gpus"])


def test_an_unknown_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="'none' is not a profile"):
        labgpus.describe("none", "dgx-01")


def test_the_driver_tree_sorted_by_bus_is_the_index(described: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    labgpus.write_proc(described[1], tmp_path / "nvidia")
    found = []
    for place in sorted((tmp_path / "nvidia/gpus").iterdir()):
        rows = dict(line.split(":", 1) for line in (place / "information").read_text().splitlines())
        values = {name.strip(): value.strip() for name, value in rows.items()}
        assert values["Bus Location"] == place.name
        found.append((int(values["Device Minor"]), values["GPU UUID"]))
    assert found == [(gpu["minor"], gpu["uuid"]) for gpu in described[1]["gpus"]]


def capabilities(root: Path) -> dict[str, int]:
    """The numbers of the files in /dev/nvidia-caps by their place in the driver's tree."""
    rows = {path: path.read_text().splitlines()[0].removeprefix("DeviceFileMinor: ") for path in root.rglob("access")}
    return {str(path.parent.relative_to(root)): int(row) for path, row in rows.items()}


def test_the_driver_tree_names_the_capability_of_each_instance(tmp_path: Path) -> None:
    labgpus.write_proc(mig(tmp_path)[1], tmp_path / "nvidia")
    found = capabilities(tmp_path / "nvidia/capabilities")
    assert len(found) == len(set(found.values())) == 7 + 8
    assert {found[f"gpu0/mig/gi{gi}"] for gi in (2, 5, 9)} == {21, 48, 84}
    assert [found[f"gpu1/mig/gi3{ci}"] for ci in ("", "/ci0", "/ci1")] == [165, 166, 167]


def test_the_driver_tree_forgets_instances_that_are_gone(tmp_path: Path) -> None:
    description = mig(tmp_path)[1]
    labgpus.write_proc(description, tmp_path / "nvidia")
    # One of two compute instances, and an instance with all of its own.
    for gi, ci in ((3, 1), (11, 0)):
        devices = description["gpus"][1]["mig"]
        devices.remove(next(device for device in devices if (device["gi"], device["ci"]) == (gi, ci)))
    labgpus.write_proc(description, tmp_path / "nvidia")
    places = sorted(place for place in capabilities(tmp_path / "nvidia/capabilities") if place.startswith("gpu1"))
    assert places == [f"gpu1/mig/gi{name}" for name in ("13", "13/ci0", "3", "3/ci0", "7", "7/ci0")]
    labgpus.write_proc(labgpus.describe("identity", "dgx-01"), tmp_path / "nvidia")
    assert capabilities(tmp_path / "nvidia/capabilities") == {}


def test_query_gives_the_described_gpus(described: tuple[Path, dict[str, Any]]) -> None:
    done = smi(described[0], "--query-gpu=index,uuid,pci.bus_id", "--format=csv,noheader")
    expected = [f"{gpu['index']}, {gpu['uuid']}, {gpu['bus']}" for gpu in described[1]["gpus"]]
    assert done.stdout.splitlines() == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("csv", "2, 81559 MiB, 0 %"),
        ("csv,nounits", "2, 81559, 0"),
        ("csv, noheader", "2, 81559 MiB, 0 %"),
    ],
)
def test_query_has_units_and_a_heading_unless_told_otherwise(tmp_path: Path, words: str, line: str) -> None:
    lines = smi(
        mig(tmp_path)[0], "--query-gpu=index,memory.total,utilization.gpu", f"--format={words}"
    ).stdout.splitlines()
    assert line in lines and (lines[0].startswith("index, memory.total") == ("noheader" not in words))


@pytest.mark.parametrize(
    ("words", "code"), [(["--query-gpu=foo", "--format=csv"], 2), (["--query-gpu=index"], 2), (["-i", "9"], 6)]
)
def test_what_nvidia_smi_does_not_know_is_an_error(tmp_path: Path, words: list[str], code: int) -> None:
    assert smi(mig(tmp_path)[0], *words).returncode == code


def test_one_gpu_can_be_chosen_by_each_of_its_names(tmp_path: Path) -> None:
    path, description = mig(tmp_path)
    gpu = description["gpus"][3]
    for name in ("3", gpu["uuid"], gpu["bus"]):
        assert smi(path, "-i", name, "-L").stdout == f"GPU 3: {gpu['model']} (UUID: {gpu['uuid']})\n"


def test_list_and_document_together_tell_the_instance_of_each_mig_uuid(tmp_path: Path) -> None:
    path, description = mig(tmp_path)
    instances = {}
    for gpu in ET.fromstring(smi(path, "-q", "-x").stdout).iter("gpu"):
        for device in gpu.iter("mig_device"):
            key = (gpu.findtext("uuid"), device.findtext("index"))
            instances[key] = int(device.findtext("gpu_instance_id", ""))
    joined, current = {}, ""
    for line in smi(path, "-L").stdout.splitlines():
        uuid = line.rpartition("UUID: ")[2].rstrip(")")
        if line.startswith("GPU"):
            current = uuid
        else:
            joined[uuid] = instances[current, line.partition("Device")[2].partition(":")[0].strip()]
    assert joined == {device["uuid"]: device["gi"] for gpu in description["gpus"] for device in gpu["mig"]}


def test_the_table_has_a_row_for_each_gpu(tmp_path: Path) -> None:
    assert smi(mig(tmp_path)[0]).stdout.count("NVIDIA H100 80GB HBM3") == 8


def test_nvidia_smi_fails_without_gpus_and_when_told_so(tmp_path: Path) -> None:
    assert smi(tmp_path / "gpus.json", "-L").returncode == 9
    path, _ = mig(tmp_path)
    (tmp_path / "nvidia-smi.fault").write_text("fail\n")
    assert smi(path, "-L").returncode == 9


def test_nvidia_smi_hangs_when_told_so(tmp_path: Path) -> None:
    path, _ = mig(tmp_path)
    (tmp_path / "nvidia-smi.fault").write_text("hang\n")
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([SMI, "-L"], env={**os.environ, "LAB_GPUS": str(path)}, timeout=0.6)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        (b'{"call": "hello"}', {"engine": "lab host engine", "gpus": 8}),
        (b'{"call": "dance"}', {"error": "unknown call 'dance'"}),
        (b"[1", {"error": "not a question"}),
        (b"[1]", {"error": "not a question"}),
    ],
)
def test_the_host_engine_answers_line_by_line(
    host_engine: tuple[subprocess.Popen[bytes], int], question: bytes, answer: dict[str, Any]
) -> None:
    with socket.create_connection(("127.0.0.1", host_engine[1])) as connection, connection.makefile("rwb") as lines:
        for _ in range(2):
            lines.write(question + b"\n")
            lines.flush()
            assert json.loads(lines.readline()) == answer


def test_the_host_engine_gives_no_utilisation_of_a_divided_gpu(
    host_engine: tuple[subprocess.Popen[bytes], int],
) -> None:
    driver, clock, power, load = 1, 100, 155, 203
    with socket.create_connection(("127.0.0.1", host_engine[1])) as connection, connection.makefile("rwb") as lines:
        lines.write(json.dumps({"call": "sample", "fields": [driver, clock, power, load, 9999]}).encode() + b"\n")
        lines.flush()
        entities = json.loads(lines.readline())["entities"]
    whole, part = entities[-1], entities[2]
    assert (part["gpu"], part["instance"], part["id"]) == (0, "5", 1) and "id" not in whole
    assert set(part["values"]) == {"1", "100", "155"} and set(whole["values"]) == {"1", "100", "155", "203"}
    assert part["values"]["100"].isdigit() and len(part["values"]["155"].partition(".")[2]) == 6


@pytest.fixture
def scripts(tmp_path: Path) -> Path:
    """A copy of the dispatchers that looks for scripts and hook in a temporary folder."""
    for kind in ("prolog", "epilog"):
        text = (NODE / "cm/local/apps/cmd/scripts" / kind).read_text()
        assert "/cm/local/apps/slurm/var" in text and "/etc/lab/dispatcher.env" in text
        text = text.replace("/cm/local/apps/slurm/var", str(tmp_path)).replace("/etc/lab", str(tmp_path))
        (tmp_path / kind).write_text(text)
        (tmp_path / kind).chmod(0o755)
        (tmp_path / f"{kind}s").mkdir()
    return tmp_path


def script(folder: Path, name: str, body: str) -> None:
    """Write an executable."""
    (folder / name).write_text(f"#!/bin/bash\n{body}\n")
    (folder / name).chmod(0o755)


def dispatch(scripts: Path, kind: str = "prolog") -> tuple[int, str]:
    """Run a dispatcher as slurmd does, without a PATH."""
    done = subprocess.run([scripts / kind], env={"SLURM_JOB_ID": "7"}, capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("kind", ["prolog", "epilog"])
def test_scripts_run_in_the_order_of_their_two_digits(scripts: Path, kind: str) -> None:
    for name in ("60-b", "01-a", "5-x", "readme", "99-c"):
        script(scripts / f"{kind}s", name, f"echo {name} $SLURM_JOB_ID")
    assert dispatch(scripts, kind) == (0, "01-a 7\n60-b 7\n99-c 7\n")


def test_the_first_failure_stops_the_later_ones_and_is_returned(scripts: Path) -> None:
    script(scripts / "prologs", "10-good", "echo good")
    script(scripts / "prologs", "20-bad", "exit 3")
    script(scripts / "prologs", "30-never", "echo never")
    assert dispatch(scripts) == (3, "good\n")


def test_no_scripts_are_no_failure(scripts: Path) -> None:
    assert dispatch(scripts) == (0, "")


def test_a_link_to_nowhere_is_a_failure(scripts: Path) -> None:
    (scripts / "prologs/60-gone").symlink_to("/nonexistent")
    assert dispatch(scripts)[0] == 127


def test_the_hook_adds_what_another_slurm_would_give(scripts: Path) -> None:
    (scripts / "dispatcher.env").write_text("CUDA_VISIBLE_DEVICES=GPU-${SLURM_JOB_ID}\n")
    script(scripts / "prologs", "60-show", "echo $CUDA_VISIBLE_DEVICES")
    assert dispatch(scripts) == (0, "GPU-7\n")


def test_units_are_enabled_by_links_to_units_that_are_there() -> None:
    for root in (NODE, NODE.parent / "head"):
        links = list((root / "etc/systemd/system/multi-user.target.wants").iterdir())
        assert links and all((root / os.readlink(link).lstrip("/")).is_file() for link in links)
