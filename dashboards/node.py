"""The dashboard of a node: its GPUs and instances, who holds them, their health, and the machine around them."""

from __future__ import annotations

from dashboards import links, machine, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, THIRD, Query, lines, number, numbers, steps, timeline
from dashboards.queries import BOARD as OF_GPU
from dashboards.queries import (
    DEVICE,
    MOST,
    NODE,
    OWNER,
    few,
    firing,
    minutes,
    or_zero,
    own,
    ratio,
    raw,
    rows,
    since,
    xids,
)
from dashboards.tables import Column, table_of
from dashboards.variables import cluster, gpu, host
from dashboards.words import ANSWERS, BAD, EVENTS, FABRIC, HEALTH, SEVERITIES, WARNING, XIDS, YES_IS_BAD

# Of the chosen GPUs.
_GPU = f'{NODE},gpu=~"$gpu"'
_NAME = "GPU {{gpu}} {{GPU_I_ID}}"
_KNOWN = rows("node:gpus:count", NODE)
_JOB = f"cluster, hpc_job, {OWNER}"


def _node(record: str) -> str:
    return rows(f"node:{record}", NODE)


def _gpus(record: str) -> str:
    return rows(f"gpu:{record}", _GPU)


def _devices(record: str, fold: str) -> Query:
    """Return GPUs and instances; by GPU where there are too many instances."""
    found = _gpus(record)
    return Query(few(found, f"{fold} by ({OF_GPU}) ({found})"), _NAME)


def _of_job(record: str) -> str:
    return f"sum by ({_JOB}) ({rows(f'gpu_job:{record}:split', _GPU)})"


NOW = numbers(
    number("dcgm-exporter", units.WORD, Query(f"max({own('up', NODE)})"), mapping=ANSWERS),
    number("GPUs", units.COUNT, Query(_KNOWN)),
    number("GPUs in jobs", units.COUNT, Query(_node("gpus_allocated:sum"))),
    number("Utilization", units.RATIO, Query(_node("utilization_ratio:avg")), about="Mean of all its GPUs."),
    number(
        *("Memory in use", units.RATIO),
        Query(ratio(_node("memory_used_bytes:sum"), _node("memory_capacity_bytes:sum"))),
    ),
    number("Power", units.WATTS, Query(_node("power_watts:sum")), about="Of the boards of its GPUs."),
    number(
        *("Hottest GPU", units.CELSIUS, Query(_node("temperature_celsius:max"))),
        colours=steps((80, WARNING), (87, BAD)),
    ),
    number(
        *("Alerts", units.COUNT, Query(or_zero(f"count({firing(NODE)})", f"sum({_KNOWN})"))), colours=steps((1, BAD))
    ),
)
JOBS = table_of(
    "Jobs on this node",
    ["cluster", "hpc_job", "user", "account", "partition"],
    Column("GPUs", units.COUNT, _of_job("gpus_allocated")),
    Column("Utilization", units.RATIO, f"{_of_job('gpus_used')} / {_of_job('gpus_measured')}", bar=True),
    Column(
        "Idle GPUs", units.COUNT, f"{_of_job('gpus_idle')} or 0 * {_of_job('gpus_allocated')}", colours=((0.01, BAD),)
    ),
    Column("Memory", units.BYTES, f"sum by ({_JOB}) ({rows('gpu_job:memory_used_bytes:split', _GPU)})"),
    about="What they hold of the chosen GPUs now. A GPU that several share counts in parts.",
    height=6,
)
GPUS = [
    lines("Utilization", units.RATIO, _devices("utilization_ratio:max", "avg"), about="No line: not known."),
    lines("Memory in use", units.BYTES, _devices("memory_used_bytes:max", "sum")),
    lines("Power", units.WATTS, Query(_gpus("power_watts:max"), "GPU {{gpu}}")),
    lines("Temperature", units.CELSIUS, Query(_gpus("temperature_celsius:max"), "GPU {{gpu}}")),
]


def _rows(key: str, by: str = OF_GPU) -> Query:
    found = raw(key, _GPU, by)
    if by == OF_GPU:
        return Query(found, "GPU {{gpu}}")
    return Query(few(found, f"avg by ({OF_GPU}) ({found})"), _NAME)


INSIDE = [
    lines("Graphics and compute engines", units.RATIO, _rows("prof_engine", DEVICE), width=THIRD),
    lines("Tensor cores", units.RATIO, _rows("prof_tensor", DEVICE), width=THIRD),
    lines("Memory bandwidth", units.RATIO, _rows("prof_dram", DEVICE), width=THIRD, about="Of DRAM, by profiling."),
    lines("PCIe, sent", units.RATE, _rows("prof_pcie_tx"), width=THIRD),
    lines("PCIe, received", units.RATE, _rows("prof_pcie_rx"), width=THIRD),
    lines("NVLink", units.RATE, _rows("nvlink_throughput"), width=THIRD, about="Of all links, both directions."),
    lines("SM clock", units.HERTZ, _rows("sm_clock"), width=THIRD),
    lines("Memory clock", units.HERTZ, _rows("memory_clock"), width=THIRD),
    lines("Temperature of the memory", units.CELSIUS, _rows("memory_temperature"), width=THIRD),
]
_HEALTH = own("DCGM_EXP_GPU_HEALTH_STATUS", f'{_GPU},health_watch="ALL"')
_WATCHES = own("DCGM_EXP_GPU_HEALTH_STATUS", f'{_GPU},health_watch!="ALL"')
_CLOCKS = own(
    "DCGM_EXP_CLOCK_EVENTS_COUNT", f'{_GPU},clock_event!~"|gpu_idle|clocks_setting|sync_boost|display_clocks"'
)
_XIDS = xids(NODE)
STATE = [
    timeline("Health of GPUs", Query(f"max by (gpu) ({_HEALTH})", "GPU {{gpu}}"), mapping=HEALTH, about="By DCGM."),
    timeline("Health by watch", Query(f"max by (health_watch) ({_WATCHES})", "{{health_watch}}"), mapping=HEALTH),
    timeline(
        "Slowed down by",
        Query(f"max by (clock_event) ({_CLOCKS}) > bool 0", "{{clock_event}}"),
        mapping=EVENTS,
        about="Reasons of lower clocks within some minutes. power_cap is normal at full load.",
    ),
    timeline(
        "XIDs",
        Query(f"max by (gpu, xid) ({_XIDS})", "GPU {{gpu}}, XID {{xid}}"),
        mapping=EVENTS,
        about="Errors of the driver by GPU, of DCGM and the kernel log, for 10 minutes each.",
        nothing=NONE,
    ),
    table_of(
        "Alerts that fire",
        ["alertname", "severity", "gpu"],
        Column("Since", units.AGO, since(NODE, "alertname, severity, gpu")),
        about="docs/runbooks.md says of each what it means and what to do.",
        nothing=NONE,
        mappings={"severity": SEVERITIES},
        width=HALF,
    ),
    table_of(
        "XIDs of the time that is shown",
        ["gpu", "xid"],
        Column("Minutes", units.COUNT, f"topk({MOST}, {minutes(_XIDS)})"),
        mappings={"xid": XIDS},
        about="How long each was told, to 5 minutes.",
        nothing=NONE,
        width=HALF,
    ),
    table_of(
        "Memory, links and recovery",
        ["gpu"],
        *(
            Column(title, units.COUNT, raw(key, _GPU), colours=((1, colour),))
            for title, key, colour in (
                ("Bad rows", "rows_remapped_uncorrectable", WARNING),
                ("Weak rows", "rows_remapped_correctable", "text"),
                ("Double-bit", "ecc_double_bit", BAD),
                ("Single-bit", "ecc_single_bit", "text"),
                ("PCIe replays", "pcie_replays", "text"),
                ("Link replays", "nvlink_replays", WARNING),
                ("Link recoveries", "nvlink_recoveries", WARNING),
            )
        ),
        *(
            Column(title, units.WORD, raw(key, _GPU), mapping=YES_IS_BAD)
            for title, key in (("Remap failed", "row_remap_failed"), ("Remap pending", "row_remap_pending"))
        ),
        Column("Recovery", units.COUNT, raw("recovery_action", _GPU), colours=((1, BAD),)),
        Column("Fabric", units.WORD, raw("fabric_health", _GPU), mapping=FABRIC),
        about="Counters as they stand. Rows of memory were remapped after errors that could not be corrected (bad) or"
        " could (weak). With exporter:counters: extended there is more.",
        height=11,
    ),
]
BOARD = Board(
    *(links.NODE, "Node"),
    about="GPUs and instances of one node: use, health, jobs, and the machine around them.",
    time="6h",
    refresh="1m",
    variables=[cluster(), host(), gpu()],
    first=[*NOW, JOBS],
    rows=[
        Row("GPUs and instances", GPUS),
        Row("Health", STATE),
        Row("Inside the GPUs: profiling, clocks, links", INSIDE, closed=True),
        Row("The machine (node_exporter with the labels cluster and host)", machine.PANELS, closed=True),
    ],
)
