"""The unit that makes the device table: when it runs, and that slurmd never waits long for it."""

from __future__ import annotations

import re

import jinja2
import pytest
from superpod_dcgm.agent import devices
from superpod_dcgm.base import paths

ENGINES = ["nvidia-dcgm.service", "cuda-dcgm.service"]


@pytest.fixture
def unit(repository) -> dict[str, list[str]]:
    text = (repository / "salt/dcgm/agent/files/dcgm-devices.service.jinja").read_text()
    template = jinja2.Template(text, undefined=jinja2.StrictUndefined)
    rendered = template.render(python="/opt/python", code=paths.NODE_CODE, engine_units=ENGINES)
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", rendered, re.MULTILINE):
        found.setdefault(key, []).extend(value.split())
    return found


def test_it_runs_at_boot_and_at_each_start_of_an_engine_or_of_slurmd(unit) -> None:
    assert unit["WantedBy"] == ["multi-user.target", "slurmd.service", *ENGINES]
    assert unit["After"][-2:] == ENGINES
    assert (unit["Type"], "RemainAfterExit" in unit, unit["StartLimitIntervalSec"]) == (["oneshot"], False, ["0"])
    assert unit["ExecStart"] == ["/opt/python", "-B", "-m", "superpod_dcgm.agent", "devices"]
    assert unit["WorkingDirectory"] == [paths.NODE_CODE]


def test_slurmd_starts_after_it_and_never_waits_long(unit) -> None:
    assert unit["Before"] == ["slurmd.service"]
    assert devices._SECONDS < int(unit["TimeoutStartSec"][0]) <= 15
    assert int(unit["TimeoutStopSec"][0]) <= 2


def test_the_table_outlives_the_unit_that_made_it(unit) -> None:
    assert f"/run/{unit['RuntimeDirectory'][0]}" == paths.NODE_RUNTIME
    assert unit["RuntimeDirectoryPreserve"] == ["yes"]


def test_slurmd_can_drop_its_groups_before_it_answers(unit) -> None:
    assert {"CAP_SETGID", "CAP_SETUID"} <= set(unit["CapabilityBoundingSet"])
