"""
What the rules are tried on: GPUs whose use can be reckoned by hand, and what comes out.

Jobs run from minute 5 to minute 35 unless said otherwise. Rules are asked between two samples, so that it does not
matter whether a range has its left edge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rule_series import NO_ROW, Course, Device, Job, always, during

BEGIN, FINISH = 300, 2100
MIB = 1048576
# When the rules are asked: what is now in the middle, amounts of all minutes at the end.
MIDDLE, LAST = "20m45s", "48m45s"
MINUTES = 49


def job(number: int, user: str, begin: int = BEGIN, end: int = FINISH, **more: str) -> Job:
    return Job(number, begin, end, user, **more)


def busy(value: float, otherwise: float = 0) -> Course:
    """Return a course that has ``value`` while the usual job runs."""
    return during(BEGIN, FINISH, value, otherwise)


def reset(watts: float) -> Course:
    """Return a counter that begins again in minute 20, as after a reload of the driver."""
    return lambda now: 2e9 + watts * now if now < 1215 else watts * (now - 1215)


def exchanged(watts: float) -> Course:
    """Return a counter that is another GPU's from minute 20 on."""
    return lambda now: (2e9 if now < 1215 else 7e9) + watts * now


def outside(begin: int, end: int) -> Callable[[int], bool]:
    return lambda now: not begin <= now < end


ALICE = job(101, "alice")
SHARED = (job(401, "bob"), job(402, "carol", 900, 1500, account="chemistry", partition="debug"))
MIG = {"host": "n3", "gpu": 0, "power": always(350)}
HEIR = (job(1001, "hugo", end=1200), job(1002, "ida", begin=1200, end=2400))
DEVICES = [
    # A job that uses one of the two GPUs that it holds, of four.
    Device("n1", 0, busy(400, 70), busy(0.8), busy(0.95), busy(40960, 512), [ALICE]),
    Device("n1", 1, always(90), jobs=[ALICE]),
    Device("n1", 2, always(70)),
    Device("n1", 3, always(70)),
    # Two jobs on one GPU, the second for ten minutes.
    Device("n2", 0, always(300), busy(0.6), busy(0.7), busy(20000), SHARED),
    # An instance of one job, one that two share, and one that nobody has.
    Device(**MIG, profiling=busy(0.9), used=busy(30000), jobs=[job(501, "dave")], instance="2", profile="3g.40gb"),
    Device(
        **MIG,
        profiling=busy(0.5),
        used=busy(10000),
        jobs=[job(502, "dave"), job(503, "erin")],
        instance="5",
        profile="2g.20gb",
    ),
    Device(**MIG, instance="9", profile="1g.10gb"),
    # Instances whose profiling reads 0: on a board that works, on two that do nothing.
    Device("n4", 0, always(300), jobs=[job(601, "frank")], instance="3", profile="4g.40gb"),
    Device("n4", 1, always(60), jobs=[job(602, "frank")], instance="3", profile="7g.80gb"),
    Device("n4", 2, always(130), jobs=[job(603, "frank")], instance="3", profile="1g.10gb+me", limit=always(700)),
    Device("n4", 3, always(130), jobs=[job(604, "frank")], instance="3", profile="unheard-of", limit=always(600)),
    # A whole GPU whose profiling died; one that never had it; one without either number.
    Device("n6", 0, always(500), always(0), busy(0.97), jobs=[job(701, "grace")]),
    Device("n6", 1, always(500), always(None), busy(0.5), jobs=[job(702, "grace")]),
    Device("n6", 2, always(500), always(None), always(None), jobs=[job(703, "grace")]),
    # A counter of energy that is reset, one that is another GPU's, and none.
    Device("n7", 0, always(500), busy(0.5), busy(0.5), jobs=[job(801, "heidi")], energy=reset(500)),
    Device("n7", 1, always(500), busy(0.5), busy(0.5), jobs=[job(802, "heidi")], energy=exchanged(500)),
    Device("n7", 2, always(500), busy(0.5), busy(0.5), jobs=[job(803, "heidi")], energy=always(None)),
    # No power, so that the counter alone tells.
    Device("n7", 3, NO_ROW, busy(0.5), busy(0.5), jobs=[job(804, "heidi")], energy=lambda now: 2e9 + 500 * now),
    # The exporter does not answer for ten minutes; nobody on the node does.
    Device("n8", 0, always(200), busy(0.5), busy(0.5), jobs=[job(901, "ivan")], scraped=outside(900, 1500)),
    Device(
        *("n9", 0, always(200), busy(0.5), busy(0.5)),
        jobs=[job(902, "ivan")],
        scraped=outside(900, 1500),
        told=outside(900, 1500),
    ),
    # A job that does nothing follows one that worked, and the samples are late.
    Device("n10", 0, always(300), during(0, 1230, 0.9), during(0, 1230, 0.9), jobs=HEIR, late=30),
    # Two writers who do not agree on a job's owner.
    Device("n11", 0, always(100), busy(0.5), busy(0.5), jobs=[job(1101, "judy")], owners=["mallory"]),
    # The same job id and host in another cluster.
    Device("n1", 0, always(200), busy(0.3), busy(0.3), jobs=[job(101, "zoe", account="art")], cluster="b"),
]


@dataclass(frozen=True)
class Case:
    """An expression, when it is asked, its sum, and by how much this may differ; ``None``: it has no row."""

    expression: str
    at: str
    value: float | None
    off: float = 1e-9


def now(record: str, value: float | None, selector: str, off: float = 1e-9) -> Case:
    return Case(f"{record}{{{selector}}}", MIDDLE, value, off)


def total(record: str, value: float, selector: str, off: float) -> Case:
    return Case(f"sum_over_time({record}{{{selector}}}[{MINUTES}m])", LAST, value, off)


def hours(selector: str, gpus: float, level: str = "job", **kinds: float) -> list[Case]:
    """Return cases of GPU hours, given in minutes; each may be a minute of the GPUs off."""
    return [
        total(f"{level}:gpu_hours_{kind}:increase1m", minutes / 60, selector, gpus / 60 + 1e-9)
        for kind, minutes in kinds.items()
    ]


def of(number: int, cluster: str = "a") -> str:
    return f'cluster="{cluster}",hpc_job="{number}"'


def on(host: str, gpu: int, cluster: str = "a") -> str:
    return f'cluster="{cluster}",host="{host}",gpu="{gpu}"'


# Minutes that GPUs were held in cluster a by jobs of the account physics, and those of them that were known to be idle.
PHYSICS = 60 + 25 + 30 * 5 / 7 + (30 * 4 / 7 + 30 + 60 / 7) + 90 + 120 + 30 + 20 + (15 + 20) + 30
IDLE = 30 + (30 + 30 / 7) + 19
CASES: dict[str, list[Case]] = {
    "a job that uses one of two GPUs": [
        now("job:gpus_allocated:sum", 2, of(101)),
        now("job:utilization_ratio:avg", 0.4, of(101)),
        now("job:memory_used_bytes:sum", 41472 * MIB, of(101)),
        now("job:power_watts:sum", 490, of(101)),
        total("job:energy_joules:increase1m", 490 * 1800, of(101), 490 * 60),
        *hours(of(101), 2, allocated=60, measured=60),
        *hours(of(101), 1, used=24, idle=30),
        now("gpu_job:gpus_idle:split", 1, on("n1", 1)),
        now("gpu_job:gpus_used:split", 0.8, on("n1", 0)),
        now("gpu_job:gpus_idle:split", None, on("n1", 0)),
        Case("job:gpus_allocated:sum{" + of(101) + "}", "4m45s", None),
        Case("job:gpus_allocated:sum{" + of(101) + "}", "35m45s", None),
    ],
    "its GPUs": [
        now("gpu:utilization_ratio:max", 0.8, on("n1", 0)),
        now("gpu:utilization_ratio:max", 0, on("n1", 1)),
        now("gpu:memory_used_bytes:max", 40960 * MIB, on("n1", 0)),
        now("gpu:memory_capacity_bytes:max", 81920 * MIB, on("n1", 0)),
        now("gpu:power_watts:max", 400, on("n1", 0)),
        now("gpu:temperature_celsius:max", 45, on("n1", 0)),
        now("gpu:gpus:split", 1, on("n1", 0)),
        now("gpu_job:gpus_allocated:split", 1, on("n1", 0)),
    ],
    "two jobs on one GPU": [
        now("gpu_job:gpus_allocated:split", 0.5, of(402)),
        now("gpu_job:memory_used_bytes:split", 10000 * MIB, of(402)),
        now("job:power_watts:sum", 150, of(401)),
        now("job:utilization_ratio:avg", 0.6, of(402)),
        total("job:energy_joules:increase1m", 300 * (1200 + 300), of(401), 300 * 60),
        total("job:energy_joules:increase1m", 300 * 300, of(402), 150 * 60),
        *hours(of(401), 1, allocated=25, measured=25, used=15, idle=0),
        *hours(of(402), 0.5, allocated=5, measured=5, used=3, idle=0),
        # Together they have the whole, and nothing more.
        total("node:energy_joules_unallocated:increase1m", 300 * 60 * (MINUTES - 30), 'host="n2"', 1e-3),
    ],
    "instances of a divided GPU": [
        now("gpu_job:gpus_allocated:split", 3 / 7, of(501)),
        now("gpu_job:gpus_allocated:split", 1 / 7, of(503)),
        now("gpu_job:memory_used_bytes:split", 30000 * MIB, of(501)),
        now("gpu_job:memory_used_bytes:split", 5000 * MIB, of(503)),
        now("job:power_watts:sum", 150, of(501)),
        now("gpu:utilization_ratio:max", 0, on("n3", 0) + ',GPU_I_ID="9"'),
        now("gpu:gpus:split", 1 / 7, on("n3", 0) + ',GPU_I_ID="9"'),
        total("job:energy_joules:increase1m", 350 * 3 / 7 * 1800, of(501), 150 * 60),
        total("job:energy_joules:increase1m", 350 * 1 / 7 * 1800, of(502), 50 * 60),
        total("node:energy_joules_unallocated:increase1m", 350 * 60 * (MINUTES - 30 * 5 / 7), 'host="n3"', 1e-3),
        *hours(of(501), 3 / 7, allocated=30 * 3 / 7, used=27 * 3 / 7),
        *hours(of(503), 1 / 7, allocated=30 / 7, used=15 / 7, idle=0),
        now("node:utilization_ratio:avg", 3.7 / 6, 'host="n3"'),
    ],
    "instances whose profiling reads 0": [
        now("gpu:utilization_ratio:max", None, on("n4", 0)),
        now("gpu:utilization_ratio:max", 0, on("n4", 1)),
        now("gpu:utilization_ratio:max", 0, on("n4", 2)),
        now("gpu:utilization_ratio:max", None, on("n4", 3)),
        now("job:utilization_ratio:avg", None, of(601)),
        now("gpu_job:gpus_allocated:split", 1 / 7, of(604)),
        *hours(of(601), 0, measured=0, used=0, idle=0),
        *hours(of(601), 1, allocated=30 * 4 / 7),
        *hours(of(602), 1, allocated=30, measured=30, idle=30),
        *hours(of(603), 1 / 7, allocated=30 / 7, idle=30 / 7),
    ],
    "profiling that died, that never was, and neither number": [
        now("gpu:utilization_ratio:max", 0.97, on("n6", 0)),
        now("gpu:utilization_ratio:max", 0.5, on("n6", 1)),
        now("gpu:utilization_ratio:max", None, on("n6", 2)),
        *hours(of(701), 1, measured=30, used=29.1),
        *hours(of(701), 0, idle=0),
        *hours(of(703), 0, measured=0, used=0, idle=0),
        *hours(of(703), 1, allocated=30),
    ],
    "a counter that is reset, exchanged, absent": [
        *(total("gpu:energy_joules:increase1m", 500 * 60 * MINUTES, on("n7", gpu), 1) for gpu in range(3)),
        # Of the first minute nothing tells.
        total("gpu:energy_joules:increase1m", 500 * 60 * (MINUTES - 1), on("n7", 3), 1),
        *(total("job:energy_joules:increase1m", 500 * 1800, of(801 + gpu), 500 * 60) for gpu in range(4)),
    ],
    "ten minutes without an answer": [
        *hours(of(901), 1, allocated=30, used=10),
        *hours(of(901), 2, measured=20),
        total("job:energy_joules:increase1m", 200 * 1200, of(901), 200 * 60),
        *hours(of(902), 1, allocated=20, used=10),
        *hours(of(902), 2, measured=20),
        *hours(of(901), 0, idle=0),
        now("node:gpus:count", None, 'host="n8"'),
        now("node:gpus_allocated:sum", 1, 'host="n8"'),
    ],
    "the first minute of a job is not that of the one before": [
        *hours(of(1001), 1, allocated=15, used=13.5),
        *hours(of(1002), 0, used=0),
        *hours(of(1002), 1, allocated=20, idle=20),
        Case("gpu_job:gpus_measured:split{" + of(402) + "}", "15m45s", None),
        Case("gpu_job:gpus_measured:split{" + of(402) + "}", "16m45s", 0.5),
    ],
    "two who say whose a job is": [
        now("job:gpus_allocated:sum", 1, of(1101)),
        Case("count(job:gpus_allocated:sum{" + of(1101) + "})", MIDDLE, 1),
        # The same owner in all that is recorded of the job.
        *(
            Case(f"count(job:{record}{{{of(1101)}}} and on (cluster, hpc_job, user) job:gpus_allocated:sum)", MIDDLE, 1)
            for record in ("memory_used_bytes:sum", "power_watts:sum", "gpu_hours_used:increase1m")
        ),
        *hours(of(1101), 1, allocated=30, used=15),
    ],
    "the same job id in another cluster": [
        now("job:power_watts:sum", 200, of(101, "b") + ',user="zoe",account="art",partition="batch"'),
        *hours(of(101, "b"), 1, allocated=30, used=9),
    ],
    "users": [
        now("user:gpus_allocated:sum", 3, 'user="grace"'),
        now("user:utilization_ratio:avg", (0.97 + 0.5) / 2, 'user="grace"'),
        now("user:memory_used_bytes:sum", 35000 * MIB, 'user="dave"'),
        now("user:power_watts:sum", 200, 'user="dave"'),
        total("user:energy_joules:increase1m", 350 * 4 / 7 * 1800, 'user="dave"', 200 * 60),
        *hours('user="grace"', 2, "user", allocated=90, measured=60, used=44.1),
        *hours('user="frank"', 2, "user", idle=30 + 30 / 7),
    ],
    "accounts": [
        now("account:gpus_allocated:sum", 0.5, 'account="chemistry"'),
        now("account:utilization_ratio:avg", 0.6, 'account="chemistry"'),
        now("account:memory_used_bytes:sum", 10000 * MIB, 'account="chemistry"'),
        now("account:power_watts:sum", 150, 'account="chemistry"'),
        total("account:energy_joules:increase1m", 300 * 300, 'account="chemistry"', 150 * 60),
        *hours('account="physics"', 4, "account", allocated=PHYSICS, idle=IDLE),
        *hours('account="chemistry"', 0.5, "account", measured=5, used=3),
    ],
    "partitions": [
        now("partition:gpus_allocated:sum", 0.5, 'partition="debug"'),
        now("partition:utilization_ratio:avg", 0.6, 'partition="debug"'),
        now("partition:memory_used_bytes:sum", 10000 * MIB, 'partition="debug"'),
        now("partition:power_watts:sum", 150, 'partition="debug"'),
        total("partition:energy_joules:increase1m", 300 * 300, 'partition="debug"', 150 * 60),
        *hours('cluster="a",partition="batch"', 4, "partition", allocated=PHYSICS, idle=IDLE),
        *hours('partition="debug"', 0.5, "partition", measured=5, used=3),
    ],
    "nodes": [
        now("node:gpus:count", 4, 'cluster="a",host="n1"'),
        now("node:gpus_allocated:sum", 2, 'cluster="a",host="n1"'),
        now("node:utilization_ratio:avg", 0.2, 'cluster="a",host="n1"'),
        now("node:memory_used_bytes:sum", 42496 * MIB, 'cluster="a",host="n1"'),
        now("node:memory_capacity_bytes:sum", 4 * 81920 * MIB, 'cluster="a",host="n1"'),
        now("node:power_watts:sum", 630, 'cluster="a",host="n1"'),
        now("node:temperature_celsius:max", 45, 'cluster="a",host="n1"'),
        Case('node:gpus_allocated:sum{cluster="a",host="n1"}', LAST, 0),
        total("node:energy_joules:increase1m", 350 * 60 * MINUTES, 'host="n3"', 1e-3),
        *hours('cluster="a",host="n1"', 2, "node", allocated=60, measured=60, used=24, idle=30),
    ],
    "clusters": [
        now("cluster:gpus:count", 19, 'cluster="a"'),
        now("cluster:gpus_allocated:sum", 2 + 1 + 5 / 7 + (6 / 7 + 1) + 3 + 4 + 1 + 1 + 1, 'cluster="a"'),
        now("cluster:utilization_ratio:avg", (0.8 + 0.6 + 3.7 / 7 + 1.47 + 2 + 0.9 + 0.5) / 15, 'cluster="a"'),
        now("cluster:memory_used_bytes:sum", 512 * MIB, 'cluster="b"'),
        now("cluster:memory_capacity_bytes:sum", 81920 * MIB, 'cluster="b"'),
        now("cluster:power_watts:sum", 630 + 300 + 350 + 620 + 1500 + 1500 + 300 + 100, 'cluster="a"'),
        total("cluster:energy_joules:increase1m", 200 * 60 * MINUTES, 'cluster="b"', 1e-3),
        total("cluster:energy_joules_unallocated:increase1m", 200 * 60 * (MINUTES - 30), 'cluster="b"', 1e-3),
        *hours('cluster="a"', 4, "cluster", allocated=PHYSICS + 5, idle=IDLE),
        *hours('cluster="b"', 1, "cluster", measured=30, used=9),
    ],
    "how many GPUs are how busy and how hot": [
        now("cluster:gpu_utilization_ratio:bucket", 6, 'cluster="a",le="0.01"'),
        now("cluster:gpu_utilization_ratio:bucket", 6, 'cluster="a",le="0.4"'),
        now("cluster:gpu_utilization_ratio:bucket", 13, 'cluster="a",le="0.5"'),
        now("cluster:gpu_utilization_ratio:bucket", 18, 'cluster="a",le="1"'),
        now("cluster:gpu_temperature_celsius:bucket", 0, 'cluster="a",le="40"'),
        now("cluster:gpu_temperature_celsius:bucket", 19, 'cluster="a",le="50"'),
        now("cluster:gpu_temperature_celsius:bucket", 1, 'cluster="b",le="+Inf"'),
    ],
}
JOBSTATS = 'cluster="a",jobid="101",instance="n1",minor_number="0"'
CASES_OF_JOBSTATS: dict[str, list[Case]] = {
    "jobstats": [
        now("nvidia_gpu_duty_cycle", 80, JOBSTATS),
        now("nvidia_gpu_memory_used_bytes", 40960 * MIB, JOBSTATS),
        now("nvidia_gpu_memory_total_bytes", 81920 * MIB, JOBSTATS),
        now("nvidia_gpu_temperature_celsius", 45, JOBSTATS),
        now("nvidia_gpu_power_usage_milliwatts", 400000, JOBSTATS),
        now("nvidia_gpu_num_devices", 4, 'cluster="a",instance="n1"'),
        now("nvidia_gpu_duty_cycle", 90, 'jobid="501",instance="n3",minor_number="0.2"'),
        now("nvidia_gpu_power_usage_milliwatts", 150000, 'jobid="402"'),
        now("nvidia_gpu_temperature_celsius", 45, 'cluster="a",jobid="",instance="n1",minor_number="2"'),
        # As jobstats asks when the job has ended: the mean of each GPU; here their sum.
        Case(
            "avg_over_time((nvidia_gpu_duty_cycle{cluster='a',jobid='101'} or "
            "(nvidia_gpu_graphics_util_percent{cluster='a',jobid='101'} * 100))[1800s:])",
            "35m5s",
            80,
            80 / 30,
        ),
        Case("max_over_time(nvidia_gpu_memory_used_bytes{cluster='a',jobid='101'}[1800s:])", "35m5s", 41472 * MIB),
    ],
}
