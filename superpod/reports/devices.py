"""What a job's GPUs and instances did, each for itself: a few questions, of which the server adds up the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial

from superpod_dcgm.monitoring import metric_names

from superpod.reports import held
from superpod.reports.prometheus import Client, Row, Series, matchers
from superpod.reports.times import MINUTE

DEVICE = "host, gpu, GPU_I_ID"
# Samples of idle GPUs that are read one by one; of more, only stretches of several minutes.
_MOST = 150_000
# Points of a series that servers give at most.
_POINTS = 10_000
# Where profiling reads 0 while a GPU works, as in the alert SuperpodGpuProfilingDead, for as long.
_BUSY, _DEAD_FOR = 0.1, 15 * MINUTE
_LOOK_BACK, _FEW = "14d", 16
Key = tuple[str, str, str]


@dataclass
class Device:
    """
    A GPU or an instance that a job held. What is not known is None.

    ``held``, ``measured`` and ``idle`` are GPU minutes: those it was held, those of which its utilization is known, and
    those of them in which it did nothing. ``share`` is the part of it that the job had, in the mean. ``idle_from`` and
    ``idle_until`` are its longest time without use. ``dead_since`` is when its profiling died; 0: longer ago than is
    known.
    """

    host: str
    gpu: str
    instance: str = ""
    held: float = 0
    measured: float = 0
    idle: float = 0
    possible: float = 0
    share: float = 0
    utilization: float | None = None
    peak: float | None = None
    memory: float | None = None
    capacity: float | None = None
    power: float | None = None
    tensor: float | None = None
    dram: float | None = None
    idle_from: float | None = None
    idle_until: float | None = None
    dead_since: float | None = None
    weights: dict[str, float] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.host} GPU {self.gpu}" + (f" instance {self.instance}" if self.instance else "")

    @property
    def coverage(self) -> float | None:
        """The share of its time of which its utilization is known; None: it was too short for any."""
        return min(1.0, self.measured / self.possible) if self.possible else None

    @property
    def never_used(self) -> bool:
        """Whether it did nothing in all the time that is known."""
        return self.measured > 0 and self.idle > self.measured - 1e-6

    def mean(self, name: str, value: float, weight: float) -> None:
        """Take in the mean of a try, which counts as long as the try was."""
        before, known = self.weights.get(name, 0), getattr(self, name) or 0
        self.weights[name] = before + weight
        setattr(self, name, (known * before + value * weight) / (before + weight))

    def most(self, name: str, value: float) -> None:
        """Take in the peak of a try."""
        setattr(self, name, max(value, getattr(self, name) or value))


@dataclass(frozen=True)
class Try:
    """A job's time on its GPUs: its first and last moment with one, and whose they are."""

    cluster: str
    job: str
    begin: float
    end: float

    @property
    def at(self) -> float:
        """When it is asked: after the last sample."""
        return self.end + 1

    @property
    def window(self) -> str:
        """The range with all samples, from there on."""
        return f"{max(1, round(self.end - self.begin) + MINUTE)}s"

    @property
    def inner(self) -> str:
        """The range without the first minute, in which a GPU still tells of the job before."""
        return f"{max(1, round(self.end - self.begin))}s"

    @property
    def mine(self) -> str:
        """What selects the job."""
        return matchers(cluster=self.cluster, hpc_job=self.job)


def collect(client: Client, tries: Iterable[Try]) -> dict[Key, Device]:
    """
    Return a job's devices.

    :raises SuperpodError: the server does not answer.
    """
    found: dict[Key, Device] = {}
    for one in tries:
        here = _held(client, one, found)
        if here:
            _measured(client, one, {key: found[key] for key in here})
    return found


def _held(client: Client, one: Try, found: dict[Key, Device]) -> set[Key]:
    """Take in what the records of the job itself say of each device; return which it held in this try."""
    sums = {"held": "gpus_allocated", "measured": "gpus_measured", "idle": "gpus_idle"}
    sample = f"{{{one.mine}}}[{one.window}]"
    queries = {name: f"sum_over_time(gpu_job:{record}:split{sample})" for name, record in sums.items()}
    # A job may change its owner's labels; two servers may record the same.
    owned = f"sum by ({DEVICE}) (max by ({DEVICE}, user, account, partition) ({{}}))"
    queries = {name: owned.format(query) for name, query in queries.items()}
    queries["samples"] = f"max by ({DEVICE}) (count_over_time(gpu_job:gpus_allocated:split{sample}))"
    queries["memory"] = f"max by ({DEVICE}) (max_over_time(gpu_job:memory_used_bytes:split{sample}))"
    answers = _ask(client, one.at, queries)
    samples = {_key(row): row.value for row in answers.pop("samples")}
    # What was recorded between two of the questions is left out.
    answers["held"] = [row for row in answers["held"] if samples.get(_key(row))]
    for name, rows in answers.items():
        for row in rows:
            device = found.setdefault(_key(row), Device(*_key(row)))
            if name in sums:
                setattr(device, name, getattr(device, name) + row.value)
            else:
                device.most(name, row.value)
    for row in answers["held"]:
        found[_key(row)].mean("share", row.value / samples[_key(row)], samples[_key(row)])
        # All minutes but the first, those of which there is no sample included.
        found[_key(row)].possible += row.value / samples[_key(row)] * round((one.end - one.begin) / MINUTE)
    return {_key(row) for row in answers["held"]}


def hosts(client: Client, span: Try) -> list[str]:
    """Return the nodes on which a job held GPUs."""
    query = f"group by (host) (count_over_time(gpu_job:gpus_allocated:split{{{span.mine}}}[{span.window}]))"
    return sorted(row.labels.get("host", "") for row in client.instant(query, span.at))


def where(one: Try, devices: Iterable[Device]) -> str:
    """Return what selects the nodes of devices."""
    return matchers(cluster=one.cluster, host=sorted({device.host for device in devices}))


def _measured(client: Client, one: Try, devices: dict[Key, Device]) -> None:
    here, inner = where(one, devices.values()), one.inner
    whole = f"max by ({DEVICE})"
    queries = {
        "utilization": f"{whole} (avg_over_time(gpu:utilization_ratio:max{{{here}}}[{inner}]))",
        "peak": f"{whole} (max_over_time(gpu:utilization_ratio:max{{{here}}}[{inner}]))",
        "power": f"max by (host, gpu) (avg_over_time(gpu:power_watts:max{{{here}}}[{inner}]))",
        "capacity": f"{whole} (max_over_time(gpu:memory_capacity_bytes:max{{{here}}}[10m]))",
        "parts": f"{whole} (max_over_time(gpu:gpus:split{{{here}}}[10m]))",
        "tensor": _mean_of("prof_tensor", one, here),
        "dram": _mean_of("prof_dram", one, here),
        "dead": _dead(one, here),
    }
    answers = _ask(client, one.at, queries)
    for name in ("utilization", "tensor", "dram"):
        _means(answers[name], name, one, devices)
    for row, device in _of(answers["peak"], devices):
        device.most("peak", row.value)
    watts = {_key(row)[:2]: row.value for row in answers["power"]}
    parts = {_key(row): row.value for row in answers["parts"]}
    for key, device in devices.items():
        if key[:2] in watts:
            device.mean("power", watts[key[:2]] * device.share, one.end - one.begin + MINUTE)
    for row, device in _of(answers["capacity"], devices):
        # An instance of 3/7 of which the job has 3/14: half of its memory is the job's.
        device.most("capacity", row.value * min(1, device.share / parts.get(_key(row), device.share)))
    dead = [device for _row, device in _of(answers["dead"], devices)]
    for device in dead:
        device.dead_since = 0
    for row in client.instant(_alive(one, dead), one.at) if dead else ():
        for device in dead:
            if (device.host, device.gpu) == (row.labels.get("host"), row.labels.get("gpu")):
                device.dead_since = row.value
    _longest(client, one, devices)


def _mean_of(key: str, one: Try, here: str) -> str:
    """Return the mean of a metric that no rule has: of the rows with the job's label, else of those without any."""
    form = f"max by ({DEVICE}) (avg_over_time({{}}[{one.inner}]))"
    return " or ".join(metric_names.promql(key, matchers=f'{here},hpc_job="{job}"', form=form) for job in (one.job, ""))


def _dead(one: Try, here: str) -> str:
    profiled = metric_names.promql(
        "prof_engine", matchers=here, form=f"max by ({DEVICE}) (max_over_time({{}}[{_DEAD_FOR}s]))"
    )
    used = f"max by ({DEVICE}) (min_over_time(gpu:utilization_ratio:max{{{here}}}[{_DEAD_FOR}s]))"
    return f"({profiled} == 0) and on ({DEVICE}) ({used} > {_BUSY})"


def _alive(one: Try, dead: list[Device]) -> str:
    """Return the query for when the profiling of GPUs was alive last; of many GPUs to an hour."""
    alive = metric_names.promql("prof_engine", matchers=where(one, dead), form="max by (host, gpu) ({})")
    return f"max_over_time((({alive} > 0) * 0 + time())[{_LOOK_BACK}:{'5m' if len(dead) <= _FEW else '1h'}])"


def _longest(client: Client, one: Try, devices: dict[Key, Device]) -> None:
    """Take in the longest time in which each device did nothing; a minute of which nothing is known ends it."""
    some = {key: device for key, device in devices.items() if device.idle}
    minutes = sum(device.idle / device.share for device in some.values())
    if not some:
        return
    selector = f"gpu_job:gpus_idle:split{{{one.mine}}}"
    step = MINUTE
    if minutes <= _MOST:
        found = client.samples(f"{selector}[{one.window}]", one.at)
    else:
        step = MINUTE * (1 + int(max(minutes // _MOST, (one.end - one.begin) // (_POINTS * MINUTE))))
        counted = f"count_over_time({selector}[{step}s]) == {step // MINUTE}"
        found = client.range(counted, one.begin + step, one.end, step)
    for series in found:
        key = (series.labels.get("host", ""), series.labels.get("gpu", ""), series.labels.get("GPU_I_ID", ""))
        if key in some:
            _stretch(some[key], series, step)


def _stretch(device: Device, series: Series, step: float) -> None:
    if not series.samples:
        return
    begin = series.samples[0][0]
    minutes = sorted({round((at - begin) / step) for at, _ in series.samples})
    first, last = max(held.stretches(minutes, MINUTE), key=lambda one: one[1] - one[0])
    length = (last - first + 1) * step
    if length > (device.idle_until or 0) - (device.idle_from or 0):
        device.idle_until = begin + last * step
        device.idle_from = device.idle_until - length


def _ask(client: Client, at: float, queries: dict[str, str]) -> dict[str, list[Row]]:
    calls: list[Callable[[], list[Row]]] = [partial(client.instant, query, at) for query in queries.values()]
    return dict(zip(queries, client.together(calls), strict=True))


def _means(rows: list[Row], name: str, one: Try, devices: dict[Key, Device]) -> None:
    for row, device in _of(rows, devices):
        device.mean(name, row.value, max(1, one.end - one.begin))


def _of(rows: list[Row], devices: dict[Key, Device]) -> list[tuple[Row, Device]]:
    return [(row, devices[_key(row)]) for row in rows if _key(row) in devices]


def _key(row: Row) -> Key:
    return row.labels.get("host", ""), row.labels.get("gpu", ""), row.labels.get("GPU_I_ID", "")
