"""
A small cluster for pictures of the dashboards, made up: what Prometheus would have of a day's last hours on it.

Ten nodes with eight GPUs, of either metric schema, with jobs that train, wait, start again, or leave GPUs alone. One
node does not answer, a GPU is hot, another has an XID. ``board_world`` is for numbers, this is for eyes.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

import board_world
from board_world import BEGIN, MIB, Labels
from superpod_dcgm.monitoring import metric_names

STEP, SECONDS = 60, 6 * 3600
END = BEGIN + SECONDS
CLUSTER, GPUS = "pod-a", 8
HOSTS = [f"dgx-{number:02}" for number in range(1, 11)]
DOWN, HOT, SICK = "dgx-10", ("dgx-04", 5), ("dgx-07", 2)
MOST_MIB, MOST_WATTS = 81920, 690


@dataclass(frozen=True)
class Work:
    """A job: whose, on which GPUs of which nodes, from and to which share of the time, and how busy."""

    id: int
    user: str
    account: str
    partition: str
    hosts: tuple[str, ...]
    gpus: range
    begin: float
    end: float
    use: float
    memory: float
    idle: tuple[int, ...] = ()
    wave: float = 0.04


WORKS = [
    Work(48211, "mreyes", "nlp", "train", tuple(HOSTS[:4]), range(8), 0.0, 1.0, 0.93, 0.86, wave=0.05),
    Work(48219, "tanaka", "vision", "train", ("dgx-05",), range(8), 0.1, 1.0, 0.78, 0.61, (5, 6, 7)),
    Work(48220, "okafor", "climate", "train", ("dgx-06",), range(4), 0.0, 0.62, 0.55, 0.40, wave=0.2),
    Work(48231, "okafor", "climate", "train", ("dgx-06",), range(4), 0.66, 1.0, 0.58, 0.41, wave=0.2),
    Work(48225, "lindqvist", "biology", "interactive", ("dgx-06",), range(4, 6), 0.3, 1.0, 0.0, 0.02, (4, 5)),
    Work(48226, "dubois", "nlp", "inference", ("dgx-07",), range(8), 0.0, 1.0, 0.36, 0.72, wave=0.22),
    Work(48228, "haddad", "vision", "train", ("dgx-08", "dgx-09"), range(8), 0.45, 0.97, 0.88, 0.77, wave=0.08),
]


def work_of(host: str, gpu: int, share: float) -> Work | None:
    """Return the job that has a GPU at a time."""
    there = (one for one in WORKS if host in one.hosts and gpu in one.gpus and one.begin <= share < one.end)
    return next(there, None)


def use_of(work: Work | None, host: str, gpu: int, now: int, chance: random.Random) -> float:
    """Return how busy a GPU is: a wave of its job, some chance, and a pause each half hour, when it saves its state."""
    if work is None or gpu in work.idle:
        return 0
    if work.use > 0.8 and now // STEP % 30 == 7:
        return 0.05
    wave = work.wave * math.sin(now / 1100 + work.id + HOSTS.index(host) * 0.2)
    return min(1, max(0, work.use + wave + chance.gauss(0, 0.015)))


def samples(host: str, gpu: int) -> Iterator[tuple[int, Work | None, dict[str, float]]]:
    """Yield what a GPU does each minute, in base units by the keys of metric_names."""
    chance, energy, heat = random.Random(f"{host}{gpu}"), 2e9, 30.0
    for now in range(0, SECONDS + 1, STEP):
        work = work_of(host, gpu, now / SECONDS)
        use = use_of(work, host, gpu, now, chance)
        watts = 72 + (MOST_WATTS - 72) * use * 0.93 + chance.gauss(0, 5)
        heat += ((31 + 37 * use + (19 if (host, gpu) == HOT else 0) + gpu % 3) - heat) * 0.3
        energy += watts * STEP
        used = (work.memory if work and gpu not in work.idle else 0.006) * MOST_MIB * MIB
        found = {**board_world.SAME, "power": watts, "energy": energy, "gpu_temperature": round(heat)}
        found |= {"memory_temperature": round(heat + 9), "memory_used": used, "memory_reserved": 600 * MIB}
        found |= {"memory_free": (MOST_MIB - 600) * MIB - used, "gpu_utilization": use, "prof_engine": use * 0.97}
        found |= {"prof_tensor": use * 0.41, "prof_dram": use * 0.55, "nvlink_throughput": use * 210e9}
        found |= {
            "prof_pcie_tx": use * 9e9 + 1e6,
            "prof_pcie_rx": use * 6e9 + 1e6,
            "sm_clock": 1.98e9 - 3e8 * (use < 0.1),
        }
        found |= {
            key: 0 for key in ("rows_remapped_uncorrectable", "row_remap_pending", "ecc_double_bit", "nvlink_replays")
        }
        found |= {
            key: 0 for key in ("ecc_single_bit", "rows_remapped_correctable", "pcie_replays", "nvlink_recoveries")
        }
        if (host, gpu) == SICK:
            found |= {"rows_remapped_uncorrectable": 1, "row_remap_pending": 1, "ecc_single_bit": 412}
        yield now, work, found


def exporters() -> Iterator[str]:
    for index, host in enumerate(HOSTS[:-1]):
        for gpu in range(GPUS):
            lines: dict[tuple[str, str], list[str]] = {}
            place = {
                "cluster": CLUSTER,
                "host": host,
                "gpu": str(gpu),
                "job": "dcgm-exporter",
                "UUID": f"GPU-{host}-{gpu}",
            }
            for now, work, values in samples(host, gpu):
                label = {**place, "hpc_job": str(work.id)} if work else place
                for key, value in values.items():
                    one = metric_names.METRICS[key]
                    name, factor = (one.old, one.factor) if index < 5 else (one.new, 1)
                    lines.setdefault((name, str(label)), []).append(line(name, label, value / factor, now))
                for name, more, value in states(host, gpu, now):
                    lines.setdefault((name, str(more)), []).append(line(name, {**label, **more}, value, now))
            for texts in lines.values():
                yield from texts


def states(host: str, gpu: int, now: int) -> Iterator[tuple[str, Labels, float]]:
    late = now > SECONDS * 0.7
    sick = 10 if (host, gpu) == SICK and late else 0
    for watch in ("ALL", "MEM", "PCIE", "NVLINK", "THERMAL"):
        yield "DCGM_EXP_GPU_HEALTH_STATUS", {"health_watch": watch}, sick if watch in ("ALL", "MEM") else 0
    hot = (host, gpu) == HOT and now > SECONDS * 0.2
    for event, there in (("sw_thermal", hot), ("power_cap", host in HOSTS[:4]), ("gpu_idle", False)):
        yield "DCGM_EXP_CLOCK_EVENTS_COUNT", {"clock_event": event}, 3 if there else 0


def line(name: str, labels: Labels, value: float, now: int) -> str:
    inside = ",".join(f'{label}="{text}"' for label, text in labels.items() if text)
    return f"{name}{{{inside}}} {value!r} {BEGIN + now}\n"


def always(
    name: str, labels: Labels, value: float, begin: float = 0, end: float = 1, growth: float = 0
) -> Iterator[str]:
    for now in range(0, SECONDS + 1, STEP):
        if begin <= now / SECONDS <= end:
            yield line(name, labels, value + growth * now, now)


def owners() -> Iterator[str]:
    for work in WORKS:
        who = {"hpc_job": str(work.id), "user": work.user, "account": work.account, "partition": work.partition}
        for host in work.hosts:
            for gpu in work.gpus:
                place = {"cluster": CLUSTER, "host": host, "gpu": str(gpu), "job": "superpod-dcgm"}
                yield from always("slurm_gpu_job_info", {**place, **who}, 1, work.begin, work.end)


def nodes() -> Iterator[str]:
    for index, host in enumerate(HOSTS):
        place = {"cluster": CLUSTER, "host": host}
        exporter = {**place, "job": "dcgm-exporter"}
        yield from always("up", exporter, 1, 0, 0.8 if host == DOWN else 1)
        if host == DOWN:
            yield from always("up", exporter, 0, 0.8001)
            continue
        yield from always("scrape_duration_seconds", exporter, 0.21 + 0.013 * index)
        yield from always("superpod_dcgm_info", {**place, "release": "4.9.0" if index >= 5 else "4.5.3-4.8.2"}, 1)
        for name, value in (("superpod_dcgm_gpus_freed", 0), ("superpod_dcgm_kernel_log_ok", int(host != "dgx-03"))):
            yield from always(name, place, value)
        for name, value in (("device_table_ok", 1), ("device_table_guessed", 0), ("reconcile_ok", 1)):
            yield from always(f"dcgm_job_map_{name}", place, value)
        for name, labels, value, growth in board_world.machine(place):
            yield from always(name, labels, value, growth=growth)
    head = {"cluster": CLUSTER, "host": "bcm-01"}
    for kind, number in (("wanted", len(HOSTS)), ("unknown", 0), ("owed", 1)):
        yield from always(f"superpod_dcgm_nodes_{kind}", head, number)
    for kind in ("poll", "answer"):
        yield from always(f"superpod_dcgm_watcher_{kind}_timestamp_seconds", head, BEGIN, growth=1)


# Alert, severity, node, GPU, from and to which share of the time.
ALERTS = [
    ("SuperpodExporterDown", "critical", DOWN, "", 0.81, 1.0),
    ("SuperpodGpuHot", "warning", HOT[0], str(HOT[1]), 0.25, 1.0),
    ("SuperpodGpuRowRemapped", "warning", SICK[0], str(SICK[1]), 0.71, 1.0),
    ("SuperpodGpuRemapPending", "warning", SICK[0], str(SICK[1]), 0.71, 1.0),
    ("SuperpodGpuIdle", "info", "dgx-06", "4", 0.5, 1.0),
    ("SuperpodGpuIdle", "info", "dgx-06", "5", 0.5, 1.0),
    ("SuperpodGpuXidApplication", "info", "dgx-06", "1", 0.60, 0.64),
]
XIDS = [("63", *SICK, 0.70, 0.74), ("31", "dgx-06", 1, 0.60, 0.63), ("43", "dgx-06", 2, 0.60, 0.63)]


def events() -> Iterator[str]:
    for alert, severity, host, gpu, begin, end in ALERTS:
        labels = {"alertname": alert, "severity": severity, "cluster": CLUSTER, "host": host, "gpu": gpu}
        yield from always("ALERTS", {**labels, "alertstate": "firing"}, 1, begin, end)
        yield from always("ALERTS_FOR_STATE", labels, BEGIN + begin * SECONDS, begin, end)
    for xid, host, number, begin, end in XIDS:
        labels = {"cluster": CLUSTER, "host": host, "gpu": str(number), "xid": xid}
        yield from always("gpu_xid:superpod_dcgm_xids:recent", labels, 1, begin, end)


def openmetrics() -> Iterator[str]:
    """Yield the text of all of it, series by series."""
    for part in (exporters(), owners(), nodes(), events()):
        yield from part
    yield "# EOF\n"
