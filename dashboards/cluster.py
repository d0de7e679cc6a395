"""The dashboard of clusters: how much there is, in use, drawn and wrong, and which nodes and jobs stand out."""

from __future__ import annotations

from dashboards import links, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, THIRD, Query, heat, lines, number, numbers, steps
from dashboards.queries import CLUSTERS, KWH, OWNER, amount, firing, mean_of_clusters, or_zero, own, ratio, rows
from dashboards.tables import Column, table_of
from dashboards.variables import clusters
from dashboards.words import BAD, SEVERITY_COLOURS, WARNING

_UP = f"max by (cluster, host) ({own('up', CLUSTERS)})"
_RULES = f"sum({rows('cluster:gpus:count', CLUSTERS)})"
_FEW = 20


def _sum(record: str) -> str:
    return f"sum({rows(f'cluster:{record}', CLUSTERS)})"


def _each(record: str) -> str:
    return rows(f"cluster:{record}", CLUSTERS)


def _alerts(severity: str) -> str:
    matchers = f'{CLUSTERS},severity="{severity}"'
    return or_zero(f"count({firing(matchers)})", _RULES)


NOW = numbers(
    number("Nodes answering", units.COUNT, Query(f"sum({_UP})")),
    number(
        *("No answer", units.COUNT, Query(f"sum(1 - {_UP})")),
        about="Nodes: targets of Prometheus whose dcgm-exporter cannot be scraped.",
        colours=steps((1, BAD)),
    ),
    number("GPUs", units.COUNT, Query(_sum("gpus:count"))),
    number("GPUs in jobs", units.RATIO, Query(ratio(_sum("gpus_allocated:sum"), _sum("gpus:count")))),
    number(
        *("Utilization", units.RATIO, Query(mean_of_clusters("cluster:utilization_ratio:avg"))),
        about="Of those whose utilization is known, in jobs or not.",
    ),
    number("Power", units.WATTS, Query(_sum("power_watts:sum")), about="Of the boards of all GPUs."),
    number(
        *("Critical", units.COUNT),
        Query(_alerts("critical")),
        about="Alerts that fire.",
        colours=steps((1, BAD)),
    ),
    number(
        *("Warnings", units.COUNT),
        Query(_alerts("warning")),
        about="Alerts that fire.",
        colours=steps((1, WARNING)),
    ),
)
EACH = table_of(
    "Clusters",
    ["cluster"],
    Column("GPUs", units.COUNT, _each("gpus:count")),
    Column("Nodes that answer", units.COUNT, f"sum by (cluster) ({_UP})"),
    Column("In jobs", units.RATIO, f"{_each('gpus_allocated:sum')} / {_each('gpus:count')}", bar=True),
    Column("Utilization", units.RATIO, _each("utilization_ratio:avg"), bar=True),
    Column(
        *("Memory in use", units.RATIO, f"{_each('memory_used_bytes:sum')} / {_each('memory_capacity_bytes:sum')}"),
        bar=True,
    ),
    Column("Power", units.WATTS, _each("power_watts:sum")),
    Column("Energy", units.KWH, amount("cluster:energy_joules:increase1m", CLUSTERS, "cluster") + KWH),
    Column("Hottest GPU", units.CELSIUS, f"max by (cluster) ({rows('node:temperature_celsius:max', CLUSTERS)})"),
    about="Energy: of the time that is shown.",
    height=5,
)
TIME = [
    lines(
        *("GPUs in jobs", units.MANY),
        Query(_sum("gpus:count"), "there are"),
        Query(_sum("gpus_allocated:sum"), "in jobs"),
        Query(f"{_sum('gpu_hours_used:increase1m')} * 60", "used"),
        about="Used: in jobs, times utilization. Between the lines is what is free, and what is held and not used or"
        " not known.",
    ),
    lines(
        *("Utilization", units.RATIO, Query(_each("utilization_ratio:avg"), "{{cluster}}")),
        about="Mean of all GPUs whose utilization is known.",
    ),
    lines("Power", units.WATTS, Query(_each("power_watts:sum"), "{{cluster}}"), width=THIRD),
    lines("Memory in use", units.BYTES, Query(_each("memory_used_bytes:sum"), "{{cluster}}"), width=THIRD),
    lines(
        *("Alerts that fire", units.COUNT, Query(f"count by (severity) ({firing(CLUSTERS)})", "{{severity}}")),
        width=THIRD,
        stacked=True,
        colours=SEVERITY_COLOURS,
        nothing=NONE,
    ),
]
SPREAD = [
    heat(
        *("How busy GPUs are", units.RATIO, f"sum by (le) ({_each('gpu_utilization_ratio:bucket')})"),
        about="How many GPUs and instances have a utilization up to each bound, over time.",
    ),
    heat(
        *("How hot GPUs are", units.CELSIUS, f"sum by (le) ({_each('gpu_temperature_celsius:bucket')})"),
        about="How many GPUs have a temperature up to each bound, over time.",
    ),
]


def _of(record: str, chosen: str, by: str = "cluster, host") -> str:
    return f"{rows(record, CLUSTERS)} and on ({by}) {chosen}"


_HOT = f"topk({_FEW}, {rows('node:temperature_celsius:max', CLUSTERS)})"
_HELD = f"({rows('node:gpus_allocated:sum', CLUSTERS)} > 0)"
_LAZY = f"bottomk({_FEW}, {rows('node:utilization_ratio:avg', CLUSTERS)} and on (cluster, host) {_HELD})"
_DOWN = f"topk({_FEW}, ({_UP} == 0) + 1)"
_LARGE = f"topk({_FEW}, {rows('job:gpus_allocated:sum', CLUSTERS)})"
_JOB = f"cluster, hpc_job, {OWNER}"
NODES = [
    table_of(
        "Hottest nodes",
        ["cluster", "host"],
        Column("Hottest GPU", units.CELSIUS, _HOT, colours=((80, WARNING), (87, BAD))),
        Column("Power", units.WATTS, _of("node:power_watts:sum", _HOT)),
        Column("Utilization", units.RATIO, _of("node:utilization_ratio:avg", _HOT), bar=True),
        width=HALF,
    ),
    table_of(
        "Nodes with jobs, least busy first",
        ["cluster", "host"],
        Column("Utilization", units.RATIO, _LAZY, bar=True),
        Column("GPUs in jobs", units.COUNT, _of("node:gpus_allocated:sum", _LAZY)),
        Column("Power", units.WATTS, _of("node:power_watts:sum", _LAZY)),
        width=HALF,
        least_first=True,
    ),
]
JOBS = [
    table_of(
        "Largest jobs",
        ["cluster", "hpc_job", "user", "account", "partition"],
        Column("GPUs", units.COUNT, _LARGE),
        Column("Utilization", units.RATIO, _of("job:utilization_ratio:avg", _LARGE, _JOB), bar=True),
        Column("Power", units.WATTS, _of("job:power_watts:sum", _LARGE, _JOB)),
        Column("Memory", units.BYTES, _of("job:memory_used_bytes:sum", _LARGE, _JOB)),
        width=THIRD * 2,
    ),
    table_of(
        "Nodes without an answer",
        ["cluster", "host"],
        Column("Exporters", units.COUNT, _DOWN),
        about=f"Up to {_FEW}.",
        width=THIRD,
        nothing=NONE,
    ),
]
BOARD = Board(
    *(links.CLUSTER, "Cluster"),
    about="Use, power, heat and alerts of clusters, and the nodes and jobs that stand out.",
    time="6h",
    refresh="1m",
    variables=[clusters()],
    first=[*NOW, EACH],
    rows=[Row("Over time", TIME), Row("All GPUs", SPREAD), Row("Nodes", NODES), Row("Jobs", JOBS)],
)
