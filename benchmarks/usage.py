"""
How long `superpod report` takes for 2,000 nodes and 16,000 GPUs.

``python benchmarks/usage.py [DAYS [PROGRAM [all]]]`` fills Prometheus 3 of the lab's image (or ``2``, ``vm``) with what
the rules make of so many GPUs, all held by jobs of 8 GPUs that last 8 hours, in some days (by default 7), and runs the
command. Printed are the seconds of CPU of both, Python's start included, and those on the clock: the least of some
tries. 35 million samples are written before. With ``all`` it is 135 million, those of each job, and rows by job are
asked for as well; some use is missing then.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE), str(HERE / "_utils"), str(HERE / "tests/rules"), str(HERE / "benchmarks")]

import report_bench as bench  # noqa: E402
from reports import cpu, run  # noqa: E402

NODES, GPUS, USERS, HOURS, TRIES, HOUR = 2000, 8, 200, 8, 3, 3600
# Of every so many jobs something is missing: ten minutes in each hour.
LACKING = 50
# Of a job of a node's GPUs: GPUs, hours of a minute, and joules.
JOB = {
    "gpus_allocated:sum": 8.0,
    "gpu_hours_allocated:increase1m": 8 / 60,
    "gpu_hours_measured:increase1m": 8 / 60,
    "gpu_hours_used:increase1m": 5 / 60,
    "gpu_hours_idle:increase1m": 1 / 60,
    "energy_joules:increase1m": 8 * 36000.0,
}


def owner(job: int) -> dict[str, str]:
    """Return whose a job is."""
    user = job % USERS
    return {"user": f"user{user:03}", "account": f"account{user % 40:02}", "partition": f"part{user % 5}"}


def rows(hour: int, times: list[float], every: bool) -> Iterator[bytes]:
    """Return all series of an hour. On each node jobs follow each other, not on all in the same hour."""

    @cache
    def steady(value: float, most: int) -> bytes:
        return bench.steady(value, times[:most])

    def one(name: str, value: float, most: int = 60, **labels: str) -> bytes:
        return bench.series((("__name__", name), ("cluster", "a"), *labels.items()), steady(value, most))

    yield one("cluster:gpus:count", NODES * GPUS)
    shares: dict[tuple[str, str], int] = {}
    for node in range(NODES):
        number = node + NODES * ((hour + node) // HOURS)
        mine = owner(number)
        for name, value in JOB.items() if every else [*JOB.items()][:1]:
            lacks = number % LACKING == 0 and name == "gpu_hours_measured:increase1m"
            yield one(f"job:{name}", value, 50 if lacks else 60, hpc_job=str(number), **mine)
        for level, label in mine.items():
            shares[level, label] = shares.get((level, label), 0) + 1
    for (level, label), jobs in shares.items():
        for name, value in JOB.items():
            yield one(f"{level}:{name}", value * jobs, **{level: label})


def fill(server: bench.Server, begin: float, hours: int, every: bool) -> None:
    """Write all of it, hour by hour, as it would have come."""
    for hour in range(hours):
        times = [begin + hour * HOUR + 60 * minute for minute in range(60)]
        server.send([*rows(hour, times, every)])


def main() -> int:
    days = float(sys.argv[1]) if len(sys.argv) > 1 else 7
    kind = sys.argv[2] if len(sys.argv) > 2 else "3"
    every = len(sys.argv) > 3
    lines = ["", "--by account", "--user user007 --by user", "--html {}/use.html"]
    lines += ["--user user007", "--by job --csv", "--by cluster"] if every else []
    with tempfile.TemporaryDirectory() as name, bench.Server(kind, Path(name)).running() as server:
        begun = time.monotonic()
        fill(server, time.time() // 60 * 60 - days * 24 * HOUR, round(days * 24), every)
        print(f"{kind}: written in {time.monotonic() - begun:.0f} s", flush=True)
        for line in lines:
            words = ["report", "--since", f"{round(days * 24)}h", *line.format(name).split()]
            taken = []
            for _ in range(TRIES):
                before, clock = cpu(server.pid), time.monotonic()
                run(server, words)
                taken.append((cpu(server.pid) - before, time.monotonic() - clock))
            print(
                f"{kind:3} {line:20} {min(taken)[0]:5.2f} s of CPU, {min(one for _, one in taken):5.2f} s", flush=True
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
