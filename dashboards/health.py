"""The dashboard of health: alerts, XIDs, nodes and GPUs that are not well, and the parts of this project that watch."""

from __future__ import annotations

from dashboards import links, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, QUARTER, THIRD, Query, bars, heat, lines, number, numbers, steps
from dashboards.queries import BOARD as OF_GPU
from dashboards.queries import CLUSTERS, MOST, firing, minutes, or_zero, own, raw, rows, since, xids
from dashboards.tables import Column, table_of
from dashboards.variables import choice, clusters
from dashboards.words import BAD, HEALTH, NOTED, QUIET, SEVERITIES, SEVERITY_COLOURS, WARNING, XIDS

_SHOWN = f'{CLUSTERS},severity=~"$severity"'
_UP = f"max by (cluster, host) ({own('up', CLUSTERS)})"
_RULES = f"sum({rows('cluster:gpus:count', CLUSTERS)})"
_XIDS = xids(CLUSTERS)
_BAD_HEALTH = own("DCGM_EXP_GPU_HEALTH_STATUS", f'{CLUSTERS},health_watch="ALL"')


def _alerts(severity: str) -> str:
    matchers = f'{CLUSTERS},severity="{severity}"'
    return or_zero(f"count({firing(matchers)})", _RULES)


def _ours(name: str) -> str:
    return rows(name, CLUSTERS)


NOW = numbers(
    number("Critical", units.COUNT, Query(_alerts("critical")), colours=steps((1, BAD)), about="Alerts that fire."),
    number("Warnings", units.COUNT, Query(_alerts("warning")), colours=steps((1, WARNING)), about="Alerts that fire."),
    number("Information", units.COUNT, Query(_alerts("info")), colours=steps((1, NOTED)), about="Alerts that fire."),
    number(
        *("No answer", units.COUNT, Query(f"sum(1 - {_UP})")),
        about="Nodes whose dcgm-exporter cannot be scraped.",
        colours=steps((1, BAD)),
    ),
    number(
        *("With an XID", units.COUNT),
        Query(or_zero(f"count(group by ({OF_GPU}) ({_XIDS}))", _RULES)),
        about="GPUs, within the last minutes, of the application's fault too.",
        colours=steps((1, WARNING)),
    ),
    number(
        *("Not healthy", units.COUNT),
        Query(f"sum(max by ({OF_GPU}) ({_BAD_HEALTH}) > bool 0)"),
        about="GPUs, by DCGM's own watches, which exporter:counters: extended shows.",
        colours=steps((1, WARNING)),
    ),
    number(
        *("In maintenance", units.COUNT, Query(f"sum({_ours('superpod_dcgm_gpus_freed')})")),
        about="Nodes whose alerts on missing exporters are quiet.",
    ),
    number(
        "Hottest GPU", units.CELSIUS, Query(f"max({_ours('node:temperature_celsius:max')})"), colours=steps((87, BAD))
    ),
)
ALERTS = [
    table_of(
        "Alerts by name",
        ["alertname", "severity"],
        Column("Firing", units.COUNT, f"count by (alertname, severity) ({firing(_SHOWN)})"),
        about="docs/runbooks.md says of each what it means and what to do.",
        nothing=NONE,
        mappings={"severity": SEVERITIES},
        width=THIRD,
    ),
    table_of(
        f"Newest {MOST} alerts",
        ["alertname", "severity", "cluster", "host", "gpu"],
        Column("Since", units.AGO, since(_SHOWN, "alertname, severity, cluster, host, gpu")),
        nothing=NONE,
        mappings={"severity": SEVERITIES},
        width=THIRD * 2,
    ),
    lines(
        *("Alerts that fire", units.COUNT, Query(f"count by (severity) ({firing(_SHOWN)})", "{{severity}}")),
        stacked=True,
        colours=SEVERITY_COLOURS,
        nothing=NONE,
    ),
    lines(
        "GPUs with an XID, by XID",
        units.COUNT,
        Query(f"count by (xid) ({_XIDS})", "XID {{xid}}"),
        stacked=True,
        nothing=NONE,
    ),
]
_TOLD = minutes(_XIDS)
XID_TABLES = [
    table_of(
        "XIDs of the time that is shown",
        ["cluster", "xid"],
        Column("GPUs", units.COUNT, f"topk({MOST}, count by (cluster, xid) ({_TOLD}))"),
        mappings={"xid": XIDS},
        about="By how many GPUs had one.",
        nothing=NONE,
        width=HALF,
    ),
    table_of(
        "GPUs with most XIDs",
        ["cluster", "host", "gpu", "xid"],
        Column("Minutes", units.COUNT, f"topk({MOST}, {_TOLD})"),
        mappings={"xid": XIDS},
        about="How long each was told within the time that is shown, to 5 minutes.",
        nothing=NONE,
        width=HALF,
    ),
]
_EVENTS = 'clock_event=~"hw_slowdown|hw_thermal|hw_power_brake|sw_thermal|power_cap"'
_SLOWED = own("DCGM_EXP_CLOCK_EVENTS_COUNT", f"{CLUSTERS},{_EVENTS}")


def _gpus_with(key: str) -> str:
    found = raw(key, CLUSTERS)
    return f"sum({found} > bool 0)"


GPUS = [
    table_of(
        "Health by DCGM's own watches",
        ["cluster", "host", "gpu"],
        Column("Health", units.WORD, f"topk({MOST}, max by ({OF_GPU}) ({_BAD_HEALTH}) > 0)", mapping=HEALTH),
        about=f"Up to {MOST} that are not good. exporter:counters: extended shows them.",
        nothing=NONE,
        width=THIRD,
    ),
    bars(
        *("GPUs slowed down, by reason", units.COUNT),
        Query(f"count by (clock_event) (max by ({OF_GPU}, clock_event) ({_SLOWED}) > 0)", "{{clock_event}}"),
        about="power_cap is normal at full load.",
        names={"power_cap": QUIET, "hw_.*|sw_thermal": WARNING},
    ),
    bars(
        *("GPUs with bad memory", units.COUNT),
        *(
            Query(_gpus_with(key), name)
            for name, key in (
                ("rows remapped", "rows_remapped_uncorrectable"),
                ("remap failed", "row_remap_failed"),
                ("need a reset", "row_remap_pending"),
                ("double-bit errors", "ecc_double_bit"),
            )
        ),
        colours=steps((1, WARNING)),
    ),
    heat(
        *("How hot GPUs are", units.CELSIUS),
        f"sum by (le) ({rows('cluster:gpu_temperature_celsius:bucket', CLUSTERS)})",
    ),
    table_of(
        "Hottest GPUs",
        ["cluster", "host", "gpu"],
        Column(
            *("Temperature", units.CELSIUS, f"topk(20, {rows('gpu:temperature_celsius:max', CLUSTERS)})"),
            colours=((80, WARNING), (87, BAD)),
        ),
        width=HALF,
    ),
]
_DOWN = f"topk({MOST}, ({_UP} == 0) + 1)"
NODES = [
    table_of(
        "Nodes without an answer",
        ["cluster", "host"],
        Column("Exporters", units.COUNT, _DOWN),
        about=f"Up to {MOST}.",
        nothing=NONE,
        width=QUARTER,
    ),
    table_of(
        "Releases of dcgm-exporter",
        ["cluster", "release"],
        Column("Nodes", units.COUNT, f"count by (cluster, release) ({_ours('superpod_dcgm_info')})"),
        width=QUARTER,
    ),
    table_of(
        "Watcher",
        ["cluster"],
        *(
            Column(title, unit, f"max by (cluster) ({expression})", colours=colours)
            for title, unit, expression, colours in (
                ("Wanted", units.COUNT, _ours("superpod_dcgm_nodes_wanted"), ()),
                ("Unknown", units.COUNT, _ours("superpod_dcgm_nodes_unknown"), ((1, WARNING),)),
                ("Owed", units.COUNT, _ours("superpod_dcgm_nodes_owed"), ((1, WARNING),)),
                ("Last poll", units.AGO, f"{_ours('superpod_dcgm_watcher_poll_timestamp_seconds')} * 1000", ()),
                ("Last answer", units.AGO, f"{_ours('superpod_dcgm_watcher_answer_timestamp_seconds')} * 1000", ()),
            )
        ),
        about="Nodes whose roles want the exporter, whose roles are not known, that wait for a role call.",
        width=HALF,
    ),
    bars(
        *("Nodes whose own metrics have a fault", units.COUNT),
        Query(f"sum({_ours('superpod_dcgm_kernel_log_ok')} == bool 0)", "kernel log unread"),
        Query(f"sum({_ours('dcgm_job_map_device_table_ok')} == bool 0)", "device table old"),
        Query(f"sum({_ours('dcgm_job_map_device_table_guessed')})", "device table guessed"),
        Query(f"sum({_ours('dcgm_job_map_reconcile_ok')} == bool 0)", "job map not reconciled"),
        colours=steps((1, WARNING)),
        width=HALF,
    ),
    table_of(
        "Slowest exporters",
        ["cluster", "host"],
        Column(
            *("Scrape", units.SECONDS),
            f"topk(20, max by (cluster, host) ({own('scrape_duration_seconds', CLUSTERS)}))",
            colours=((10, WARNING),),
        ),
        width=HALF,
    ),
]
BOARD = Board(
    *(links.HEALTH, "Health"),
    about="Alerts, XIDs, and what is not well with GPUs, nodes and the parts that watch them.",
    time="24h",
    refresh="1m",
    variables=[clusters(), choice("severity", "Severity", ("critical", "warning", "info"))],
    first=NOW,
    rows=[Row("Alerts", ALERTS), Row("XIDs", XID_TABLES), Row("GPUs", GPUS), Row("Nodes", NODES)],
)
