"""The dashboard of efficiency: what became of the GPU hours and of the energy that there were."""

from __future__ import annotations

from dashboards import links, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, WHOLE, Query, columns, lines, number, numbers, steps, words
from dashboards.queries import CLUSTERS, KWH, MOST, OWNER, RANGE, amount, leading, ratio, rows
from dashboards.tables import Column, table_of
from dashboards.variables import clusters
from dashboards.words import BAD, GOOD, WARNING

_NOTE = """\
GPU hours there were = **free** + held by jobs; held = **used** (times utilization) + **not used** + **not known** (no
sample of it). Idle hours are those parts of *not used* in which a GPU did nothing at all.
"""
_BAR = "$__interval"


def _there(time: str = RANGE) -> str:
    return f"{amount('cluster:gpus:count', CLUSTERS, time=time)} / 60"


def _hours(kind: str, time: str = RANGE) -> str:
    return amount(f"cluster:gpu_hours_{kind}:increase1m", CLUSTERS, time=time)


def _energy(record: str = "energy_joules", time: str = RANGE) -> str:
    return amount(f"cluster:{record}:increase1m", CLUSTERS, time=time) + KWH


NOW = numbers(
    number("GPU hours", units.HOURS, Query(_there()), about="That there were."),
    number(
        *("Held by jobs", units.RATIO, Query(ratio(_hours("allocated"), f"({_there()})"))),
        colours=steps((0.5, WARNING), (0.8, GOOD), first=BAD),
    ),
    number(
        *("Utilization", units.RATIO, Query(ratio(_hours("used"), _hours("measured")))),
        about="Mean of the GPU hours that jobs held and of which it is known.",
        colours=steps((0.2, WARNING), (0.5, GOOD), first=BAD),
    ),
    number(
        *("Coverage", units.RATIO, Query(ratio(_hours("measured"), _hours("allocated")))),
        about="Part of what jobs held of which the utilization is known.",
        colours=steps((0.5, WARNING), (0.9, GOOD), first=BAD),
    ),
    number("Idle GPU hours", units.HOURS, Query(_hours("idle")), about="Held by jobs, and known to be idle."),
    number("Energy", units.KWH, Query(_energy())),
    number(
        *("Not in jobs", units.RATIO),
        Query(ratio(_energy("energy_joules_unallocated"), f"({_energy()})")),
        about="Energy of GPUs and slices that no job held.",
    ),
    number(
        *("Per used hour", units.KWH, Query(ratio(_energy(), _hours("used")))),
        about="All energy, through GPU hours times utilization.",
    ),
)
# Rates are of sums: GPUs are added before they are divided by time.
TIME = [
    columns(
        *("What became of GPU hours", units.HOURS, Query(_hours("used", _BAR), "used")),
        Query(f"{_hours('measured', _BAR)} - {_hours('used', _BAR)}", "not used"),
        Query(f"{_hours('allocated', _BAR)} - {_hours('measured', _BAR)}", "not known"),
        Query(f"{_there(_BAR)} - {_hours('allocated', _BAR)}", "free"),
        every="1h",
        width=WHOLE,
        colours={"used": GOOD, "not used": WARNING, "not known": "purple", "free": "super-light-blue"},
    ),
    columns(
        *("Energy", units.KWH),
        Query(f"{_energy(time=_BAR)} - {_energy('energy_joules_unallocated', _BAR)}", "of jobs"),
        Query(_energy("energy_joules_unallocated", _BAR), "without a job"),
        every="1h",
    ),
    lines(
        *("Utilization", units.RATIO),
        Query(f"{rows('cluster:utilization_ratio:avg', CLUSTERS)}", "{{cluster}}, all GPUs"),
        about="Mean of all GPUs, in jobs or not.",
    ),
]


def _of(level: str, kind: str) -> str:
    return amount(f"{level}:gpu_hours_{kind}:increase1m", CLUSTERS, f"cluster, {level}")


def _columns(level: str) -> list[Column]:
    held, measured, used, idle = (_of(level, kind) for kind in ("allocated", "measured", "used", "idle"))
    first = f"topk({MOST}, {held})"
    return [
        Column("GPU hours", units.HOURS, first),
        Column("Utilization", units.RATIO, f"{ratio(used, measured)} and {first}", bar=True),
        Column("Coverage", units.RATIO, f"{ratio(measured, held)} and {first}"),
        Column("Not used", units.HOURS, f"{measured} - {used} and {first}"),
        Column("Idle", units.HOURS, f"{idle} and {first}"),
    ]


_JOB = f"cluster, hpc_job, {OWNER}"


def _job(kind: str) -> str:
    return amount(f"job:gpu_hours_{kind}:increase1m", CLUSTERS, _JOB)


WASTE = [
    table_of(
        "Jobs with most idle GPU hours",
        ["cluster", "hpc_job", "user", "account", "partition"],
        Column(
            *("Idle GPU hours", units.HOURS, f"topk(20, {_job('idle')} > 0)"),
            colours=((1, WARNING), (100, BAD)),
        ),
        about="Held by a job, and known to be idle.",
        nothing=NONE,
        last="24h",
    ),
]
WHO = [
    table_of("Partitions", ["cluster", "partition"], *_columns("partition"), width=HALF),
    table_of("Accounts", ["cluster", "account"], *_columns("account"), width=HALF),
    lines(
        *("Utilization of partitions", units.RATIO),
        Query(
            leading(
                rows("partition:utilization_ratio:avg", CLUSTERS), "cluster, partition", _of("partition", "allocated")
            ),
            "{{cluster}} {{partition}}",
        ),
        about="Those 10 with most GPU hours.",
        width=WHOLE,
    ),
]
BOARD = Board(
    *(links.FLEET, "Fleet efficiency"),
    about="What became of the GPU hours and the energy of clusters: used, held and not used, free.",
    time="7d",
    refresh="5m",
    variables=[clusters()],
    first=[words(_NOTE, 2, WHOLE), *NOW],
    rows=[Row("Over time", TIME), Row("Waste", WASTE), Row("Partitions and accounts", WHO)],
)
