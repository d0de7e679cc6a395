"""
Turns what GPUs do over time into the series that Prometheus would have of it, in either metric schema.

Everything here is on purpose no code of the product: names, units and labels are written once more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

# Seconds between samples and between evaluations, and those that the series last.
STEP, MINUTE, END = 30, 60, 50 * 60
Course = Callable[[int], float | None]
# name, and what a value in base units (memory: MiB) is multiplied by, by schema
NAMES: dict[int, dict[str, tuple[str, float]]] = {
    1: {
        "power": ("DCGM_FI_DEV_POWER_USAGE", 1),
        "energy": ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 1000),
        "utilization": ("DCGM_FI_DEV_GPU_UTIL", 100),
        "profiling": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1),
        "used": ("DCGM_FI_DEV_FB_USED", 1),
        "free": ("DCGM_FI_DEV_FB_FREE", 1),
        "reserved": ("DCGM_FI_DEV_FB_RESERVED", 1),
        "temperature": ("DCGM_FI_DEV_GPU_TEMP", 1),
        "limit": ("DCGM_FI_DEV_ENFORCED_POWER_LIMIT", 1),
    },
    2: {
        "power": ("DCGM_FI_DEV_BOARD_POWER_WATTS", 1),
        "energy": ("DCGM_FI_DEV_GPU_ENERGY_JOULES_TOTAL", 1),
        "utilization": ("DCGM_FI_DEV_GPU_UTIL_RATIO", 1),
        "profiling": ("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", 1),
        "used": ("DCGM_FI_DEV_FB_USED_BYTES", 1048576),
        "free": ("DCGM_FI_DEV_FB_FREE_BYTES", 1048576),
        "reserved": ("DCGM_FI_DEV_FB_RESERVED_BYTES", 1048576),
        "temperature": ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", 1),
        "limit": ("DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", 1),
    },
}


def always(value: float | None) -> Course:
    """Return a course that never changes."""
    return lambda now: value


def during(begin: int, end: int, value: float | None, else_: float | None = 0) -> Course:
    """Return a course that has ``value`` from ``begin`` up to ``end``, and another value before and after."""
    return lambda now: value if begin <= now < end else else_


NO_ROW, NOTHING, EMPTY = always(None), always(0), always(512)


@dataclass(frozen=True)
class Job:
    """A job: whose it is, and when it holds its GPU."""

    id: int
    begin: int
    end: int
    user: str
    account: str = "physics"
    partition: str = "batch"

    def runs(self, now: int) -> bool:
        return self.begin <= now < self.end


@dataclass(frozen=True)
class Device:
    """
    A GPU, or an instance of one: what it does, and who holds it.

    A value that is None has no row. ``energy`` is what its counter says, where that is not the sum of its power.
    ``scraped`` and ``told`` say when the exporter and our own metrics answer; ``late`` by how many seconds these know a
    job later than the exporter. ``owners`` are further rows of slurm_gpu_job_info that name others.
    """

    host: str
    gpu: int
    power: Course
    profiling: Course = NOTHING
    utilization: Course = NOTHING
    used: Course = EMPTY
    jobs: Sequence[Job] = ()
    cluster: str = "a"
    instance: str = ""
    profile: str = ""
    energy: Course | None = None
    limit: Course = NO_ROW
    scraped: Callable[[int], bool] = lambda now: True
    told: Callable[[int], bool] = lambda now: True
    late: int = 0
    owners: Sequence[str] = ()

    @cached_property
    def values(self) -> dict[str, Course]:
        """What its exporter says, by the keys of ``NAMES``."""
        size = 81920 if not self.instance else 20480
        return {
            "power": self.power,
            "energy": self.energy or summed(self.power),
            "utilization": always(None) if self.instance else self.utilization,
            "profiling": self.profiling,
            "used": self.used,
            "free": lambda now: size - 600 - (self.used(now) or 0),
            "reserved": always(600),
            "temperature": always(45),
            "limit": self.limit,
        }


def summed(power: Course, first: float = 2e9) -> Course:
    """Return what a counter of joules says that counts ``power``."""
    totals = [first]
    for second in range(END + STEP):
        totals.append(totals[-1] + (power(second) or 0))
    return lambda now: totals[now]


@dataclass
class Series:
    """All series of a scenario: values by labels; what has none at a time is not there then."""

    found: dict[tuple[tuple[str, str], ...], dict[int, float]] = field(default_factory=lambda: defaultdict(dict))

    def add(self, now: int, value: float, **labels: str) -> None:
        self.found[tuple(sorted((name, text) for name, text in labels.items() if text))][now] = value

    def texts(self) -> list[dict[str, str]]:
        """Return them as promtool takes them; what ends is stale, as after a scrape that lacks it."""
        return [{"series": _selector(dict(key)), "values": _values(values)} for key, values in self.found.items()]


def _selector(labels: dict[str, str]) -> str:
    name = labels.pop("__name__")
    matchers = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"{name}{{{matchers}}}"


def _values(values: dict[int, float]) -> str:
    words = []
    for now in range(0, END + 1, STEP):
        lost = now - STEP in values and now not in values
        words.append(repr(values[now]) if now in values else "stale" if lost else "_")
    return " ".join(words)


def collect(devices: Sequence[Device], schema_of: Callable[[Device], int], labelled: bool = True) -> Series:
    """
    Return the series of devices.

    :param schema_of: returns the metric schema that a device's exporter has.
    :param labelled: whether the exporter's rows have ``hpc_job``.
    """
    found = Series()
    for device in devices:
        for now in range(0, END + 1, STEP):
            if device.scraped(now):
                _exporter(found, device, schema_of(device), now, labelled)
            if device.told(now):
                _info(found, device, now)
    return found


def _exporter(found: Series, device: Device, schema: int, now: int, labelled: bool) -> None:
    driver = {1: "DCGM_FI_DRIVER_VERSION", 2: "DCGM_FI_SYSTEM_DRIVER_VERSION"}[schema]
    labels: dict[str, Any] = {**_place(device, "dcgm-exporter", 9400), "modelName": "NVIDIA H100", driver: "550.54.15"}
    jobs = [str(job.id) for job in device.jobs if job.runs(now)] if labelled else []
    for key, course in device.values.items():
        name, factor = NAMES[schema][key]
        value = course(now)
        for job in [*jobs] or [""]:
            if value is not None:
                found.add(now, value * factor, __name__=name, **labels, hpc_job=job)


def _info(found: Series, device: Device, now: int) -> None:
    labels = _place(device, "superpod-dcgm", 9401)
    for job in device.jobs:
        for user in [job.user, *device.owners] if job.runs(now - device.late) else []:
            owner = {"hpc_job": str(job.id), "user": user, "account": job.account, "partition": job.partition}
            found.add(now, 1, __name__="slurm_gpu_job_info", **labels, **owner)


def _place(device: Device, job: str, port: int) -> dict[str, str]:
    return {
        **{"cluster": device.cluster, "host": device.host, "job": job, "instance": f"{device.host}:{port}"},
        **{"gpu": str(device.gpu), "UUID": f"GPU-{device.host}-{device.gpu}"},
        **{"GPU_I_ID": device.instance, "GPU_I_PROFILE": device.profile},
    }
