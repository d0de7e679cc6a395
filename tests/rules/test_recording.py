"""Recording rules and hand calculations agree, in both metric schemas and in Prometheus 2 and 3."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import rule_cases as cases
import rule_series as scenario
from superpod_dcgm.monitoring import jobstats, metric_names, recording

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


def without_ours(text: str) -> str:
    """Return expressions without what selects our own targets, so that they can be read."""
    return text.replace(f"{{{metric_names.OURS}}}", "").replace(f"{metric_names.OURS},", "")


class Bench:
    """Has a promtool ask cases of rules; ``series`` are what it has of one kind of nodes."""

    def __init__(self, folder: Path, schema: str, labelled: bool = True, told: bool = True) -> None:
        self.folder = folder
        found = scenario.collect(cases.DEVICES, SCHEMAS[schema], labelled).texts()
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


def test_without_our_metrics_the_label_tells_who_holds_a_gpu(tmp_path: Path) -> None:
    names = (
        "a job that uses one of two GPUs",
        "its GPUs",
        "two jobs on one GPU",
        "instances of a divided GPU",
        "jobstats",
    )
    rules = groups(recording.Settings(owners="label"))
    assert Bench(tmp_path, "both", told=False).ask("3", rules, every(names)) == ""


def test_without_the_label_our_metrics_tell_who_holds_a_gpu(tmp_path: Path) -> None:
    assert Bench(tmp_path, "both", labelled=False).ask("3", groups(), every()) == ""


@pytest.mark.parametrize("major", promtools.MAJORS)
@pytest.mark.parametrize("owners", ["info", "label", ""])
def test_promtool_finds_nothing_in_the_rules(major: str, owners: str, tmp_path: Path) -> None:
    (tmp_path / "rules.json").write_text(json.dumps({"groups": groups(recording.Settings(owners=owners))}))
    assert promtools.check(major, tmp_path / "rules.json") == ""


def test_each_rule_has_a_case_that_a_fifth_more_would_break() -> None:
    records = {rule["record"] for group in groups() for rule in group["rules"]}
    exact = {case.expression for case in every() if case.value and case.off < abs(case.value) / 5}
    assert [record for record in sorted(records) if not any(f"{record}{{" in text for text in exact)] == []


def test_nobody_is_told_of_where_nothing_tells_who_holds_a_gpu() -> None:
    text = without_ours(json.dumps(groups(recording.Settings(owners=""))).replace('\\"', '"'))
    assert "job" not in text and "node:power_watts:sum" in text
    assert '"user' not in json.dumps(groups(recording.Settings(owners="label")))


# What is broken on purpose: text of an expression, what stands there instead, cases that must find it.
MUTANTS: dict[str, tuple[str, str, str]] = {
    "utilization in per cent": (" / 100", " * 1", "profiling that died"),
    "utilization of schema 2 in per cent": (
        '_RATIO{GPU_I_ID=""}) * 1',
        '_RATIO{GPU_I_ID=""}) / 100',
        "profiling that died",
    ),
    "MiB as MB": (" * 1048576", " * 1000000", "its GPUs"),
    "bytes of schema 2 as MiB": ("FB_USED_BYTES) * 1", "FB_USED_BYTES) * 1048576", "its GPUs"),
    "millijoules": (" / 1000 or", " * 1 or", "a counter that is reset"),
    "joules of schema 2 as millijoules": ("JOULES_TOTAL) * 1", "JOULES_TOTAL) / 1000", "a counter that is reset"),
    "minutes as seconds": ("/ 60\n", "/ 3600\n", "a job that uses"),
    "another range": ("CONSUMPTION offset 1m", "CONSUMPTION offset 2m", "a counter that is reset"),
    "a counter that falls": (" >= 0)", ")", "a counter that is reset"),
    "a counter that leaps": (" < 1000000", "", "a counter that is reset"),
    "no watts without a counter": (
        "\nor (max by (cluster, host, gpu) (DCGM_FI_DEV_POWER_USAGE)",
        "\nor (max by (cluster, host, gpu) (X)",
        "a counter that is reset",
    ),
    "no split": (" group_left () count by", " group_left () group by", "two jobs"),
    "a job for each of its owners": (
        "topk by (cluster, host, gpu, GPU_I_ID, hpc_job)",
        "topk by (cluster, host, gpu, GPU_I_ID, hpc_job, user)",
        "two who say",
    ),
    "no job": (
        "count by (cluster, host, gpu, GPU_I_ID) (group by (cluster, host, gpu, GPU_I_ID, hpc_job)",
        "count by (cluster, host, gpu, GPU_I_ID) (group by (cluster, host, gpu, GPU_I_ID)",
        "two jobs",
    ),
    "no cluster": ("(cluster, host, gpu)", "(host, gpu)", "the same job id"),
    "no cluster of jobs": ("(cluster, hpc_job,", "(hpc_job,", "the same job id"),
    "no host": ("(cluster, host, gpu)", "(cluster, gpu)", "its GPUs"),
    "no instance": ("(cluster, host, gpu, GPU_I_ID)", "(cluster, host, gpu)", "instances of a divided"),
    "eight slices": (" / 7", " / 8", "instances of a divided"),
    "a 3g of two slices": (" * 3 / 7", " * 2 / 7", "instances of a divided"),
    "a GPU for each instance": (" / 7", "", "instances of a divided"),
    "the first minute": (
        " and on (cluster, host, gpu, GPU_I_ID, hpc_job) gpu_job:gpus_allocated:split offset 1m",
        "",
        "the first minute",
    ),
    "profiling that is there": (" > 0)\nor", " >= 0)\nor", "profiling that died"),
    "no other number": ("GPU_UTIL{", "GPU_UTIL_{", "profiling that died"),
    "any 0 of an instance": (
        " and on (cluster, host, gpu) ((max by",
        " or on (cluster, host, gpu) ((max by",
        "instances whose profiling",
    ),
    "another idle power": ("* 0 + 100", "* 0 + 1000", "instances whose profiling"),
    "another part of the limit": ("* 0.2", "* 0.1", "instances whose profiling"),
    "siblings": (
        '_RATIO{GPU_I_ID!=""}) * 1) > 0 or',
        '_RATIO{GPU_I_ID!=""}) * 1) > 1 or',
        "instances of a divided",
    ),
    "idle from 2 %": ("< 0.01", "< 0.9", "a job that uses"),
    "unmeasured hours as idle": (
        "gpu_job:gpus_measured:split\nand on",
        "gpu_job:gpus_allocated:split\nunless on",
        "profiling that died",
    ),
    "users by account": ("(cluster, user)", "(cluster, account)", "users"),
    "watts of jobstats": (" * 1000", " * 1", "jobstats"),
    "ratios of jobstats": (":max * 100", ":max * 1", "jobstats"),
}


def needed(rules: Groups, asked: list[cases.Case]) -> Groups:
    """Return the rules that cases need, those included that others need."""
    every_rule = [rule for group in rules for rule in group["rules"]]
    texts, kept = [case.expression for case in asked], list[dict[str, str]]()
    for rule in reversed(every_rule):
        # Each is behind those that it needs.
        if any(rule["record"] in text for text in texts):
            kept.insert(0, rule)
            texts.append(rule["expr"])
    return [{"name": "needed", "rules": kept}]


@pytest.fixture(scope="module")
def benches(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bench]:
    return {schema: Bench(tmp_path_factory.mktemp("bench"), schema) for schema in ("schema 1", "schema 2")}


@pytest.mark.parametrize(("there", "instead", "name"), MUTANTS.values(), ids=MUTANTS.keys())
def test_a_rule_that_is_broken_on_purpose_is_found(
    there: str, instead: str, name: str, benches: dict[str, Bench], request: pytest.FixtureRequest
) -> None:
    asked = every([one for one in ALL if one.startswith(name)])
    kept = json.loads(json.dumps(needed(groups(), asked)))
    for rule in kept[0]["rules"]:
        rule["expr"] = without_ours(rule["expr"])
    bench = benches["schema 2" if "schema 2" in request.node.name else "schema 1"]
    broken = [{**rule, "expr": f"{rule['expr']}\n".replace(there, instead)} for rule in kept[0]["rules"]]
    assert [rule["expr"].strip() for rule in broken] != [rule["expr"] for rule in kept[0]["rules"]]
    found = bench.ask("2", [{"name": "broken", "rules": broken}], asked)
    assert "FAILED" in found and "parse error" not in found


@pytest.mark.parametrize("job", ["nvidia-dcgm-exporter", "dcgm-exporter"])
@pytest.mark.parametrize("major", promtools.MAJORS)
def test_exporters_of_others_are_not_one_node_without_a_name(major: str, job: str, tmp_path: Path) -> None:
    bench = Bench(tmp_path, "schema 1")
    place = f'gpu="0",job="{job}",Hostname="k1"'
    names = ("DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_GPU_UTIL")
    bench.series = [
        {"series": f'{name}{{{place},instance="{host}"}}', "values": "50x40"} for name in names for host in "ab"
    ]
    assert bench.ask(major, groups(), [cases.Case('{__name__=~".+:.+|nvidia_.*"}', "10m", None)]) == ""
