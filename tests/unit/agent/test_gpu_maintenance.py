"""GPUs that are free for maintenance: what is stopped and kept down, who still uses a GPU, and what comes back."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from superpod_dcgm.agent import devices, gpu_maintenance, gpu_users, nvidia
from superpod_dcgm.agent.device_table import Table, render
from superpod_dcgm.base import maintenance, paths, systemd

NOW = "2026-11-27T02:00:00Z"
PLACES = {"0": ("0", "0000:1b:00.0"), "1": ("1", "0000:43:00.0")}
BEFORE = Table(made=1, gpus={"0": "GPU-a", "1": "GPU-b"}, places=PLACES, uuids={"GPU-a": "0", "GPU-b": "1"})
AFTER = Table(made=2, gpus={"0": "GPU-a"}, places=PLACES, instances={"0.7": ("GPU-a", "1g.10gb")})


class Node:
    """A node with a systemd that only notes what it is told, and processes in a folder."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.calls, self.up = root, [], set(maintenance.UNITS)
        self.enabled, self.problem = True, ""
        places = {"NODE_RUNTIME": "run", "GPUS_FREED": "run/gpus-freed.json", "RUNTIME_UNITS": "units"}
        for name, place in {**places, "JOB_MAP_CONFIG": "conf", "DEVICES": "run/devices"}.items():
            monkeypatch.setattr(paths, name, str(root / place))
        monkeypatch.setattr(nvidia, "PROC", str(root / "driver"))
        monkeypatch.setattr(systemd, "systemctl", self.systemctl)
        monkeypatch.setattr(systemd, "show", self.show)
        monkeypatch.setattr(devices, "refresh", self.refresh)
        monkeypatch.setattr(gpu_maintenance, "_GONE_SECONDS", 0.1)
        find = gpu_users.find
        monkeypatch.setattr(gpu_users, "find", lambda: find(str(root / "proc")))
        for folder in ("run", "map", "driver/gpus", "proc"):
            (root / folder).mkdir(parents=True)
        (root / "conf").write_text(f"directory={root}/map\ntextfile={root}/run/text\n")
        (root / "run/text").mkdir()
        (root / "run/devices").write_text(render(BEFORE))

    def systemctl(self, *words: str) -> str:
        self.calls.append(" ".join(words))
        if words[0] == "stop":
            assert maintenance.held(), "what is stopped could be started before it is held"
            self.up -= set(words[1:])
        if words[0] == "start":
            assert not maintenance.held()
            self.up |= set(words[1:])
        return ""

    def show(self, unit: str) -> dict[str, str]:
        state = "active" if unit in self.up else "inactive"
        return {"LoadState": "loaded", "ActiveState": state, "UnitFileState": "enabled" if self.enabled else "disabled"}

    def refresh(self, conf: dict[str, str], force: bool = False) -> dict[str, str]:
        assert force and not maintenance.held()
        if not self.problem:
            (self.root / "run/devices").write_text(render(AFTER))
        return {"problem": self.problem}

    def process(self, pid: int, comm: str, files: tuple[str, ...] = (), **texts: str) -> None:
        folder = self.root / "proc" / str(pid)
        (folder / "fd").mkdir(parents=True)
        (folder / "comm").write_text(f"{comm}\n")
        for name, text in texts.items():
            (folder / name).write_text(text)
        for number, target in enumerate(files):
            (folder / "fd" / str(number)).symlink_to(target)

    def metrics(self) -> str:
        return (self.root / "run/text" / paths.TEXTFILE).read_text()


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_free_stops_our_units_and_lets_none_start_again(node) -> None:
    (node.root / "map/0").write_text("12\n")
    found = gpu_maintenance.free(NOW)
    assert found["stopped"] == list(maintenance.UNITS)
    assert node.up == set()
    assert node.calls == ["daemon-reload", f"stop {' '.join(maintenance.UNITS)}"]
    for unit in maintenance.UNITS:
        text = (node.root / "units" / f"{unit}.d/50-superpod-gpus-freed.conf").read_text()
        assert f"[Unit]\nConditionPathExists=!{paths.GPUS_FREED}\n" in text
    assert "superpod_dcgm_gpus_freed 1" in node.metrics()
    # Nobody writes them meanwhile, and they would soon be wrong.
    assert "dcgm_job_map_jobs{" not in node.metrics()


def test_free_twice_keeps_since_and_stops_what_somebody_started(node) -> None:
    gpu_maintenance.free(NOW)
    node.up.add(paths.UNIT)
    again = gpu_maintenance.free("2026-11-27T03:00:00Z")
    assert (again["freed"], again["stopped"], node.up) == ({"since": NOW}, [paths.UNIT], set())


def test_with_test_nothing_is_stopped(node) -> None:
    found = gpu_maintenance.free(NOW, test=True)
    assert (found["stopped"], node.calls, maintenance.held()) == (list(maintenance.UNITS), [], None)
    gpu_maintenance.free(NOW)
    before = list(node.calls)
    assert gpu_maintenance.resume(test=True)["started"] == [paths.JOB_MAP_TIMER]
    assert (node.calls, maintenance.held()) == (before, {"since": NOW})


def test_gpus_that_nobody_uses_are_free_and_only_then(node) -> None:
    assert gpu_maintenance.status()["free"] is False
    assert gpu_maintenance.free(NOW)["free"] is True
    assert gpu_maintenance.status()["comment"][-1] == "nothing uses a GPU"
    (node.root / "map/1").write_text("12\n")
    (node.root / "map/.job-12").write_bytes(b"v1\0alice\0\0defq\0dgx-01\x001\0")
    found = gpu_maintenance.status()
    assert (found["free"], found["jobs"]) == (False, {"12": {"user": "alice", "gpus": ["1"]}})
    assert found["comment"][-1] == "Slurm job 12 of alice has GPU 1: drain the node"


# name: (process, what is said of it or None)
JOB = "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n"
PROCESSES = {
    "the host engine": (
        {"comm": "nv-hostengine", "files": ("/dev/nvidia0", "/dev/nvidiactl")}
        | {"cgroup": "0::/system.slice/nvidia-dcgm.service\n"},
        "systemctl stop nvidia-dcgm.service",
    ),
    "persistence": (
        {"comm": "nvidia-persiste", "files": ("/dev/nvidiactl",)}
        | {"cgroup": "0::/system.slice/nvidia-persistenced.service\n"},
        "systemctl stop nvidia-persistenced.service",
    ),
    "a job by its cgroup": ({"comm": "python", "files": ("/dev/nvidia3",), "cgroup": JOB}, "of Slurm job 4711"),
    "a job by cgroup v1": (
        {"comm": "python", "files": ("/dev/nvidia3",), "cgroup": "5:devices:/slurm/uid_1000/job_4711/step_0\n0::/\n"},
        "of Slurm job 4711",
    ),
    "a job by its environment": (
        {"comm": "python", "files": ("/dev/nvidia3",), "environ": "A=1\0SLURM_JOB_ID=4711\0"}
        | {"cgroup": "0::/system.slice/slurmd.service\n"},
        "of Slurm job 4711",
    ),
    "mapped and closed": ({"comm": "cuda", "maps": "7f00-7f01 rw-s 0 00:06 424 /dev/nvidia-uvm\n"}, "cuda (pid 7"),
    "an instance's capability": ({"comm": "x", "files": ("/dev/nvidia-caps/nvidia-cap12",)}, "x (pid 7"),
    "of an ordinary session": (
        {"comm": "nvtop", "files": ("/dev/nvidia0",)} | {"cgroup": "0::/user.slice/user-1000.slice/session-3.scope\n"},
        "nvtop (pid 7",
    ),
    "another device": (
        {
            "comm": "sshd",
            "files": ("/dev/null", "/home/x/dev/nvidia-smi.log"),
            "maps": "7f00-7f01 r--p 0 00:06 4 /home/x/dev/nvidia.so\n",
        },
        None,
    ),
}


@pytest.mark.parametrize(("process", "said"), PROCESSES.values(), ids=PROCESSES.keys())
def test_who_uses_a_gpu_is_named_with_what_ends_it(node, process, said) -> None:
    node.process(7, **process)
    node.process(8, "bash")
    (node.root / "proc/self").symlink_to("8")
    found = gpu_maintenance.free(NOW)
    assert found["free"] is (said is None)
    assert [user["pid"] for user in found["users"]] == ([7] if said else [])
    assert said is None or said in found["comment"][-1]
    json.dumps(found)


def test_a_process_of_ours_that_does_not_end_is_waited_for_and_named(node) -> None:
    node.process(7, "nvidia-smi", ("/dev/nvidia0",), cgroup=f"0::/system.slice/{paths.DEVICES_UNIT}\n")
    found = gpu_maintenance.free(NOW)
    assert (found["free"], found["users"][0]["unit"]) == (False, paths.DEVICES_UNIT)


def test_resume_makes_a_new_table_and_starts_the_timer(node) -> None:
    gpu_maintenance.free(NOW)
    found = gpu_maintenance.resume()
    assert (found["resumed"], found["was"], found["problems"]) == (True, {"since": NOW}, [])
    assert found["gpus"] == {"before": {"0": "GPU-a", "1": "GPU-b"}, "after": {"0": "GPU-a"}}
    assert found["instances"] == {"before": {}, "after": {"0.7": "1g.10gb"}}
    assert (found["started"], maintenance.held()) == ([paths.JOB_MAP_TIMER], None)
    assert node.calls[-2:] == ["daemon-reload", f"start {paths.JOB_MAP_TIMER}"]
    assert os.listdir(node.root / "units") == []
    again = gpu_maintenance.resume()
    assert (again["resumed"], again["was"], again["started"], again["gpus"]) == (True, None, [], {})


def test_resume_leaves_a_timer_that_is_not_enabled_and_others_drop_ins(node) -> None:
    node.enabled = False
    gpu_maintenance.free(NOW)
    theirs = node.root / "units" / f"{paths.UNIT}.d/10-site.conf"
    theirs.write_text("[Unit]\n")
    assert gpu_maintenance.resume()["started"] == []
    assert [path for path in (node.root / "units").rglob("*.conf")] == [theirs]


def test_without_a_driver_the_gpus_stay_free(node) -> None:
    gpu_maintenance.free(NOW)
    (node.root / "driver/gpus").rmdir()
    found = gpu_maintenance.resume()
    assert (found["resumed"], maintenance.held(), found["started"]) == (False, {"since": NOW}, [])
    assert found["problems"][0].startswith("no NVIDIA driver is loaded")


def test_a_table_that_cannot_be_made_is_a_problem_and_the_rest_comes_back(node) -> None:
    gpu_maintenance.free(NOW)
    node.problem = "nvidia-smi --query-gpu: exit code 9"
    found = gpu_maintenance.resume()
    assert found["problems"] == ["the device table could not be made: nvidia-smi --query-gpu: exit code 9"]
    assert (found["resumed"], found["started"]) == (True, [paths.JOB_MAP_TIMER])


@pytest.mark.parametrize("text", ["", "{", "[]", '{"since": 5}'])
def test_a_record_that_cannot_be_read_still_holds(node, text) -> None:
    Path(paths.GPUS_FREED).write_text(text)
    record = maintenance.held()
    assert record == {"since": "an unknown time"}
    assert "dcgm_gpu.resume brings everything back" in maintenance.sentence(record)


def test_a_node_without_a_job_map_can_be_freed_and_resumed(node) -> None:
    (node.root / "conf").unlink()
    assert gpu_maintenance.free(NOW)["free"] is True
    assert gpu_maintenance.resume()["problems"] == []
