"""
How long `superpod job` takes for a job of 1,024 GPUs.

``python benchmarks/reports.py [HOURS]`` fills Prometheus 2 and 3 and VictoriaMetrics of the lab's image with what the
rules make of such a job that ran for some hours (by default 4), and runs the command against each. Printed are the
seconds of CPU of both, Python's start included, and those on the clock: the least of some tries. It takes some minutes.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(HERE), str(HERE / "_utils"), str(HERE / "tests/rules")]

import report_bench as bench  # noqa: E402

NODES, GPUS, TRIES, LIMIT = 128, 8, 3, 2.0
MIB = 1048576
JOB = {"cluster": "a", "hpc_job": "4711", "user": "ada", "account": "ml", "partition": "batch"}
# Value of each record of a GPU, and of the job. Every 16th GPU is idle for half of the time.
OF_GPU = {
    "gpu:utilization_ratio:max": 0.8,
    "gpu:power_watts:max": 600.0,
    "gpu:memory_capacity_bytes:max": 81920.0 * MIB,
    "gpu:gpus:split": 1.0,
}
OF_JOB_GPU = {
    "gpu_job:gpus_allocated:split": 1.0,
    "gpu_job:gpus_measured:split": 1.0,
    "gpu_job:memory_used_bytes:split": 40000.0 * MIB,
}
OF_JOB = {
    "job:gpus_allocated:sum": 1024.0,
    "job:memory_used_bytes:sum": 1024 * 40000.0 * MIB,
    "job:power_watts:sum": 1024 * 600.0,
    "job:energy_joules:increase1m": 1024 * 36000.0,
    "job:gpu_hours_allocated:increase1m": 1024 / 60,
    "job:gpu_hours_measured:increase1m": 1024 / 60,
    "job:gpu_hours_used:increase1m": 1024 * 0.8 / 60,
    "job:gpu_hours_idle:increase1m": 32 / 60,
    "cluster:gpus:count": 1024.0,
}
# Rows of an exporter that no rule has, twice a minute.
RAW = {
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": 0.4,
    "DCGM_FI_PROF_DRAM_ACTIVE": 0.5,
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": 0.8,
}


def series(begin: float, minutes: int) -> Iterator[dict[bench.Labels, bench.Samples]]:
    """Return all samples, those of each node by themselves."""
    times = [begin + 60 * minute for minute in range(minutes)]
    twice = [begin - 7 + 30 * half for half in range(2 * minutes)]

    def one(name: str, value: float, at: list[float], **labels: str) -> tuple[bench.Labels, bench.Samples]:
        return tuple({"__name__": name, **labels}.items()), dict.fromkeys(at, value)

    yield dict(one(name, value, times, **JOB) for name, value in OF_JOB.items())
    for node in range(NODES):
        found = {}
        for gpu in range(GPUS):
            place = {"cluster": "a", "host": f"dgx-{node:04}", "gpu": str(gpu)}
            found |= dict(one(name, value, times, **place) for name, value in OF_GPU.items())
            found |= dict(one(name, value, times, **{**place, **JOB}) for name, value in OF_JOB_GPU.items())
            found |= dict(one(name, value, twice, **place, hpc_job="4711") for name, value in RAW.items())
            if (node * GPUS + gpu) % 16 == 0:
                found |= dict([one("gpu_job:gpus_idle:split", 1, times[: minutes // 2], **{**place, **JOB})])
        yield found


def cpu(server: int) -> float:
    """Return the seconds of CPU that the server and the commands have used."""
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    mine = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK") + mine.ru_utime + mine.ru_stime


def run(server: bench.Server, words: list[str]) -> str:
    """Return what a command prints that asks the server."""
    command = [sys.executable, "-m", "superpod", *words, "--prometheus", server.address, "--timeout", "600"]
    answer = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert answer.stdout, answer.stderr
    return answer.stdout


def seconds(server: bench.Server, *more: str) -> tuple[float, float]:
    """Return the least seconds that the command takes: of CPU, and on the clock."""
    taken = []
    for _ in range(TRIES):
        begin, used = time.monotonic(), cpu(server.pid)
        printed = run(server, ["job", "4711", "--no-slurm", *more])
        taken.append((cpu(server.pid) - used, time.monotonic() - begin))
        assert "1024 held" in printed, printed
    return min(one for one, _ in taken), min(one for _, one in taken)


def main() -> int:
    minutes, worst = round(float(sys.argv[1] if len(sys.argv) > 1 else 4) * 60), 0.0
    for kind in bench.PROGRAMS:
        with tempfile.TemporaryDirectory() as name, bench.Server(kind, Path(name)).running() as server:
            for part in series(time.time() // 60 * 60 - (minutes + 5) * 60, minutes):
                server.write(part)
            for words in ((), ("--html", f"{name}/job.html")):
                used, taken = seconds(server, *words)
                print(f"{kind:3} {' '.join(words[:1]):6}  {used:5.2f} s of CPU, {taken:5.2f} s", flush=True)
                worst = max(worst, used)
    print(f"slowest: {worst:.2f} s of CPU; allowed: {LIMIT} s")
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
