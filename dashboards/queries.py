"""PromQL of the dashboards: which rows, of what, over which time. Numbers are those of docs/rules.md."""

from __future__ import annotations

from superpod_dcgm.monitoring import alerts_xids, metric_names, recording

# Labels of a board, and of a GPU or instance.
BOARD, DEVICE = recording.BOARD, recording.DEVICE
OWNER = "user, account, partition"
# What a dashboard is about, as matchers. Variables that take several values stand behind =~.
CLUSTERS = 'cluster=~"$cluster"'
IN_CLUSTER = 'cluster="$cluster"'
NODE = 'cluster="$cluster",host="$host"'
JOB = 'cluster="$cluster",hpc_job="$job"'
# Lines of a panel that a person can tell apart, and a browser can draw.
MOST = 50
RANGE = "$__range"
# Amounts are of minutes, and energy is in joules.
KWH = " / 3.6e6"


def rows(name: str, matchers: str) -> str:
    """Return what selects the rows of a record or metric."""
    return f"{name}{{{matchers}}}"


def raw(key: str, matchers: str, by: str = BOARD) -> str:
    """Return a metric that no rule records, in base units and of both schemas, one row for each of ``by``."""
    return metric_names.promql(key, matchers=matchers, form=f"max by ({by}) ({{}})")


def own(metric: str, matchers: str) -> str:
    """Return what selects rows of our exporters' targets that have one name in both schemas."""
    return metric_names.of_ours(metric, matchers)


def xids(matchers: str) -> str:
    """Return 1 for each XID that a GPU had within the last minutes, whoever tells it."""
    told = (rows(record, matchers) for record in (alerts_xids.OF_DCGM, alerts_xids.OF_KERNEL))
    return f"group by ({BOARD}, xid) ({' or '.join(told)})"


def minutes(expression: str) -> str:
    """Return for how many minutes of the shown time each row of alerts or XIDs was there: a look each 5 misses none."""
    return f"5 * count_over_time(({expression})[{RANGE}:5m])"


def amount(record: str, matchers: str, by: str = "", time: str = RANGE) -> str:
    """Return the sum of a record over a time, for each of the labels ``by``: a total, or GPU minutes of one of GPUs."""
    total = f"sum_over_time({rows(record, matchers)}[{time}])"
    return f"sum by ({by}) ({total})" if by else f"sum({total})"


def ratio(part: str, whole: str) -> str:
    """Return a part of a whole; no row where the whole is 0."""
    return f"{part} / ({whole} > 0)"


def mean_of_clusters(record: str) -> str:
    """Return a ratio of several clusters together, each weighted by its GPUs."""
    mean, weight = rows(record, CLUSTERS), rows("cluster:gpus:count", CLUSTERS)
    return f"sum({mean} * on (cluster) {weight}) / sum({weight} and on (cluster) {mean})"


def few(expression: str, otherwise: str) -> str:
    """Return an expression while it has no more rows than a panel shall have, and another one where it has."""
    return (
        f"({expression}) and on () (count({expression}) <= {MOST})\n"
        f"or ({otherwise}) and on () (count({expression}) > {MOST})"
    )


def leading(expression: str, by: str, measure: str, most: int = 10) -> str:
    """
    Return the rows of those who come first by a measure of the whole time that is shown.

    ``topk`` alone takes others at each step: many more rows than it says.
    """
    return f"{expression}\nand on ({by}) topk({most}, {at_end(measure)})"


def at_end(expression: str) -> str:
    """Return an expression over the shown range as of its end, at each step."""
    return expression.replace(f"[{RANGE}]", f"[{RANGE}] @ end()")


def or_zero(expression: str, known_by: str) -> str:
    """Return an expression, and 0 where it has no row although there are rows that would have to be there."""
    return f"{expression} or 0 * {known_by}"


def firing(matchers: str) -> str:
    """Return what selects alerts of ours that fire."""
    return f'ALERTS{{alertname=~"Superpod.+",alertstate="firing",{matchers}}}'


def since(matchers: str, by: str) -> str:
    """Return when alerts that fire began, in milliseconds: the newest of them."""
    began = f'ALERTS_FOR_STATE{{alertname=~"Superpod.+",{matchers}}}'
    return f"topk({MOST}, max by ({by}) ({began} and ignoring (alertstate) {firing(matchers)})) * 1000"
