"""dcgm_gpu through Salt's loader: its exit codes, which of our services it starts, and what respects it meanwhile."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import devices, gpu_users, nvidia
from superpod_dcgm.base import maintenance, paths, systemd
from superpod_dcgm.exporter import probe, role_call, service

URL = "http://10.0.0.1:9410/metrics"


class Node:
    """A node whose systemd notes what it is told and whose exporter answers or not."""

    def __init__(self) -> None:
        self.up = set(maintenance.UNITS)
        self.enabled, self.refused, self.silent, self.url = "enabled", False, "", ""

    def systemctl(self, *words: str) -> str:
        if self.refused:
            raise systemd.UnitError("systemctl stop: Access denied")
        self.up = self.up - set(words[1:]) if words[0] == "stop" else self.up
        self.up = self.up | set(words[1:]) if words[0] in ("start", "restart") else self.up
        return ""

    def show(self, unit: str) -> dict[str, str]:
        state = "active" if unit in self.up else "inactive"
        return {"LoadState": "loaded", "ActiveState": state, "UnitFileState": self.enabled}

    def roles(self, names: list[str] | None) -> None:
        """Let the watcher have delivered these roles."""
        Path(paths.ROLES_FILE).write_text(json.dumps({"roles": names}))

    def await_metrics(self, unit: str, url: str, *_others: Any) -> str:
        self.url = url
        return self.silent


@pytest.fixture
def node(loaders: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    # All modules share the context: a test before may have left its exit code there.
    retcode(loaders)
    found = Node()
    places = ("NODE_RUNTIME", "GPUS_FREED", "RUNTIME_UNITS", "JOB_MAP_CONFIG", "ENABLED_FLAG", "MAY_START")
    for name in (*places, "NODE_STATE", "ROLES_FILE", "SERVICE_LOCK", "DEVICES", "DEVICES_STATUS", "UNIT_FILE"):
        monkeypatch.setattr(paths, name, str(tmp_path / name))
    monkeypatch.setattr(nvidia, "PROC", str(tmp_path))
    (tmp_path / "gpus").mkdir()
    (tmp_path / "ENABLED_FLAG").write_text("")
    (tmp_path / "UNIT_FILE").write_text("")
    role_call.remember(paths.UNIT, URL, 60, [], {"source": "bcm", "run_on": ["slurmclient"]})
    found.roles(["slurmclient"])
    monkeypatch.setattr(systemd, "systemctl", found.systemctl)
    monkeypatch.setattr(systemd, "show", found.show)
    monkeypatch.setattr(probe, "await_metrics", found.await_metrics)
    monkeypatch.setattr(service.Unit, "problem", lambda unit: found.await_metrics("", unit.url))
    monkeypatch.setattr(service, "Unit", functools.partial(service.Unit, systemctl=found.systemctl, show=found.show))
    monkeypatch.setattr(gpu_users, "find", list)
    monkeypatch.setattr(devices, "refresh", lambda conf, force: {"problem": ""})
    return found


def retcode(loaders: Any) -> int:
    code = loaders.context.pop("retcode", 0)
    return int(code)


def test_free_and_resume_stop_and_start_what_is_ours(loaders, modules, node, tmp_path) -> None:
    assert modules.dcgm_gpu.free()["free"] is True
    assert (retcode(loaders), node.up) == (0, set())
    assert modules.dcgm_gpu.status()["freed"]["since"]
    found = modules.dcgm_gpu.resume()
    assert (found["started"], found["problems"]) == ([paths.JOB_MAP_TIMER, paths.UNIT], [])
    assert (retcode(loaders), node.up) == (0, {paths.JOB_MAP_TIMER, paths.UNIT})
    assert node.url == URL
    assert (tmp_path / "MAY_START").exists()
    assert modules.dcgm_gpu.resume()["started"] == []


def test_the_exit_code_says_that_somebody_still_uses_a_gpu(loaders, modules, node, monkeypatch) -> None:
    user = gpu_users.User(7, "nv-hostengine", "root", "", "nvidia-dcgm.service", ("/dev/nvidia0",))
    monkeypatch.setattr(gpu_users, "find", lambda: [user])
    assert modules.dcgm_gpu.free(test=True)["free"] is False
    assert (retcode(loaders), node.up) == (0, set(maintenance.UNITS))
    found = modules.dcgm_gpu.free()
    assert found["comment"][-1] == (
        "a GPU is used by nv-hostengine (pid 7, user root): systemctl stop nvidia-dcgm.service"
    )
    assert retcode(loaders) == 1


# name: (roles that were delivered meanwhile, whether it started at boot before, whether it is started)
MEANWHILE = {
    "as before": (["slurmclient"], True, True),
    "the role went": (["boot"], True, False),
    "the role came": (["slurmclient"], False, True),
    "unknown, it ran before": (None, True, True),
    "unknown, it did not": (None, False, False),
}


@pytest.mark.parametrize(("names", "before", "starts"), MEANWHILE.values(), ids=MEANWHILE.keys())
def test_the_roles_as_they_are_decide_whether_the_exporter_comes_back(
    loaders, modules, node, tmp_path, names, before, starts
) -> None:
    modules.dcgm_gpu.free()
    node.roles(names)
    if not before:
        (tmp_path / "ENABLED_FLAG").unlink()
    foretold = modules.dcgm_gpu.resume(test=True)["started"]
    assert (paths.UNIT in foretold, paths.UNIT in node.up) == (starts, False)
    assert (modules.dcgm_gpu.resume()["started"], paths.UNIT in node.up) == (foretold, starts)
    assert retcode(loaders) == 0


def test_an_exporter_that_does_not_answer_is_told(loaders, modules, node) -> None:
    modules.dcgm_gpu.free()
    node.silent = "no answer"
    found = modules.dcgm_gpu.resume()
    assert found["problems"] == ["dcgm-exporter.service is started and does not answer: no answer"]
    assert retcode(loaders) == 1


def test_without_a_driver_nothing_is_started(loaders, modules, node, tmp_path) -> None:
    modules.dcgm_gpu.free()
    (tmp_path / "gpus").rmdir()
    assert "no NVIDIA driver" in modules.dcgm_gpu.resume()["problems"][0]
    assert (retcode(loaders), node.up, bool(maintenance.held())) == (1, set(), True)


def test_a_systemd_that_refuses_is_an_error(modules, node) -> None:
    node.refused = True
    for function in (modules.dcgm_gpu.free, modules.dcgm_gpu.resume):
        with pytest.raises(CommandExecutionError, match="Access denied"):
            function()


def test_states_and_modules_leave_gpus_alone_that_are_free(modules, states, node) -> None:
    maintenance.begin("2026-11-27T02:00:00Z")
    sentence = "free for maintenance since 2026-11-27T02:00:00Z; dcgm_gpu.resume brings everything back"
    for test in (True, False):
        ret = states.dcgm_devices.current("table", test=test)
        assert (ret.result, ret.changes, sentence in ret.comment) == (True, {}, True)
    with pytest.raises(CommandExecutionError, match=r"dcgm_gpu\.resume"):
        modules.dcgm_devices.refresh()
    roles = {"source": "none", "run_on": []}
    ret = states.dcgm_service.follows_roles(paths.UNIT, release="1-2", roles=roles, url="http://127.0.0.1:9400/metrics")
    assert (ret.result, ret.changes, sentence in ret.comment) == (True, {}, True)
