"""Which rule files a configuration means, and what the rules in them depend on."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import resolve
from superpod_dcgm.monitoring import ownership, rule_files

ROOT = Path(__file__).parents[3] / "salt/dcgm"
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)


def configuration(**pillar: Any) -> dict[str, Any]:
    found: dict[str, Any] = resolve.configuration(copy.deepcopy(DEFAULTS), SCHEMA, COMPATIBILITY, pillar)
    return found


# pillar: the files, and from where it is known who holds a GPU
PILLARS: list[tuple[dict[str, Any], list[str], str]] = [
    ({}, [rule_files.RECORDING, rule_files.ALERTS], "info"),
    ({"rules": {"enabled": False, "jobstats": True}}, [rule_files.ALERTS], "info"),
    ({"alerts": {"enabled": False}}, [rule_files.RECORDING], "info"),
    ({"alerts": {"enabled": False}, "rules": {"enabled": False}}, [], "info"),
    ({"rules": {"jobstats": True}}, [rule_files.RECORDING, rule_files.JOBSTATS, rule_files.ALERTS], "info"),
    ({"job_map": {"users": False}}, [rule_files.RECORDING, rule_files.ALERTS], "label"),
    ({"metrics": {"enabled": False}}, [rule_files.RECORDING, rule_files.ALERTS], "label"),
    (
        {"job_map": {"users": False, "label": False}, "rules": {"jobstats": True}},
        *([rule_files.RECORDING, rule_files.ALERTS], ""),
    ),
]


@pytest.mark.parametrize(("pillar", "names", "owners"), PILLARS, ids=map(str, range(len(PILLARS))))
def test_the_files_follow_from_the_pillar(pillar: dict[str, Any], names: list[str], owners: str) -> None:
    found = configuration(**pillar)
    assert list(rule_files.rule_files(found)) == names
    assert rule_files.owners(found) == owners


def test_a_file_is_ours_and_has_no_anchors_and_readable_expressions() -> None:
    text = rule_files.rule_files(configuration())[rule_files.RECORDING]
    assert text.startswith(ownership.MARK) and "&id" not in text and "expr: |-\n" in text
    (group,) = yaml.safe_load(text)["groups"]
    assert group["interval"] == "60s" and all(rule["record"].count(":") == 2 for rule in group["rules"])


def test_thresholds_are_those_of_the_pillar() -> None:
    text = rule_files.rule_files(configuration(rules={"idle_utilization": 2.5, "idle_power": 150}))[
        rule_files.RECORDING
    ]
    assert "gpu:utilization_ratio:max < 0.025\n" in text and "* 0 + 150)" in text
