"""The unit that makes the device table: when it runs, and that slurmd never waits long for it."""

from __future__ import annotations

import re

import jinja2
import pytest
from superpod_dcgm.agent import nvidia
from superpod_dcgm.base import paths
from superpod_dcgm.config import units

ENGINES = ["nvidia-dcgm.service", "cuda-dcgm.service"]


LIMITS = {"nvidia_smi": 20, "slurmd": 10, "controller": 10}


def _unit(repository, name: str) -> dict[str, list[str]]:
    text = (repository / f"salt/dcgm/agent/files/{name}.jinja").read_text()
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined)
    seconds = units.agent_seconds(LIMITS)
    rendered = template.render(python="/opt/python", code=paths.NODE_CODE, engine_units=ENGINES, seconds=seconds)
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", rendered, re.MULTILINE):
        found.setdefault(key, []).extend(value.split())
    return found


@pytest.fixture
def unit(repository) -> dict[str, list[str]]:
    return _unit(repository, paths.DEVICES_UNIT)


def test_it_runs_at_boot_and_at_each_start_of_an_engine_or_of_slurmd(unit) -> None:
    assert unit["WantedBy"] == ["multi-user.target", "slurmd.service", *ENGINES]
    assert unit["After"][-2:] == ENGINES
    assert (unit["Type"], "RemainAfterExit" in unit, unit["StartLimitIntervalSec"]) == (["oneshot"], False, ["0"])
    assert unit["ExecStart"] == ["/opt/python", "-B", "-m", "superpod_dcgm.agent", "devices"]
    assert unit["WorkingDirectory"] == [paths.NODE_CODE]


def test_no_unit_of_ours_can_be_started_too_often(repository) -> None:
    """systemd's own limit, five starts in ten seconds, would refuse a start that somebody asked for."""
    units = sorted(repository.glob("salt/dcgm/**/*.service.jinja"))
    assert len(units) >= 5
    assert [unit.name for unit in units if "\nStartLimitIntervalSec=0\n" not in unit.read_text()] == []


def test_slurmd_starts_after_it_and_its_time_follows_from_the_limits(unit, repository) -> None:
    assert unit["Before"] == ["slurmd.service"]
    # Three answers of nvidia-smi and one of slurmd fit in, and a fourth that hangs does not make slurmd wait.
    assert 3 * LIMITS["nvidia_smi"] + LIMITS["slurmd"] < int(unit["TimeoutStartSec"][0]) <= 100
    assert int(unit["TimeoutStopSec"][0]) <= 2
    tick = _unit(repository, paths.JOB_MAP_UNIT)
    assert int(tick["TimeoutStartSec"][0]) > int(unit["TimeoutStartSec"][0]) + 20 + LIMITS["controller"]
    assert {key: LIMITS[key] for key in nvidia.SECONDS} == nvidia.SECONDS


def test_slurmd_is_asked_right_after_its_start(repository) -> None:
    tick = _unit(repository, paths.JOB_MAP_UNIT)
    assert tick["WantedBy"] == ["slurmd.service"]
    assert "slurmd.service" in tick["After"]


@pytest.mark.parametrize("name", [paths.DEVICES_UNIT, paths.JOB_MAP_UNIT])
def test_the_slurmd_that_runs_can_be_found_by_its_process_and_run_from_a_home(repository, name) -> None:
    found = _unit(repository, name)
    assert "CAP_SYS_PTRACE" in found["CapabilityBoundingSet"]
    assert found["ProtectHome"] == ["read-only"]


def test_the_table_outlives_the_unit_that_made_it(unit) -> None:
    assert f"/run/{unit['RuntimeDirectory'][0]}" == paths.NODE_RUNTIME
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]


def test_slurmd_can_drop_its_groups_before_it_answers(unit) -> None:
    assert {"CAP_SETGID", "CAP_SETUID"} <= set(unit["CapabilityBoundingSet"])
