"""
How long reconciliation takes for 64 ids of dead jobs, with a controller that answers, is slow, hangs or refuses.

``python benchmarks/reconcile.py [IDS]`` puts a program in the place of squeue that takes as long as the real one, and
prints seconds and what was removed. Nothing of Slurm is needed.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "_utils"))

from superpod_dcgm.agent import reconcile

REPETITIONS = 5
GPUS = 8
UNKNOWN = 'echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1'
# name: what squeue does; on an idle controller it takes 10 ms, most of them for its own start.
CONTROLLERS = {
    "answers in 10 ms": f"sleep 0.01; {UNKNOWN}",
    "answers in 50 ms": f"sleep 0.05; {UNKNOWN}",
    "hangs": "exec sleep 18",
    "refuses": 'echo "slurm_load_jobs error: Unable to contact slurm controller (connect failure)" >&2; exit 1',
}


def fill(directory: Path, ids: int) -> None:
    """Write a map of old ids, spread over the GPUs."""
    for gpu in range(GPUS):
        path = directory / str(gpu)
        path.write_text("".join(f"{job}\n" for job in range(1000 + gpu, 1000 + ids, GPUS)))
        os.utime(path, (1, 1))


def once(directory: Path, ids: int) -> tuple[float, int]:
    """Return the seconds of one reconciliation, and how many ids it removed."""
    fill(directory, ids)
    begin = time.perf_counter()
    result = reconcile.reconcile({"directory": str(directory), "grace": "120"})
    return time.perf_counter() - begin, sum(len(jobs) for jobs in result.removed.values())


def main(ids: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        squeue, directory = Path(root, "bin", "squeue"), Path(root, "map")
        squeue.parent.mkdir()
        directory.mkdir()
        os.environ["PATH"] = f"{squeue.parent}:{os.environ['PATH']}"
        print(f"{ids} ids, {REPETITIONS} repetitions\n{'controller':<18} {'median':>8} {'slowest':>8}  removed")
        for name, body in CONTROLLERS.items():
            squeue.write_text(f"#!/bin/sh\n{body}\n")
            squeue.chmod(0o755)
            runs = [once(directory, ids) for _ in range(REPETITIONS)]
            seconds, removed = [run[0] for run in runs], sorted({run[1] for run in runs})
            print(f"{name:<18} {statistics.median(seconds):7.3f}s {max(seconds):7.3f}s  {', '.join(map(str, removed))}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
