"""Names and units of both metric schemas, and by what a page is known to have one of them."""

from __future__ import annotations

import pytest
from superpod_dcgm.base.exposition import highest
from superpod_dcgm.monitoring import metric_names

# key: value of schema 1, the same in base units
VALUES = {
    "sm_clock": (1980, 1.98e9),
    "gpu_temperature": (61, 61),
    "energy": (1_250_000, 1250),
    "gpu_utilization": (97, 0.97),
    "memory_used": (81920, 85899345920),
    "prof_engine": (0.43, 0.43),
    "prof_pcie_tx": (1e9, 1e9),
    "power_throttled": (3_000_000_000, 3),
}
# what is asked for: the expression, without what selects our own targets
EXPRESSIONS: dict[tuple[object, ...], str] = {
    ("power",): "(DCGM_FI_DEV_POWER_USAGE * 1 or DCGM_FI_DEV_BOARD_POWER_WATTS * 1)",
    ("gpu_utilization",): "(DCGM_FI_DEV_GPU_UTIL / 100 or DCGM_FI_DEV_GPU_UTIL_RATIO * 1)",
    ("memory_used",): "(DCGM_FI_DEV_FB_USED * 1048576 or DCGM_FI_DEV_FB_USED_BYTES * 1)",
    ("gpu_utilization", (1,)): "(DCGM_FI_DEV_GPU_UTIL / 100)",
    ("gpu_utilization", (2,)): "(DCGM_FI_DEV_GPU_UTIL_RATIO * 1)",
    ("memory_capacity",): "(DCGM_FI_DEV_FB_CAPACITY_BYTES * 1)",
    ("prof_pcie_tx",): "(DCGM_FI_PROF_PCIE_TX_BYTES * 1)",
    ("energy", (1, 2), 'gpu="0"', "increase({}[5m])"): (
        '(increase(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="0"}[5m]) / 1000 '
        'or increase(DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL{gpu="0"}[5m]) * 1)'
    ),
}


@pytest.mark.parametrize(("key", "values"), VALUES.items())
def test_a_value_of_schema_1_becomes_one_in_base_units(key: str, values: tuple[float, float]) -> None:
    assert values[0] * metric_names.METRICS[key].factor == pytest.approx(values[1])


@pytest.mark.parametrize(("asked", "text"), EXPRESSIONS.items(), ids=map(str, EXPRESSIONS))
def test_an_expression_is_in_base_units_in_each_schema(asked: tuple[str, ...], text: str) -> None:
    found = metric_names.promql(*asked)  # type: ignore[arg-type]
    ours = 'job="dcgm-exporter",cluster!=""'
    assert found.count(f"{{{ours}") == found.count("DCGM_FI_")
    assert found.replace(f"{{{ours}}}", "").replace(f"{ours},", "") == text


def test_a_metric_that_a_schema_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="power_throttled has no name in metric schema 2"):
        metric_names.promql("power_throttled", [metric_names.NEW])


def test_no_name_stands_for_two_metrics_and_units_are_those_of_the_name() -> None:
    for names in (
        [one.old for one in metric_names.METRICS.values()],
        [one.new for one in metric_names.METRICS.values()],
    ):
        assert len([name for name in names if name]) == len({name for name in names if name})
    ends = {"_HERTZ": "hertz", "_CELSIUS": "celsius", "_WATTS": "watts", "_RATIO": "ratio", "_BYTES": "bytes"}
    for one in metric_names.METRICS.values():
        (unit,) = [unit for end, unit in ends.items() if one.new.endswith(end)] or [one.unit]
        assert one.unit.removesuffix("/s") == unit.removesuffix("/s"), one


def test_the_default_counters_of_schema_2_are_as_many_renamed_as_its_release_notes_say() -> None:
    default = list(metric_names.METRICS.values())[:27]
    assert default[-1].old == "DCGM_FI_DRIVER_VERSION"
    assert len([one for one in default if one.old and one.old != one.new]) == 23
    assert len([one for one in default if one.old and one.factor != 1]) == 11


def page(*rows: str) -> str:
    """Rows are a name, and a value where it is not 0."""
    lines = [
        f'{name}{{gpu="0",modelName="A {{}} B"}} {value or 0}'
        for name, _, value in (row.partition(" ") for row in rows)
    ]
    return "\n".join(["# HELP DCGM_FI_DEV_FB_FREE_BYTES x", *lines, "slurm_gpu_job_info 1", ""])


OLD = ("DCGM_FI_DEV_FB_USED 9", "DCGM_FI_DEV_POWER_USAGE 90.5", "DCGM_FI_DEV_GPU_UTIL 97")
NEW = ("DCGM_FI_DEV_FB_USED_BYTES 9", "DCGM_FI_DEV_MEMORY_UTIL_RATIO", "DCGM_FI_DEV_GPU_UTIL_RATIO 0.97")
# rows of the page: its schema, words of the sentence
PAGES: dict[tuple[str, ...], tuple[int, str]] = {
    OLD: (1, ""),
    NEW: (2, ""),
    (): (0, "found: none"),
    OLD[:1]: (0, "too few names by which a metric schema is known (found: DCGM_FI_DEV_FB_USED)"),
    NEW[:1]: (0, "too few"),
    # It is a name of DCGM 4.6 as well, and so are many others.
    ("DCGM_FI_DEV_GPU_UTIL_RATIO 0.97", "DCGM_FI_DEV_BOARD_POWER_WATTS 400", "DCGM_FI_DEV_GPU_TEMP_CELSIUS 60"): (
        0,
        "none",
    ),
    (*NEW[:2], "DCGM_FI_DEV_GPU_UTIL_RATIO 97"): (0, "DCGM_FI_DEV_GPU_UTIL_RATIO stands for per cent in it (up to 97)"),
    (*OLD, "DCGM_FI_DEV_GPU_UTIL_RATIO 1"): (0, "stands for per cent"),
    (*OLD, *NEW): (0, "names of both metric schemas: DCGM_FI_DEV_FB_USED, DCGM_FI_DEV_GPU_UTIL"),
    (*OLD[:2], "DCGM_FI_DEV_SM_CLOCK_HERTZ 1980000000"): (1, ""),
    ("DCGM_FI_DEV_FB_USED Nan", "DCGM_FI_DEV_POWER_USAGE none"): (0, "found: DCGM_FI_DEV_FB_USED)"),
}


@pytest.mark.parametrize(("rows", "wanted"), PAGES.items(), ids=map(str, range(len(PAGES))))
def test_a_page_is_judged_by_several_names(rows: tuple[str, ...], wanted: tuple[int, str]) -> None:
    verdict = metric_names.judge(highest(page(*rows)))
    assert verdict.schema == wanted[0]
    assert wanted[1] in verdict.why and bool(verdict.why) == (not verdict.schema)


def test_a_page_is_held_against_the_schema_of_its_release() -> None:
    old, new, both = (highest(page(*rows)) for rows in (OLD, NEW, (*OLD, *NEW)))
    assert metric_names.disagreement(old, 1) == metric_names.disagreement(new, 2) == ""
    assert metric_names.disagreement(old, 2) == "it shows metric schema 1, and the release has 2"
    assert "both metric schemas" in metric_names.disagreement(both, 1)
    # Whoever asks for few metrics in a file of his own is not accused.
    assert metric_names.disagreement(highest(page(*OLD[:1])), 2) == metric_names.disagreement({}, 2) == ""
