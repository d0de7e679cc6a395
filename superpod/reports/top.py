"""What nodes and jobs do now, and what one GPU did in the last hour."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from superpod_dcgm.monitoring import metric_names

from superpod.reports.prometheus import Client, Row, Series, matchers

# Records that are read of each level, by what they are called here.
NODE = {
    "gpus": "gpus:count",
    "held": "gpus_allocated:sum",
    "utilization": "utilization_ratio:avg",
    "power": "power_watts:sum",
    "memory": "memory_used_bytes:sum",
    "idle": "gpu_hours_idle:increase1m",
    "measured": "gpu_hours_measured:increase1m",
}
JOB = {
    "held": "gpus_allocated:sum",
    "utilization": "utilization_ratio:avg",
    "power": "power_watts:sum",
    "memory": "memory_used_bytes:sum",
    "idle": "gpu_hours_idle:increase1m",
    "measured": "gpu_hours_measured:increase1m",
}
# Values of one history, at most.
POINTS = 60


@dataclass
class Now:
    """One node, job or cluster at this moment; what is not known is not among its values."""

    labels: dict[str, str]
    values: dict[str, float] = field(default_factory=dict)

    @property
    def idle(self) -> float:
        """GPUs that are held and idle."""
        return round(self.values.get("idle", 0) * 60, 3)


@dataclass
class History:
    """What a GPU or instance did: values by name, from the oldest on; None: not known. ``jobs`` hold it now."""

    host: str
    gpu: str
    instance: str
    jobs: list[str] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)

    def last(self, name: str) -> float | None:
        """Return the newest value."""
        return next((one for one in reversed(self.values.get(name, [])) if one is not None), None)


def level(client: Client, name: str, records: dict[str, str], at: float, cluster: str) -> list[Now]:
    """
    Return what is recorded of all nodes, jobs or clusters.

    :raises SuperpodError: the server does not answer.
    """
    wanted = "|".join(f"{name}:{record}" for record in records.values())
    more = matchers(cluster=cluster)
    rows = client.instant(f'{{__name__=~"{wanted}"{"," + more if more else ""}}}', at)
    keys = {record: key for key, record in records.items()}
    found: dict[tuple[str, ...], Now] = {}
    for row in rows:
        key = keys.get(row.labels.get("__name__", "").partition(":")[2])
        if key is None:
            continue
        labels = {label: row.labels.get(label, "") for label in ("cluster", "host", "hpc_job", "user", "partition")}
        one = found.setdefault(tuple(labels.values()), Now(labels))
        one.values[key] = row.value
    return list(found.values())


def histories(client: Client, span: tuple[float, float], cluster: str, host: str, gpu: str) -> list[History]:
    """
    Return what the GPUs of a node, or one of them, did in a span of time.

    :raises SuperpodError: the server does not answer.
    """
    step = max(60.0, (span[1] - span[0]) / POINTS)
    points = max(1, round((span[1] - span[0]) / step))
    here = matchers(cluster=cluster, host=host, gpu=gpu)
    by = "host, gpu, GPU_I_ID"
    queries = {
        "utilization": f"avg by ({by}) (avg_over_time(gpu:utilization_ratio:max{{{here}}}[{step:.0f}s]))",
        "memory": f"avg by ({by}) (avg_over_time(gpu:memory_used_bytes:max{{{here}}}[{step:.0f}s]))",
        "power": f"avg by (host, gpu) (avg_over_time(gpu:power_watts:max{{{here}}}[{step:.0f}s]))",
        # No rule has the temperature.
        "temperature": metric_names.promql(
            "gpu_temperature", matchers=here, form=f"max by (host, gpu) (max_over_time({{}}[{step:.0f}s]))"
        ),
    }
    found: dict[tuple[str, str, str], History] = {}
    for name, query in queries.items():
        for series in client.range(query, span[0] + step, span[1], step):
            _add(found, name, series, (span[0] + step, step, points))
    holders = client.instant(f"group by ({by}, hpc_job) (gpu_job:gpus_allocated:split{{{here}}})", span[1])
    for key, jobs in _jobs(holders).items():
        if key in found:
            found[key].jobs = sorted(jobs)
    return [found[key] for key in sorted(found, key=lambda key: (key[0], key[1].zfill(4), key[2].zfill(4)))]


def _add(found: dict[tuple[str, str, str], History], name: str, series: Series, axis: tuple[float, float, int]) -> None:
    """Take in a series; ``axis`` is its first moment, the step from one value to the next, and their number."""
    labels = series.labels
    key = (labels.get("host", ""), labels.get("gpu", ""), labels.get("GPU_I_ID", ""))
    first, step, points = axis
    values: list[float | None] = [None] * points
    for at, value in series.samples:
        place = round((at - first) / step)
        if 0 <= place < points:
            values[place] = value
    # What a board has, each of its instances is shown with.
    boards = [one for one in found if one[:2] == key[:2]] if name in ("power", "temperature") else [key]
    for one in boards or [key]:
        found.setdefault(one, History(*one)).values[name] = values


def _jobs(rows: list[Row]) -> dict[tuple[str, str, str], set[str]]:
    found = defaultdict(set)
    for row in rows:
        key = (row.labels.get("host", ""), row.labels.get("gpu", ""), row.labels.get("GPU_I_ID", ""))
        found[key].add(row.labels.get("hpc_job", ""))
    return found
