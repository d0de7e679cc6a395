"""The device table, made of what the lab's stand-in for nvidia-smi, its /proc and a stand-in for slurmd say."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from superpod_dcgm.agent import devices as agent_devices
from superpod_dcgm.agent import metrics, nvidia
from superpod_dcgm.base import paths

from tests.fake_slurmd import FakeSlurmd

NODE = Path(__file__).resolve().parents[3] / "lab/rootfs/node"
BY_MINOR = [2, 3, 0, 1, 6, 7, 4, 5]
INSTANCES = ["0.2", "0.5", "0.9", "1.3", "1.3", "1.7", "1.11", "1.13"]
DIVIDED = ["2", "3", "4", "5", "6", "7", *INSTANCES]
LINE = "slurmd: Gres Name=gpu Type=h100 Count={} Index=0 ID=7696487 File={} Links=(null) Flags=HAS_FILE,HAS_TYPE\n"
WHOLE = LINE.format(8, "/dev/nvidia[0-7]")
CAPABILITIES = "/dev/nvidia{},/dev/nvidia-caps/nvidia-cap{},/dev/nvidia-caps/nvidia-cap{}"


class Machine:
    """A node's GPUs under a temporary folder; counts how often nvidia-smi is run."""

    def __init__(self, root: Path, labgpus: ModuleType, slurmd: FakeSlurmd) -> None:
        self.root, self.labgpus, self.slurmd = root, labgpus, slurmd
        self.programs, self.proc, self.table = root / "bin", root / "proc", root / "run/devices"
        self.programs.mkdir()
        (self.programs / "grep").symlink_to(shutil.which("grep") or "/bin/grep")
        smi = f'echo x >>{root}/calls; LAB_GPUS={root}/gpus.json exec {sys.executable} {NODE}/usr/bin/nvidia-smi "$@"'
        self.program("nvidia-smi", smi)
        self.profile("identity")

    def program(self, name: str, body: str) -> None:
        path = self.programs / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def profile(self, name: str) -> dict[str, Any]:
        description: dict[str, Any] = self.labgpus.describe(name, "dgx-01")
        self.describe(description)
        return description

    def describe(self, description: dict[str, Any]) -> None:
        self.labgpus.save(description, self.root / "gpus.json")
        self.labgpus.write_proc(description, self.proc)

    def gres(self, text: str, code: int = 0, restart: bool = True) -> None:
        """Let slurmd -G say this; another slurmd runs from then on."""
        cat = shutil.which("cat") or "/bin/cat"
        self.answer(f"echo x >>{self.root}/asked; {cat} >&2 <<'END'\n{text}END\nexit {code}", restart)

    def answer(self, body: str, restart: bool = True) -> None:
        self.slurmd.script(body)
        if restart:
            self.slurmd.restart()

    def asked(self) -> int:
        """How often slurmd -G was run."""
        asked = self.root / "asked"
        return len(asked.read_text().splitlines()) if asked.exists() else 0

    def fault(self, name: str) -> None:
        (self.root / "nvidia-smi.fault").write_text(f"{name}\n")

    def calls(self) -> int:
        calls = self.root / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def refresh(self, force: bool = True, **settings: str) -> dict[str, Any]:
        return agent_devices.refresh(settings, force)

    def positions(self, **settings: str) -> list[str | None]:
        assert self.refresh(**settings)["problem"] == ""
        found = agent_devices.parse(self.table.read_text()).positions
        return [found.get(position) for position in range(max(found) + 1)]

    def rested(self) -> None:
        """Let the time pass after which what failed may be tried again."""
        status = self.status()
        times = {key: status[key] - 1000 for key in ("tried", "asked") if key in status}
        Path(paths.DEVICES_STATUS).write_text(json.dumps(status | times))

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(paths.DEVICES_STATUS).read_text())
        return found

    def age(self, seconds: int) -> None:
        """Let the last attempt be some time ago."""
        Path(paths.DEVICES_STATUS).write_text(json.dumps({**self.status(), "tried": time.monotonic() - seconds}))


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, load: Any) -> Machine:
    # Nothing may be left in lab/rootfs: it is copied as it is onto the lab's machines.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    slurmd = FakeSlurmd(tmp_path / "slurm", monkeypatch)
    found = Machine(tmp_path, load("lab/rootfs/node/usr/lib/lab/labgpus.py"), slurmd)
    monkeypatch.setattr(nvidia, "SEARCH_PATH", str(found.programs))
    monkeypatch.setattr(nvidia, "PROC", str(found.proc))
    monkeypatch.setattr(paths, "DEVICES", str(found.table))
    monkeypatch.setattr(paths, "DEVICES_STATUS", str(tmp_path / "run/devices.json"))
    monkeypatch.setattr(paths, "DEVICES_KEPT", str(tmp_path / "var/devices"))
    return found


def _lines(*files: str) -> str:
    return "".join(LINE.format(1, name) for name in files)


def _in_pci_order(minors: list[int]) -> str:
    return _lines(*(f"/dev/nvidia{minor}" for minor in minors))


# GPU instance id 2 of the GPU with minor number 0 has the file 3 + 2 * 9; compute instances have the next ones.
_MIG = _lines(
    *(f"/dev/nvidia{gpu}" for gpu in range(2, 8)),
    *(CAPABILITIES.format(0, 3 + gi * 9, 4 + gi * 9) for gi in (9, 5, 2)),
    *(CAPABILITIES.format(1, 138 + gi * 9, 139 + gi * 9 + ci) for gi, ci in ((3, 1), (3, 0), (13, 0))),
)
# name: (profile, setting, what slurmd -G says, map names by position)
ORDERS = {
    "identity by index": ("identity", "index", "", list("01234567")),
    "minor order by index": ("minor-order", "index", "", list("01234567")),
    "minor order by minor": ("minor-order", "minor", "", [str(gpu) for gpu in BY_MINOR]),
    "MIG by index: whole GPUs first": ("mig", "index", "", DIVIDED),
    "MIG by minor": ("mig", "minor", "", DIVIDED),
    "no slurmd: by index": ("minor-order", "auto", "", list("01234567")),
    "files by hand": ("minor-order", "auto", WHOLE, [str(gpu) for gpu in BY_MINOR]),
    "files by hand in another order": ("identity", "auto", LINE.format(8, "/dev/nvidia[4-7,0-3]"), list("45670123")),
    "several lines by hand": (
        "identity",
        "auto",
        LINE.format(2, "/dev/nvidia[6-7]") + _lines("/dev/nvidia1"),
        list("671"),
    ),
    "AutoDetect=nvml": ("minor-order", "auto", _in_pci_order(BY_MINOR), list("01234567")),
    "AutoDetect=nvidia": ("minor-order", "auto", _in_pci_order(list(range(8))), [str(gpu) for gpu in BY_MINOR]),
    "AutoDetect=nvml with MIG": ("mig", "auto", _MIG, [*"234567", "0.9", "0.5", "0.2", "1.3", "1.3", "1.13"]),
    "a divided GPU is no GPU for a job": ("mig", "auto", WHOLE, [None, None, *"234567"]),
    "a device that is gone counts": ("identity", "auto", _lines("/dev/nvidia9", "/dev/nvidia1"), [None, "1"]),
    "other resources do not count": (
        "identity",
        "auto",
        WHOLE.replace("=gpu", "=shard") + _lines("/dev/nvidia3"),
        ["3"],
    ),
}


@pytest.mark.parametrize(("profile", "setting", "gres", "expected"), ORDERS.values(), ids=ORDERS.keys())
def test_positions_are_those_that_slurm_counts(machine, profile, setting, gres, expected) -> None:
    machine.profile(profile)
    if gres:
        machine.gres(gres)
    assert machine.positions(positions=setting) == expected


@pytest.mark.parametrize("profile", ["identity", "minor-order", "mig"])
def test_the_table_says_what_the_description_of_the_gpus_says(machine, profile) -> None:
    described = machine.profile(profile)["gpus"]
    done = machine.refresh(positions="index")
    table = agent_devices.parse(machine.table.read_text())
    assert done == {"changed": True, "problem": "", "made": table.made, "gpus": table.gpus}
    assert table.gpus == {str(gpu["index"]): gpu["uuid"] for gpu in described}
    assert table.places == {str(gpu["index"]): (str(gpu["minor"]), gpu["bus"]) for gpu in described}
    devices = [(f"{gpu['index']}.{mig['gi']}", gpu["uuid"], mig) for gpu in described for mig in gpu["mig"]]
    assert table.instances == {name: (uuid, mig["profile"]) for name, uuid, mig in devices}
    whole = {gpu["uuid"]: str(gpu["index"]) for gpu in described}
    assert table.uuids == whole | {mig["uuid"]: name for name, _, mig in devices}
    assert table.shared == ({"1.3"} if profile == "mig" else set())


def test_bash_reads_the_table_without_a_fork(machine) -> None:
    description = machine.profile("mig")
    machine.refresh(positions="index")
    script = (
        "declare -A uuids positions gpus\n"
        "while read -r kind key name flag; do case $kind in\n"
        "uuid) uuids[$key]=$name:$flag ;; position) positions[$key]=$name:$flag ;; gpu) gpus[$key]=$name ;; esac\n"
        f"done <{machine.table}\n"
        'echo "${uuids[$1]} ${uuids[$2]} ${positions[0]} ${positions[9]} ${gpus[1]}"'
    )
    gpus = description["gpus"]
    words = ["bash", "-c", script, "-", gpus[3]["uuid"], gpus[1]["mig"][0]["uuid"]]
    answer = subprocess.run(words, env={}, capture_output=True, text=True, check=True)
    assert answer.stdout == f"3: 1.3:shared 2: 1.3:shared {gpus[1]['uuid']}\n"


def test_everybody_may_read_the_table_and_nothing_else_is_left(machine) -> None:
    before = os.umask(0o077)
    try:
        machine.refresh()
    finally:
        os.umask(before)
    assert machine.table.stat().st_mode & 0o777 == 0o644
    assert sorted(path.name for path in machine.table.parent.iterdir()) == ["devices", "devices.json"]


def test_only_the_moment_of_its_making_is_renewed_when_nothing_changed(machine, monkeypatch) -> None:
    first = machine.refresh()
    monkeypatch.setattr(time, "time", lambda: first["made"] + 60.5)
    assert machine.refresh() == {**first, "changed": False, "made": first["made"] + 60}
    assert f"made {first['made'] + 60}\n" in machine.table.read_text()


def _information(machine: Machine) -> list[Path]:
    return sorted((machine.proc / "gpus").glob("*/information"))


def _masked(machine: Machine, description: dict[str, Any]) -> None:
    for path, gpu in zip(_information(machine), description["gpus"], strict=True):
        path.write_text(path.read_text().replace(gpu["uuid"], "GPU-????????-????-????-????-????????????"))


def _elsewhere(machine: Machine, description: dict[str, Any]) -> None:
    for path in _information(machine):
        path.write_text(path.read_text().replace("Bus Location: \t 0000:", "Bus Location: \t 0001:"))


@pytest.mark.parametrize("change", [_masked, _elsewhere], ids=["masked UUIDs: by bus", "other bus: by UUID"])
def test_minor_numbers_are_found_by_bus_or_by_uuid(machine, change) -> None:
    change(machine, machine.profile("minor-order"))
    machine.refresh()
    places = agent_devices.parse(machine.table.read_text()).places
    assert [places[str(gpu)][0] for gpu in range(8)] == [str(minor) for minor in BY_MINOR]


def test_an_excluded_gpu_is_in_proc_and_not_in_the_table(machine) -> None:
    description = machine.profile("minor-order")
    del description["gpus"][2]
    for index, gpu in enumerate(description["gpus"]):
        gpu["index"] = index
    machine.labgpus.save(description, machine.root / "gpus.json")
    machine.gres(_in_pci_order([2, 3, 1, 6, 7, 4, 5]))
    assert machine.positions() == list("0123456")
    places = agent_devices.parse(machine.table.read_text()).places
    assert [minor for minor, _ in places.values()] == ["2", "3", "1", "6", "7", "4", "5"]


def test_a_gpu_that_proc_does_not_know_has_no_minor_number_and_is_last_by_minor(machine) -> None:
    machine.profile("minor-order")
    shutil.rmtree(machine.proc / "gpus/0000:52:00.0")
    assert machine.positions(positions="minor") == list("30167452")
    assert " - 00000000:52:00.0\n" in machine.table.read_text()


def test_uuids_of_mig_devices_of_old_drivers_are_taken(machine) -> None:
    description = machine.profile("mig")
    gpu = description["gpus"][0]
    for device in gpu["mig"]:
        device["uuid"] = f"MIG-{gpu['uuid']}/{device['gi']}/{device['ci']}"
    machine.describe(description)
    machine.refresh()
    assert f"uuid MIG-{gpu['uuid']}/5/0 0.5\n" in machine.table.read_text()


def test_without_a_change_nothing_is_run_but_a_look_at_proc(machine) -> None:
    first = machine.refresh()
    calls = machine.calls()
    assert machine.refresh(force=False) == {**first, "changed": False}
    assert machine.calls() == calls


def _version(machine: Machine) -> None:
    (machine.proc / "version").write_text("NVRM version: 570.1\n")


def _minors(machine: Machine) -> None:
    machine.profile("minor-order")


def _divided(machine: Machine) -> None:
    machine.profile("mig")


@pytest.mark.parametrize("change", [_version, _minors, _divided])
def test_a_change_of_driver_gpus_or_mig_layout_is_noticed_without_nvidia_smi(machine, change) -> None:
    def fingerprint() -> str:
        return nvidia.fingerprint(nvidia.tree(nvidia.Limit("nvidia_smi", 5)))

    before = fingerprint()
    change(machine)
    assert before != fingerprint()
    assert machine.calls() == 0


def test_a_mig_layout_that_changed_makes_a_new_table(machine) -> None:
    description = machine.profile("mig")
    machine.refresh()
    removed = description["gpus"][1]["mig"].pop()
    machine.describe(description)
    assert machine.refresh(force=False)["changed"] is True
    assert removed["uuid"] not in machine.table.read_text()
    assert machine.refresh(force=False)["changed"] is False


def test_interrupts_and_masks_are_no_change(machine) -> None:
    description = machine.profile("identity")
    _masked(machine, description)
    machine.refresh()
    calls = machine.calls()
    machine.describe(description)
    for path in _information(machine):
        path.write_text(path.read_text().replace("IRQ: \t 1", "IRQ: \t 2").replace("96.00", "??.??"))
    machine.refresh(force=False)
    assert machine.calls() == calls


def test_a_gpu_that_is_excluded_or_gone_is_a_change(machine) -> None:
    machine.refresh()
    last = _information(machine)[-1]
    last.write_text(last.read_text().replace("GPU Excluded: \t No", "GPU Excluded: \t Yes"))
    for seen in (2, 3):
        machine.refresh(force=False)
        assert machine.calls() == seen
        shutil.rmtree(last.parent, ignore_errors=True)


# name: (body of nvidia-smi, what is said of it)
NONSENSE = {
    "nothing": ("exit 0", "knows no GPU"),
    "words": ("echo No devices were found; exit 6", "exit code 6: No devices were found"),
    "rows that are none": (
        "echo '0, GPU-1'; echo 1,2,3,4,5",
        "nvidia-smi --query-gpu failed with exit code 0: 1,2,3,4,5",
    ),
    "a signal": ("kill -9 $$", "exit code -9"),
}


@pytest.mark.parametrize(("body", "problem"), NONSENSE.values(), ids=NONSENSE.keys())
def test_what_is_not_understood_leaves_the_last_good_table(machine, body, problem) -> None:
    first = machine.refresh()
    text = machine.table.read_text()
    machine.program("nvidia-smi", body)
    done = machine.refresh()
    assert (done["changed"], done["made"], machine.table.read_text()) == (False, first["made"], text)
    assert problem in done["problem"]
    assert "the last table of these GPUs stays" in done["problem"]
    assert (machine.status()["ok"], machine.status()["problem"]) == (False, done["problem"])


# name: (what -q -x prints)
MIG_NONSENSE = {
    "an empty document": "echo",
    "a document without instances": "echo '<nvidia_smi_log/>'",
    "an id that is no number": "echo '<log><gpu><uuid>x</uuid><mig_devices><mig_device/></mig_devices></gpu></log>'",
}


@pytest.mark.parametrize("there", [False, True], ids=["no table yet", "a table is there"])
@pytest.mark.parametrize("document", MIG_NONSENSE.values(), ids=MIG_NONSENSE.keys())
def test_a_document_that_does_not_fit_the_list_costs_the_mig_devices_only(machine, document, there) -> None:
    machine.profile("mig")
    first = machine.refresh() if there else {}
    known = agent_devices.current()
    (machine.programs / "real-smi").write_text((machine.programs / "nvidia-smi").read_text())
    (machine.programs / "real-smi").chmod(0o755)
    machine.program("nvidia-smi", f'case $1 in -q) {document} ;; *) exec {machine.programs}/real-smi "$@" ;; esac')
    assert machine.refresh()["problem"] == ""
    assert [one["gpu"] for one in machine.status()["bad"]] == ["0", "1"]
    assert "nvidia-smi -q -x does not know MIG device" in machine.status()["bad"][0]["why"]
    table = agent_devices.current()
    assert len(table.gpus) == 8
    # Under the same driver and layout the devices are as they were.
    assert table.instances == (known.instances if there else {})
    assert table.positions == (known.positions if there else dict(enumerate("234567")))
    assert not there or first["gpus"] == table.gpus


def test_without_nvidia_smi_or_driver_there_is_a_reason_and_no_table(machine) -> None:
    (machine.programs / "nvidia-smi").unlink()
    shutil.rmtree(machine.proc)
    done = machine.refresh()
    assert done == {"changed": False, "problem": "nvidia-smi is not installed", "made": 0, "gpus": {}}


IMPATIENT = {"limit_nvidia_smi": "1", "limit_slurmd": "1"}


def test_nvidia_smi_that_hangs_is_killed_and_the_last_good_table_stays(machine) -> None:
    first = machine.refresh()
    machine.fault("hang")
    started = time.monotonic()
    done = machine.refresh(**IMPATIENT)
    assert time.monotonic() - started < 3
    problem = (
        "nvidia-smi --query-gpu did not answer within 1 s (dcgm:limits:nvidia_smi); where no driver stays loaded, "
        "persistence mode helps; the last table of these GPUs stays"
    )
    assert done == {**first, "changed": False, "problem": problem}
    assert machine.status()["ok"] is False
    path = str(machine.root)
    alive = [entry for entry in Path("/proc").glob("[0-9]*/environ") if path in _bytes(entry)]
    assert alive == []


def _bytes(path: Path) -> str:
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_a_program_that_cannot_be_killed_is_not_waited_for(machine, monkeypatch) -> None:
    machine.fault("hang")
    hanging: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda group, _: hanging.append(group))
    started = time.monotonic()
    assert "did not answer within 1 s" in machine.refresh(**IMPATIENT)["problem"]
    assert time.monotonic() - started < 3
    monkeypatch.undo()
    for group in hanging:
        os.killpg(group, signal.SIGKILL)
        os.waitpid(group, 0)


def test_what_failed_is_tried_again_after_a_while_or_a_change(machine) -> None:
    machine.refresh()
    machine.fault("fail")
    assert "exit code 9" in machine.refresh()["problem"]
    calls = machine.calls()
    assert "exit code 9" in machine.refresh(force=False)["problem"]
    assert machine.calls() == calls
    machine.age(400)
    machine.refresh(force=False)
    assert machine.calls() == calls + 1
    machine.profile("minor-order")
    machine.fault("off")
    assert machine.refresh(force=False)["problem"] == ""
    assert machine.status()["ok"] is True


def test_a_driver_that_hangs_its_readers_is_a_problem_and_not_asked_at_once_again(machine) -> None:
    first = machine.refresh(positions="index")
    grep = machine.programs / "grep"
    grep.unlink()
    machine.program("grep", f"echo x >>{machine.root}/looks; exec {sys.executable} -c 'import time; time.sleep(60)'")
    for force in (True, False, False):
        done = machine.refresh(force, **IMPATIENT)
        assert done == {**first, "changed": False, "problem": done["problem"]}
        assert "grep -rsH did not answer within 1 s" in done["problem"]
    assert (machine.root / "looks").read_text() == "x\n"


def test_a_table_that_cannot_be_written_is_a_problem(machine, monkeypatch) -> None:
    (machine.root / "file").write_text("")
    monkeypatch.setattr(paths, "DEVICES", str(machine.root / "file/devices"))
    assert "file" in machine.refresh()["problem"]


SLURMD_TROUBLE = {
    "it fails": ("echo 'slurmd: fatal: no slurm.conf' >&2; exit 1", "exit code 1: slurmd: fatal: no slurm.conf"),
    "it hangs": (
        f"exec {sys.executable} -c 'import time; time.sleep(60)'",
        "did not answer within 2 s (dcgm:limits:slurmd)",
    ),
    "it names no GPU": ("echo slurmd: Gres Name=craynetwork Count=4", "names no GPU"),
    "it names GPUs that are not there": (f"echo '{_lines('/dev/nvidia8')}'", "names no GPU of this node"),
}


@pytest.mark.parametrize(("body", "note"), SLURMD_TROUBLE.values(), ids=SLURMD_TROUBLE.keys())
def test_without_an_answer_of_slurmd_positions_are_a_guess_that_stays_with_the_gpus(machine, body, note) -> None:
    machine.profile("minor-order")
    machine.answer(body)
    assert machine.positions(limit_slurmd="2") == list("01234567")
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("index", True)
    assert note in machine.status()["note"]
    machine.gres(WHOLE)
    assert machine.positions() == [str(gpu) for gpu in BY_MINOR]
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("slurmd", False)
    machine.answer(body)
    assert machine.positions(limit_slurmd="2") == [str(gpu) for gpu in BY_MINOR]
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("last table", True)
    machine.profile("mig")
    assert machine.positions(limit_slurmd="2") == DIVIDED


def test_what_a_slurmd_has_said_is_known_as_long_as_it_runs(machine) -> None:
    machine.profile("minor-order")
    machine.gres(WHOLE)
    machine.refresh()
    machine.answer("exit 1", restart=False)
    assert machine.positions() == [str(gpu) for gpu in BY_MINOR]
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("slurmd", False)
    assert "exit code 1" in machine.status()["note"]


def test_device_files_that_are_other_gpus_now_are_known_while_slurmd_lists_the_same(machine) -> None:
    machine.gres(WHOLE)
    machine.refresh()
    machine.profile("minor-order")
    assert machine.refresh(force=False)["changed"] is True
    assert agent_devices.current().positions == dict(enumerate(str(gpu) for gpu in BY_MINOR))
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("slurmd", False)


def test_slurmd_that_could_not_answer_is_asked_again(machine) -> None:
    machine.profile("minor-order")
    machine.gres("slurmd: fatal: no slurm.conf yet\n", code=1)
    machine.refresh()
    calls, asked = machine.calls(), machine.asked()
    assert machine.refresh(force=False)["changed"] is False
    assert (machine.calls(), machine.asked()) == (calls, asked), "not at every tick"
    machine.gres(WHOLE, restart=False)
    machine.rested()
    assert machine.refresh(force=False)["changed"] is True
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("slurmd", False)
    assert machine.calls() == calls, "nvidia-smi has nothing to do with it"
    machine.slurmd.stop()
    assert machine.refresh(force=False)["changed"] is False


def test_a_clock_that_is_set_hours_back_or_forward_delays_nothing(machine, monkeypatch) -> None:
    machine.profile("minor-order")
    machine.gres("slurmd: fatal: no slurm.conf yet\n", code=1)
    machine.fault("fail")
    machine.refresh()
    now = time.time()
    for hours in (-5, 5):
        monkeypatch.setattr(time, "time", lambda hours=hours: now + hours * 3600)
        calls = machine.calls()
        machine.refresh(force=False)
        assert machine.calls() == calls, "it rests"
        machine.rested()
        machine.refresh(force=False)
        assert machine.calls() == calls + 1


def test_another_slurmd_is_asked_within_a_tick_and_nvidia_smi_is_not(machine) -> None:
    machine.gres(WHOLE)
    machine.refresh()
    calls, asked = machine.calls(), machine.asked()
    for _ in range(3):
        assert machine.refresh(force=False)["changed"] is False
    assert machine.asked() == asked
    # One GPU taken out of gres.conf, and `scontrol reconfigure`: another process.
    machine.gres(LINE.format(7, "/dev/nvidia[0-2,4-7]"))
    assert machine.refresh(force=False)["changed"] is True
    assert agent_devices.current().positions == dict(enumerate("0124567"))
    assert machine.calls() == calls


@pytest.fixture
def edited(machine: Machine) -> Machine:
    """A slurmd that answered, and whose gres.conf was then edited."""
    machine.slurmd.configure("ClusterName=x\ninclude more.conf\n", "Name=gpu File=/dev/nvidia[0-7]\n")
    machine.gres(WHOLE)
    machine.refresh()
    machine.slurmd.configure("ClusterName=x\ninclude more.conf\n", "Name=gpu File=/dev/nvidia[4-7,0-3]\n")
    machine.gres(LINE.format(8, "/dev/nvidia[4-7,0-3]"), restart=False)
    return machine


@pytest.mark.parametrize("force", [False, True])
def test_a_gres_conf_that_slurmd_has_not_read_yet_changes_no_position_and_is_said(edited, force) -> None:
    assert edited.refresh(force)["changed"] is False
    assert agent_devices.current().positions == dict(enumerate("01234567"))
    status = edited.status()
    assert (status["positions"], status["guessed"]) == ("slurmd", False)
    assert "the slurmd that runs has not read it" in status["pending"]
    asked = edited.asked()
    edited.refresh(force=False)
    assert edited.asked() == asked, "asked once for each change"
    edited.slurmd.restart()
    assert edited.refresh(force=False)["changed"] is True
    assert agent_devices.current().positions == dict(enumerate("45670123"))
    assert edited.status()["pending"] == ""


def test_a_gres_conf_that_is_put_back_leaves_nothing_pending(edited) -> None:
    edited.refresh(force=False)
    edited.slurmd.configure("ClusterName=x\ninclude more.conf\n", "Name=gpu File=/dev/nvidia[0-7]\n")
    edited.gres(WHOLE, restart=False)
    edited.refresh(force=False)
    assert edited.status()["pending"] == ""


def test_a_slurmd_before_23_11_reads_its_files_again_without_another_process(edited) -> None:
    line = LINE.format(8, "/dev/nvidia[4-7,0-3]")
    edited.answer(f"case $1 in -V) echo slurm 23.02.7 ;; *) echo '{line}' ;; esac", restart=False)
    assert edited.refresh(force=False)["changed"] is True
    assert agent_devices.current().positions == dict(enumerate("45670123"))
    assert (edited.status()["guessed"], edited.status()["pending"]) == (False, "")


def test_a_file_that_slurm_conf_includes_is_watched(machine) -> None:
    machine.slurmd.configure("ClusterName=x\n  Include more.conf\n")
    machine.gres(WHOLE)
    machine.refresh()
    asked = machine.asked()
    (machine.slurmd.conf.parent / "more.conf").write_text("NodeName=dgx-01\n")
    machine.refresh(force=False)
    assert machine.asked() == asked + 1


def test_a_file_that_changed_before_anybody_asked_makes_a_guess(machine) -> None:
    machine.slurmd.configure("ClusterName=x\n")
    os.utime(machine.slurmd.conf)
    machine.gres(WHOLE)
    machine.refresh()
    assert machine.status()["guessed"] is True
    assert "slurm.conf changed after slurmd started" in machine.status()["note"]


def test_the_first_table_after_a_boot_has_the_positions_of_the_boot_before_as_a_guess(machine) -> None:
    machine.profile("minor-order")
    Path(paths.DEVICES_KEPT).parent.mkdir()
    machine.gres(WHOLE)
    machine.refresh()
    shutil.rmtree(machine.table.parent)
    machine.slurmd.stop()
    assert machine.positions() == [str(gpu) for gpu in BY_MINOR]
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("last boot", True)
    machine.slurmd.start()
    assert machine.refresh(force=False)["changed"] is False
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("slurmd", False)


def test_slurmd_s_shards_are_told_to_the_prolog(machine) -> None:
    machine.gres(WHOLE + WHOLE.replace("=gpu", "=shard"))
    machine.refresh()
    assert "gres shard\n" in machine.table.read_text()
    assert machine.status()["sharing"] == ["shard"]
    assert agent_devices.current().sharing == ("shard",)


def test_slurmd_that_knows_none_of_the_gpus_is_not_asked_for_ever(machine) -> None:
    machine.gres("slurmd: Gres Name=gpu Type=h100 Count=8 Index=0 ID=7696487 File=(null) Flags=HAS_TYPE\n")
    machine.refresh()
    calls = machine.calls()
    asked = machine.asked()
    for _ in range(3):
        machine.rested()
        assert machine.refresh(force=False)["changed"] is False
    assert (machine.calls(), machine.asked()) == (calls, asked)
    assert (machine.status()["positions"], machine.status()["guessed"]) == ("index", True)


def test_a_text_that_is_not_understood_is_skipped() -> None:
    text = (
        "# comment\n\nmade soon\nlater 1 2 3\ngpu 0 GPU-a 2 00000000:1B:00.0 more\ngpu ../x GPU-b 1 2\nuuid GPU-a\n"
        "uuid GPU-a 0 later\nuuid GPU-c 00\nposition x 0\nposition 3 1.2 shared\n"
    )
    table = agent_devices.parse(text)
    assert (table.made, table.gpus, table.places) == (0, {"0": "GPU-a"}, {"0": ("2", "00000000:1B:00.0")})
    assert (table.uuids, table.positions, table.shared) == ({"GPU-a": "0"}, {3: "1.2"}, {"1.2"})


@pytest.mark.parametrize("profile", ["identity", "minor-order", "mig"])
def test_a_table_is_read_as_it_was_written(machine, profile) -> None:
    machine.profile(profile)
    machine.refresh()
    text = machine.table.read_text()
    assert agent_devices.render(agent_devices.parse(text)) == text


ODD = [
    {"tried": "x", "asked": [], "in_vain": "y", "bad": ["0"], "known": {"process": "1:1", "devices": [["/dev/x"]]}},
    {"ok": 1, "bad": [{"gpu": "x", "bus": "", "why": ""}], "mark": [], "remarks": None, "fingerprint": 5},
    {"ok": False, "bad": [{"gpu": "0"}], "known": [], "ask_again": "yes", "sharing": "mps", "problem": None},
]


@pytest.mark.parametrize("odd", ODD)
def test_a_status_of_another_release_or_a_damaged_one_stops_nobody(machine, odd) -> None:
    machine.gres(_in_pci_order(list(range(8))))
    machine.refresh()
    Path(paths.DEVICES_STATUS).write_text(json.dumps({**machine.status(), **odd}))
    assert machine.refresh(force=False)["problem"] == ""
    status = agent_devices.read_status()
    metrics.write({"textfile": str(machine.root)}, agent_devices.current() or agent_devices.Table(), True, status)
