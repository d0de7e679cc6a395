"""The dashboard of a single job: whose, where, how well it uses its GPUs, and what happened on its nodes meanwhile."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.builders import prometheus

from dashboards import links, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, THIRD, WHOLE, Query, lines, number, numbers, steps, words
from dashboards.queries import BOARD as OF_GPU
from dashboards.queries import (
    DEVICE,
    IN_CLUSTER,
    JOB,
    KWH,
    MOST,
    OWNER,
    RANGE,
    amount,
    few,
    firing,
    minutes,
    or_zero,
    ratio,
    raw,
    rows,
    xids,
)
from dashboards.tables import Column, table_of
from dashboards.variables import DATASOURCE, cluster, hosts_of_job, job
from dashboards.words import BAD, GOOD, SEVERITIES, WARNING, XIDS

# The job's rows on the chosen nodes, and all rows of these nodes, of which those of the job are taken.
_HERE = f'{JOB},host=~"$hosts"'
_NODES = 'cluster="$cluster",host=~"$hosts"'
_NAME = "{{host}} GPU {{gpu}}"
_KEY = f"cluster, hpc_job, {OWNER}"
_HINT = """\
Type the **raw job id** into the box *Job id*. Slurm shows tasks of an array as `4711_3` and parts of a heterogeneous
job as `4711+1`; their raw ids are told by `squeue --noheader --format=%A --job=4711_3` while they run, and by
`sacct --noheader --format=JobIDRaw --jobs=4711_3` later. Choose a time in which the job ran. Job ids come round: the
table says whose it was. **not reported** means that there are no rows in this time, which is not the same as 0.
"""


def _hours(kind: str, by: str = "") -> str:
    return amount(f"job:gpu_hours_{kind}:increase1m", JOB, by)


def _gpus(kind: str) -> str:
    """Return GPUs of the whole job, of what is recorded of it in hours of each minute."""
    return f"sum({rows(f'job:gpu_hours_{kind}:increase1m', JOB)}) * 60"


def _held(kind: str) -> str:
    """Return what the job has of GPUs on the chosen nodes: allocated, measured, used."""
    return rows(f"gpu_job:gpus_{kind}:split", _HERE)


def _minutes(kind: str) -> str:
    """Return GPU minutes of each of its GPUs, on all nodes."""
    return amount(f"gpu_job:gpus_{kind}:split", JOB, DEVICE)


# Nobody is accused by data that are not there: the share is ENOUGH of superpod/reports/job.py.
_KNOWN = f"{_minutes('measured')} >= 0.9 * {_minutes('allocated')}"
_UNUSED = f"({_minutes('idle')} >= {_minutes('measured')}) and ({_KNOWN})"


NOW = numbers(
    number("GPU hours", units.HOURS, Query(_hours("allocated")), about="Held within the time that is shown."),
    number(
        *("Utilization", units.RATIO, Query(ratio(_hours("used"), _hours("measured")))),
        about="Mean of the time in which it is known.",
        colours=steps((0.2, WARNING), (0.5, GOOD), first=BAD),
    ),
    number(
        *("Coverage", units.RATIO, Query(ratio(_hours("measured"), _hours("allocated")))),
        about="Part of the GPU hours of which the utilization is known. Where it is low, the other numbers say little.",
        colours=steps((0.5, WARNING), (0.9, GOOD), first=BAD),
    ),
    number("Idle GPU hours", units.HOURS, Query(_hours("idle")), about="Held, and known to be idle."),
    number(
        *("Unused GPUs", units.COUNT),
        Query(or_zero(f"count({_UNUSED})", f"({_hours('measured')} > 0)")),
        about="Idle in all the time that is known of them; only those count of which nine tenths are known.",
        colours=steps((1, BAD)),
    ),
    number(
        *("Energy", units.KWH, Query(amount("job:energy_joules:increase1m", JOB) + KWH)),
        about="The job's part of what its boards used.",
    ),
    number("Most GPUs", units.COUNT, Query(f"max(max_over_time({rows('job:gpus_allocated:sum', JOB)}[{RANGE}]))")),
    number("Most memory", units.BYTES, Query(f"max(max_over_time({rows('job:memory_used_bytes:sum', JOB)}[{RANGE}]))")),
)
_SEEN = f"timestamp({rows('job:gpus_allocated:sum', JOB)})[{RANGE}:1m]"
WHO = table_of(
    "Whose, and how much",
    ["cluster", "hpc_job", "user", "account", "partition"],
    Column("GPU hours", units.HOURS, _hours("allocated", _KEY)),
    Column(
        "Most GPUs", units.COUNT, f"max by ({_KEY}) (max_over_time({rows('job:gpus_allocated:sum', JOB)}[{RANGE}]))"
    ),
    Column("First seen", units.AGO, f"min by ({_KEY}) (min_over_time({_SEEN})) * 1000"),
    Column("Last seen", units.AGO, f"max by ({_KEY}) (max_over_time({_SEEN})) * 1000"),
    about="Two rows are two jobs that had the same id.",
    height=5,
)
TOGETHER = [
    lines(
        *("Utilization", units.RATIO, Query(f"{_gpus('used')} / ({_gpus('measured')} > 0)", "mean of its GPUs")),
        about="Of those of which it is known.",
    ),
    lines(
        *("GPUs", units.COUNT, Query(_gpus("allocated"), "held"), Query(_gpus("measured"), "known")),
        Query(_gpus("used"), "known, times utilization"),
        Query(_gpus("idle"), "known to be idle"),
    ),
    lines("Memory", units.BYTES, Query(f"sum({rows('job:memory_used_bytes:sum', JOB)})", "of all its GPUs")),
    lines("Power", units.WATTS, Query(f"sum({rows('job:power_watts:sum', JOB)})", "its part of its boards")),
]
# Each of these reads every minute of every GPU of the job, so there are few of them.
_FIRST = f"topk({MOST}, {or_zero(_minutes('idle'), _minutes('allocated'))})"
TABLE = table_of(
    "Its GPUs",
    ["cluster", "host", "gpu", "GPU_I_ID"],
    Column("Idle GPU hours", units.HOURS, f"{_FIRST} / 60", colours=((0.1, WARNING),)),
    Column("GPU hours", units.HOURS, f"{_minutes('allocated')} / 60 and {_FIRST}"),
    Column("Utilization", units.RATIO, f"{ratio(_minutes('used'), _minutes('measured'))} and {_FIRST}", bar=True),
    Column(
        *("Most memory", units.BYTES),
        f"max by ({DEVICE}) (max_over_time({rows('gpu_job:memory_used_bytes:split', JOB)}[{RANGE}])) and {_FIRST}",
    ),
    height=11,
    about=f"Those {MOST} that were idle longest; no utilization: not known. A GPU that jobs share counts in parts.",
)
_UTILIZATION = f"{_held('used')} / {_held('measured')}"
_MEMORY = rows("gpu_job:memory_used_bytes:split", _HERE)


def _of_job(expression: str, by: str = OF_GPU) -> str:
    """Return those of some rows of nodes that are of GPUs which the job holds."""
    return f"{expression} and on ({by}) {_held('allocated')}"


def _each(expression: str, how: str, by: str = OF_GPU) -> Query:
    """Return each GPU, or one row for all where there are too many."""
    return Query(few(expression, f"{how}({expression})"), _NAME + (" {{GPU_I_ID}}" if by == DEVICE else ""))


def _inside(key: str, by: str = OF_GPU) -> Query:
    return _each(_of_job(raw(key, _NODES, by), by), "avg", by)


_EACH = f"Of the chosen nodes. More than {MOST} GPUs are one line."
GPUS = [
    lines(title, unit, _each(expression, how, by), about=_EACH, link=links.LINE_TO_NODE)
    for title, unit, expression, how, by in (
        ("Utilization of each GPU", units.RATIO, _UTILIZATION, "avg", DEVICE),
        ("Memory of each GPU", units.BYTES, _MEMORY, "sum", DEVICE),
        ("Power of each board", units.WATTS, _of_job(rows("gpu:power_watts:max", _NODES)), "sum", OF_GPU),
        ("Temperature of each GPU", units.CELSIUS, _of_job(rows("gpu:temperature_celsius:max", _NODES)), "max", OF_GPU),
    )
]
INSIDE = [
    lines("Graphics and compute engines", units.RATIO, _inside("prof_engine", DEVICE), width=THIRD),
    lines("Tensor cores", units.RATIO, _inside("prof_tensor", DEVICE), width=THIRD),
    lines("Memory bandwidth", units.RATIO, _inside("prof_dram", DEVICE), width=THIRD),
    lines("PCIe, sent", units.RATE, _inside("prof_pcie_tx"), width=THIRD),
    lines("PCIe, received", units.RATE, _inside("prof_pcie_rx"), width=THIRD),
    lines("NVLink", units.RATE, _inside("nvlink_throughput"), width=THIRD),
    lines("SM clock", units.HERTZ, _inside("sm_clock"), width=HALF),
    lines("Temperature of the memory", units.CELSIUS, _inside("memory_temperature"), width=HALF),
]
_BY = "alertname, severity, cluster, host, gpu"
_HOLDS = rows("gpu_job:gpus_allocated:split", JOB)
_ALERTED = f"{firing(IN_CLUSTER)} and on (cluster, host) {_HOLDS}"
_XIDS = f"{xids(IN_CLUSTER)} and on ({OF_GPU}) {_HOLDS}"
HAPPENED = [
    table_of(
        "Alerts on its nodes",
        ["alertname", "severity", "cluster", "host", "gpu"],
        Column("Minutes", units.COUNT, f"topk({MOST}, max by ({_BY}) ({minutes(_ALERTED)}))"),
        about="While the job ran there, also on GPUs of others.",
        nothing=NONE,
        mappings={"severity": SEVERITIES},
        width=HALF,
    ),
    table_of(
        "XIDs of its GPUs",
        ["cluster", "host", "gpu", "xid"],
        Column("Minutes", units.COUNT, f"topk({MOST}, {minutes(_XIDS)})"),
        about="While the job held them.",
        nothing=NONE,
        mappings={"xid": XIDS},
        width=HALF,
    ),
]
_ALERTS = (
    d.AnnotationQuery()
    .name("Alerts on its nodes")
    .datasource(DATASOURCE)
    .enable(True)
    .icon_color(BAD)
    .target(prometheus.Dataquery().ref_id("Anno").expr(_ALERTED))
    .title_format("{{alertname}}")
    .text_format("{{host}} {{gpu}}")
    .tag_keys("severity")
)
BOARD = Board(
    *(links.JOB, "Single job"),
    about="One Slurm job: whose, where, how well it uses its GPUs, and what happened on its nodes.",
    time="12h",
    refresh="1m",
    variables=[cluster(), job(), hosts_of_job()],
    first=[words(_HINT, 3, WHOLE), *NOW, WHO],
    rows=[
        Row("All its GPUs", [*TOGETHER, TABLE]),
        Row("Each GPU on $hosts", GPUS),
        Row("What happened meanwhile", HAPPENED),
        Row("Inside the GPUs on $hosts: profiling, clocks, links", INSIDE, closed=True),
    ],
    annotations=[_ALERTS],
)
