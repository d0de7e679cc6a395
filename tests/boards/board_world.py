"""
Clusters for the dashboards' questions, made up: what Prometheus would have of them, as OpenMetrics text.

``one`` has metric schema 1, ``two`` schema 2, ``both`` nodes of either, with GPUs whose use is known by hand. ``big``
has more nodes, GPUs of a job, users, alerts than a panel may have lines. All of it lasts ``SECONDS`` and never changes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from superpod_dcgm.monitoring import metric_names

# The first moment, at the edge of a block of Prometheus' database.
BEGIN, STEP, SECONDS = 1_700_006_400, 60, 35 * 60
END = BEGIN + SECONDS
MIB = 1048576
BIG_NODES, BIG_GPUS = 60, 2
Labels = dict[str, str]


@dataclass(frozen=True)
class Job:
    id: int
    user: str = "alice"
    account: str = "physics"
    partition: str = "batch"


@dataclass(frozen=True)
class Gpu:
    """A GPU or an instance, with what it does all the time: use, watts, MiB in use."""

    cluster: str
    host: str
    schema: int
    gpu: int
    use: float
    watts: float
    used: float = 0
    jobs: tuple[Job, ...] = ()
    instance: str = ""
    profile: str = ""
    labels: Labels = field(default_factory=dict)

    @property
    def place(self) -> Labels:
        found = {"cluster": self.cluster, "host": self.host, "gpu": str(self.gpu)}
        return found | ({"GPU_I_ID": self.instance, "GPU_I_PROFILE": self.profile} if self.instance else {})


# Values in base units of those keys of metric_names that do not depend on what a GPU does.
SAME = {
    **{"sm_clock": 1.98e9, "memory_clock": 2.6e9, "memory_temperature": 60, "gpu_temperature": 45},
    **{"pcie_replays": 3, "rows_remapped_uncorrectable": 1, "rows_remapped_correctable": 2, "row_remap_failed": 0},
    **{"row_remap_pending": 1, "ecc_single_bit": 5, "ecc_double_bit": 1, "recovery_action": 0, "fabric_health": 1},
    **{"nvlink_replays": 4, "nvlink_recoveries": 1, "nvlink_throughput": 45e9, "prof_pcie_tx": 12e9},
    **{"prof_pcie_rx": 11e9},
}
PART = {"gpu_utilization": 1.0, "prof_engine": 1.0, "prof_tensor": 0.5, "prof_dram": 0.25}
SIZE, RESERVED = 81920, 600
ALICE, BOB, CAROL = Job(101), Job(401, "bob"), Job(402, "carol", "chemistry", "debug")
DAVE, ERIN = Job(501, "dave"), Job(502, "erin", "chemistry")


def small(cluster: str, schemas: tuple[int, int]) -> list[Gpu]:
    """Return a job that uses one of two GPUs of four, two jobs on one GPU, and two jobs on one of three instances."""
    first, second = schemas
    shared = Gpu(cluster, "n2", second, 0, 0.6, 300, 20000, (BOB, CAROL))
    mig = Gpu(cluster, "n3", first, 0, 0.9, 350, 30000, (DAVE, ERIN), "2", "3g.40gb")
    return [
        Gpu(cluster, "n1", first, 0, 0.8, 400, 40960, (ALICE,)),
        Gpu(cluster, "n1", first, 1, 0, 90, 512, (ALICE,)),
        Gpu(cluster, "n1", first, 2, 0, 70),
        Gpu(cluster, "n1", first, 3, 0, 70),
        shared,
        replace(shared, gpu=1, jobs=(), watts=70, use=0, used=0),
        mig,
        replace(mig, instance="5", profile="2g.20gb", use=0.5, used=10000, jobs=()),
        replace(mig, instance="9", profile="1g.10gb", use=0, used=0, jobs=()),
    ]


def big() -> list[Gpu]:
    """Return one job on all GPUs of many nodes, with another on each, and a node of 56 instances."""
    found = []
    for number in range(BIG_NODES * BIG_GPUS):
        who = number % 60
        other = Job(10000 + number, f"u{who:02}", f"a{who:02}", f"p{who:02}")
        host, gpu = f"b{number // BIG_GPUS:02}", number % BIG_GPUS
        use = (number % 10) / 10
        found.append(Gpu("big", host, 1 + number // BIG_GPUS % 2, gpu, use, 300, 20000, (Job(9000), other)))
    for number in range(56):
        gpu, instance = divmod(number, 7)
        found.append(Gpu("big", "mig", 1, gpu, 0.5, 300, 5000, (), str(instance + 7), "1g.10gb"))
    return found


GPUS = [*small("one", (1, 1)), *small("two", (2, 2)), *small("both", (1, 2)), *big()]


def values(gpu: Gpu) -> Iterator[tuple[str, float, float]]:
    """Yield what its exporter says: name, first value, and how much that grows in a second."""
    base = {**SAME, "power": gpu.watts, "memory_used": gpu.used * MIB, "memory_reserved": RESERVED * MIB}
    base["memory_free"] = (SIZE - RESERVED - gpu.used) * MIB
    base |= {key: gpu.use * part for key, part in PART.items() if not (gpu.instance and key == "gpu_utilization")}
    for key, value in base.items():
        one = metric_names.METRICS[key]
        name = one.old if gpu.schema == 1 else one.new
        # One of schema 1 times the factor is one of schema 2.
        yield name, value / (one.factor if gpu.schema == 1 else 1), 0
    energy = metric_names.METRICS["energy"]
    name, factor = (energy.old, 1000) if gpu.schema == 1 else (energy.new, 1)
    yield name, 2e9 * factor, gpu.watts * factor


def exporters() -> Iterator[tuple[str, Labels, float, float]]:
    for gpu in GPUS:
        labels = {**gpu.place, "job": "dcgm-exporter", "UUID": f"GPU-{gpu.host}-{gpu.gpu}"}
        for name, value, growth in values(gpu):
            for job in [str(job.id) for job in gpu.jobs] or [""]:
                yield name, {**labels, "hpc_job": job}, value, growth
        yield "DCGM_EXP_CLOCK_EVENTS_COUNT", {**labels, "clock_event": "hw_thermal"}, 2, 0
        for watch, state in (("ALL", 10), ("PCIE", 0), ("MEM", 10)):
            yield "DCGM_EXP_GPU_HEALTH_STATUS", {**labels, "health_watch": watch}, state, 0


def owners() -> Iterator[tuple[str, Labels, float, float]]:
    for gpu in GPUS:
        for job in gpu.jobs:
            who = {"user": job.user, "account": job.account, "partition": job.partition}
            yield "slurm_gpu_job_info", {**gpu.place, "job": "superpod-dcgm", "hpc_job": str(job.id), **who}, 1, 0


def nodes() -> Iterator[tuple[str, Labels, float, float]]:
    """Yield what there is of each node: whether it answers, our own metrics, its node_exporter."""
    hosts = {(gpu.cluster, gpu.host): gpu.schema for gpu in GPUS}
    for cluster in ("one", "two", "both", "big"):
        for host in ["n9"] if cluster != "big" else [f"d{number:02}" for number in range(55)]:
            yield "up", {"cluster": cluster, "host": host, "job": "dcgm-exporter"}, 0, 0
    for (cluster, host), schema in hosts.items():
        place = {"cluster": cluster, "host": host}
        yield "up", {**place, "job": "dcgm-exporter"}, 1, 0
        yield "scrape_duration_seconds", {**place, "job": "dcgm-exporter"}, 0.4, 0
        yield "superpod_dcgm_info", {**place, "release": "4.9.0" if schema == 2 else "4.5.3-4.8.2"}, 1, 0
        for name, value in (("superpod_dcgm_gpus_freed", 0), ("superpod_dcgm_kernel_log_ok", 1)):
            yield name, place, value, 0
        for name, value in (("device_table_ok", 1), ("device_table_guessed", 0), ("reconcile_ok", 1)):
            yield f"dcgm_job_map_{name}", place, value, 0
        yield from machine(place)


def machine(place: Labels) -> Iterator[tuple[str, Labels, float, float]]:
    """Yield what a node_exporter says of two processors and one of everything else."""
    for cpu in ("0", "1"):
        for mode, share in (("idle", 0.75), ("user", 0.25)):
            yield "node_cpu_seconds_total", {**place, "cpu": cpu, "mode": mode}, 100, share
    yield "node_memory_MemAvailable_bytes", place, 3e11, 0
    yield "node_memory_MemTotal_bytes", place, 1e12, 0
    disk = {**place, "mountpoint": "/", "fstype": "ext4", "device": "/dev/nvme0n1p1"}
    yield "node_filesystem_avail_bytes", disk, 2e11, 0
    yield "node_filesystem_size_bytes", disk, 1e12, 0
    rates = {"network_receive": "eth0", "network_transmit": "eth0", "disk_read": "nvme0n1", "disk_written": "nvme0n1"}
    for name, device in rates.items():
        yield f"node_{name}_bytes_total", {**place, "device": device}, 1e9, 1e6
    for way in ("received", "transmitted"):
        yield f"node_infiniband_port_data_{way}_bytes_total", {**place, "device": "mlx5_0", "port": "1"}, 1e9, 1e8
    yield "node_infiniband_link_downed_total", {**place, "device": "mlx5_0", "port": "1"}, 1, 0


def heads() -> Iterator[tuple[str, Labels, float, float]]:
    for cluster in ("one", "two", "both", "big"):
        place = {"cluster": cluster, "host": "bcm-01"}
        for kind, number in (("wanted", 4), ("unknown", 0), ("owed", 1)):
            yield f"superpod_dcgm_nodes_{kind}", place, number, 0
        for kind in ("poll", "answer"):
            yield f"superpod_dcgm_watcher_{kind}_timestamp_seconds", place, BEGIN, 1


def events() -> Iterator[tuple[str, Labels, float, float]]:
    """Yield alerts and XIDs: a few of each small cluster, and of the big one more than a panel shows."""
    places = [(cluster, "n1", "0") for cluster in ("one", "two", "both")]
    places += [("big", f"b{number:02}", "0") for number in range(BIG_NODES)]
    for cluster, host, gpu in places:
        place = {"cluster": cluster, "host": host, "gpu": gpu}
        # Both tell the same one.
        yield "gpu_xid:superpod_dcgm_xids:recent", {**place, "xid": "79"}, 2, 0
        yield "gpu_xid:superpod_kernel_xids:recent", {**place, "xid": "79", "pci_bus_id": "00000000:1B:00.0"}, 1, 0
        for severity in ("critical", "warning", "info"):
            alert = {**place, "alertname": f"SuperpodOf{severity}", "severity": severity}
            yield "ALERTS", {**alert, "alertstate": "firing"}, 1, 0
            yield "ALERTS_FOR_STATE", alert, BEGIN + 60, 0
        waits = {**place, "alertname": "SuperpodWaits", "severity": "critical"}
        yield "ALERTS", {**waits, "alertstate": "pending"}, 1, 0
        yield "ALERTS_FOR_STATE", waits, BEGIN + 90, 0


def openmetrics() -> Iterator[str]:
    """Yield the text of all of it, series by series."""
    for part in (exporters(), owners(), nodes(), heads(), events()):
        for name, labels, value, growth in part:
            inside = ",".join(f'{label}="{text}"' for label, text in labels.items() if text)
            for now in range(0, SECONDS + 1, STEP):
                yield f"{name}{{{inside}}} {value + growth * now!r} {BEGIN + now}\n"
    yield "# EOF\n"
