"""Recording rules and hand calculations agree, in both metric schemas and in Prometheus 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import rule_cases as cases
import rule_series as scenario
from superpod_dcgm.monitoring import jobstats, recording

from tests import promtools

Groups = list[dict[str, Any]]
SETTINGS = recording.Settings()
# What the nodes have: metric schema 1, 2, or the one and the other side by side.
SCHEMAS: dict[str, Callable[[scenario.Device], int]] = {
    "schema 1": lambda device: 1,
    "schema 2": lambda device: 2,
    "both": lambda device: 1 + int(device.host[1:]) % 2,
}
ALL = {**cases.CASES, **cases.CASES_OF_JOBSTATS}


def groups(settings: recording.Settings = SETTINGS) -> Groups:
    return [*recording.groups(settings), *(jobstats.groups() if settings.owners else [])]


def question(case: cases.Case) -> dict[str, Any]:
    """Return a case as promtool takes it: whether the sum is as it should be, or that there is no row."""
    if case.value is None:
        return {"expr": case.expression, "eval_time": case.at, "exp_samples": []}
    text = f"abs(sum({case.expression}) - {case.value!r}) <= bool {case.off!r}"
    return {"expr": text, "eval_time": case.at, "exp_samples": [{"labels": "{}", "value": 1}]}


class Bench:
    """Has a promtool ask cases of rules; ``series`` are what it has of one kind of nodes."""

    def __init__(self, folder: Path, schema: str, labelled: bool = True, told: bool = True) -> None:
        self.folder = folder
        found = scenario.series(cases.DEVICES, SCHEMAS[schema], labelled)
        self.series = [one for one in found if told or not one["series"].startswith("slurm_gpu_job_info")]

    def ask(self, major: str, rules: Groups, asked: Iterable[cases.Case]) -> str:
        (self.folder / "rules.json").write_text(json.dumps({"groups": rules}))
        test = {"interval": f"{scenario.STEP}s", "input_series": self.series}
        test["promql_expr_test"] = [question(case) for case in asked]
        file = {"rule_files": ["rules.json"], "evaluation_interval": f"{recording.INTERVAL}s", "tests": [test]}
        (self.folder / "test.json").write_text(json.dumps(file))
        return promtools.run(major, self.folder / "test.json")


def every(names: Iterable[str] = ALL) -> list[cases.Case]:
    return [case for name in names for case in ALL[name]]


@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("major", promtools.MAJORS)
def test_rules_and_hand_calculations_agree(major: str, schema: str, tmp_path: Path) -> None:
    assert Bench(tmp_path, schema).ask(major, groups(), every()) == ""
