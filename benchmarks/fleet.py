"""What 2,000 nodes with 16,000 GPUs say, all of them in jobs: series, and pages in Prometheus' text format."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from history import Series
from superpod_dcgm.monitoring import alert_site, metric_names

NODES, GPUS, SHARDS, JOB_GPUS = 2000, 8, 16, 8
EXPORTER, OWN = "dcgm-exporter", "superpod-dcgm"
ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
# name: value of GPU number N; that of others is 0.
ROWS = {
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": lambda gpu: 0.5,
    "DCGM_FI_DEV_GPU_UTIL": lambda gpu: 0 if gpu % 50 == 0 else 70,
    "DCGM_FI_DEV_POWER_USAGE": lambda gpu: 400 + gpu % 200,
    "DCGM_FI_DEV_FB_USED": lambda gpu: 40000,
    "DCGM_FI_DEV_FB_FREE": lambda gpu: 40000,
    "DCGM_FI_DEV_FB_RESERVED": lambda gpu: 600,
    "DCGM_FI_DEV_GPU_TEMP": lambda gpu: 55,
    "DCGM_FI_DEV_MEMORY_TEMP": lambda gpu: 60,
    "DCGM_FI_DEV_GPU_TEMP_LIMIT": lambda gpu: 30,
    "DCGM_FI_DEV_SLOWDOWN_TEMP": lambda gpu: 89,
    "DCGM_FI_DEV_GPU_MAX_OP_TEMP": lambda gpu: 87,
    "DCGM_FI_DEV_MEM_MAX_OP_TEMP": lambda gpu: 95,
    "DCGM_FI_DEV_ECC_SBE_VOL_TOTAL": lambda gpu: gpu % 3,
    "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY": lambda gpu: 1,
    "DCGM_EXP_CLOCK_EVENTS_COUNT": lambda gpu: 5,
}
# Labels that a row has besides.
MORE = {"DCGM_EXP_CLOCK_EVENTS_COUNT": {"clock_event": "power_cap"}, alert_site.XID_TOTAL: {"xid": "13"}}
# Metrics of a node that have one row.
NODE = {
    "superpod_dcgm_kernel_log_ok": 1,
    "superpod_dcgm_gpus_freed": 0,
    "dcgm_job_map_device_table_ok": 1,
    "dcgm_job_map_device_table_guessed": 0,
    "dcgm_job_map_device_table_pending": 0,
    "superpod_dcgm_exporter_certificate_expiry_timestamp_seconds": 4e9,
}


def rows(configuration: Mapping[str, Any]) -> list[str]:
    """Return the names of the rows of an exporter's page that rules and alerts read."""
    known = metric_names.METRICS
    shown = {known[key].old if key in known else key for key in alert_site.shown(configuration)}
    return sorted({*(name for name in shown if name), *ROWS} - {ENERGY})


def gpus(shard: int) -> range:
    each = NODES * GPUS // SHARDS
    return range(shard * each, (shard + 1) * each)


def host(node: int, job: str = EXPORTER) -> dict[str, str]:
    port = 9400 if job == EXPORTER else 9401
    return {"job": job, "instance": f"dgx-{node:04}:{port}", "cluster": "a", "host": f"dgx-{node:04}"}


def board(gpu: int, job: str = EXPORTER) -> dict[str, str]:
    return {**host(gpu // GPUS, job), "gpu": str(gpu % GPUS), "UUID": f"GPU-{gpu:08}"}


def jobs(gpu: int) -> list[int]:
    """Every tenth GPU is shared."""
    job = 100000 + gpu // JOB_GPUS
    return [job, job + 900000] if gpu % 10 == 0 else [job]


def of_gpus(names: list[str], shard: int) -> Iterator[Series]:
    """Yield rows of exporters. An XID is only where one was: on every fiftieth GPU."""
    for name in names:
        value, more = ROWS.get(name, lambda gpu: 0), MORE.get(name, {})
        for gpu in gpus(shard)[:: 50 if name == alert_site.XID_TOTAL else 1]:
            for job in jobs(gpu):
                yield name, {**board(gpu), **more, "hpc_job": str(job)}, value(gpu)


def owners(shard: int) -> Iterator[Series]:
    for gpu in gpus(shard):
        for job in jobs(gpu):
            owner = {"user": f"u{job % 400}", "account": f"a{job % 40}", "partition": f"p{job % 4}"}
            yield "slurm_gpu_job_info", {**board(gpu, OWN), "hpc_job": str(job), **owner}, 1


def of_nodes(shard: int) -> Iterator[Series]:
    """Yield what nodes say of themselves, and what Prometheus adds."""
    for node in range(gpus(shard)[0] // GPUS, gpus(shard)[-1] // GPUS + 1):
        for job in (EXPORTER, OWN):
            yield "up", host(node, job), 1
            yield "scrape_duration_seconds", host(node, job), 0.2
        place = host(node, OWN)
        for name, value in NODE.items():
            yield name, place, value
        yield "superpod_dcgm_info", {**place, "release": "4.5.3-4.8.2", "method": "artifact", "code": "x"}, 1
        for script in ("prolog", "epilog"):
            for reason in ("lock", "table", "write"):
                yield "dcgm_job_map_failures_total", {**place, "script": script, "reason": reason}, 0
        if node % 20 == 0:
            yield "superpod_dcgm_kernel_xid_total", {**board(node * GPUS, OWN), "xid": "13"}, 2
            switch = {"nvswitch": "0", "sxid": "20034", "severity": "fatal"}
            yield "superpod_dcgm_kernel_sxid_total", {**place, **switch}, 1


def of_head() -> Iterator[Series]:
    place = {"job": "superpod-dcgm-head", "instance": "head:9402", "cluster": "a", "host": "head"}
    yield "superpod_dcgm_head_info", {**place, "release": "4.5.3-4.8.2"}, 1
    yield "superpod_dcgm_nodes_wanted", place, NODES
    yield "up", place, 1
    for kind in (EXPORTER, OWN):
        yield "superpod_dcgm_nodes_with_target", {**place, "kind": kind}, NODES


def fixed(names: list[str], shard: int) -> str:
    """Return that part of a page which stays as it is."""
    series = [*of_gpus(names, shard), *owners(shard), *of_nodes(shard), *(of_head() if shard == 0 else ())]
    return text(series)


def text(series: list[Series]) -> str:
    lines = []
    for name, labels, value in series:
        pairs = ",".join(f'{key}="{word}"' for key, word in labels.items())
        lines.append(f"{name}{{{pairs}}} {value}\n")
    return "".join(lines)


def moving(shard: int) -> str:
    """Return that part of a page which is another one each time."""
    now = time.time()
    seconds = int(now * 1000) - 1_700_000_000_000
    series: list[Series] = [
        (ENERGY, {**board(gpu), "hpc_job": str(job)}, (400 + gpu % 200) * seconds)
        for gpu in gpus(shard)
        for job in jobs(gpu)
    ]
    for node in range(gpus(shard)[0] // GPUS, gpus(shard)[-1] // GPUS + 1):
        series.append(("dcgm_job_map_reconcile_timestamp_seconds", host(node, OWN), now))
    if shard == 0:
        place = {"job": "superpod-dcgm-head", "instance": "head:9402", "cluster": "a", "host": "head"}
        series.append(("superpod_dcgm_targets_timestamp_seconds", place, now))
    return text(series)


def past_day() -> Iterator[Series]:
    """Yield of the past day what rules look at for so long."""
    names = ("up", "superpod_dcgm_kernel_log_ok", "superpod_dcgm_kernel_xid_total", "superpod_dcgm_kernel_sxid_total")
    for shard in range(SHARDS):
        yield from (one for one in of_nodes(shard) if one[0] in names and one[0] + one[1]["job"] != f"up{OWN}")
        yield from of_gpus([alert_site.XID_TOTAL], shard)
    for node in range(NODES):
        yield "host:superpod_gpus:count", {"cluster": "a", "host": f"dgx-{node:04}"}, GPUS


def past_hour(names: list[str]) -> Iterator[Series]:
    """Yield counters of GPUs and nodes, of which rules compare what was."""
    counters = [name for name in names if name.startswith(("DCGM_FI_DEV_NVLINK", "DCGM_FI_DEV_ECC"))]
    for shard in range(SHARDS):
        yield from of_gpus([*counters, "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS"], shard)
        yield from (one for one in of_nodes(shard) if one[0].startswith("dcgm_job_map_"))
