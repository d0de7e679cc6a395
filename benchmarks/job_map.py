"""
How long prolog and epilog take beside a plain script of the same job, and what a reader sees when many run at once.

``python benchmarks/job_map.py`` prints figures and judges nothing. All that is compared runs in turn, so that a
machine that is busy for a while is busy for all. Files are where /run would be: in memory.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
SCRIPT = HERE.parent / "salt/dcgm/slurm/files/job-map.sh"
BASELINE = HERE / "baseline.sh"
GPUS = 8
UUIDS = [f"GPU-{gpu}50765d0-c19b-4c1f-9b5e-0123456789a{gpu}" for gpu in range(GPUS)]
POSITIONS = ",".join(str(gpu) for gpu in range(GPUS))
MAP_NAME = re.compile(r"\d+(\.\d+)?")
# Nothing but what any script of this kind has to start: what is above it is the script's own.
FLOOR = """#!/bin/bash -p
exec </dev/null >/dev/null 2>&1
PATH=/usr/bin:/bin
exec 9<>"{map}/.lock"
flock -w 1.6 9
"""
# Holds every GPU of a node whose GPUs are shared, as long as the benchmark runs.
OTHER_JOB = "77\n"


class Node:
    """A node in a directory: the real script under both names with other constants, settings, device table, map."""

    def __init__(self, root: Path, shared: str) -> None:
        self.root, self.map, self.runtime = root, root / "map", root / "runtime"
        for directory in (self.map / ".new", self.runtime):
            directory.mkdir(parents=True)
        settings = {
            "directory": self.map,
            "idle": "empty",
            "time_limit": 30000,
            "mig": "yes",
            "shared": shared,
            "log": "",
        }
        others = {"users": "yes", "positions": "auto", "grace": 300, "reconcile": 300, "textfile": "", "port": 9401}
        (root / "job-map.conf").write_text("".join(f"{key}={value}\n" for key, value in {**settings, **others}.items()))
        lines = ["# Device table", "made 1764020000", f"fingerprint {'3f' * 32}"]
        lines += [f"gpu {gpu} {uuid} {gpu} 00000000:{gpu}B:00.0" for gpu, uuid in enumerate(UUIDS)]
        lines += [f"uuid {uuid} {gpu}" for gpu, uuid in enumerate(UUIDS)]
        lines += [f"position {gpu} {gpu}" for gpu in range(GPUS)]
        (self.runtime / "devices").write_text("\n".join(lines) + "\n")
        text = SCRIPT.read_text()
        text = re.sub(r"^settings=.*$", f"settings={root}/job-map.conf", text, count=1, flags=re.MULTILINE)
        text = re.sub(r"^runtime=.*$", f"runtime={self.runtime}", text, count=1, flags=re.MULTILINE)
        for name, content in (("prolog", text), ("epilog", text), ("floor", FLOOR.format(map=self.map))):
            (root / name).write_text(content)
            (root / name).chmod(0o755)


def environment(job: int, gpus: str, devices: str) -> dict[str, str]:
    """Return what slurmd gives: nothing but Slurm's own variables, not even PATH or HOME."""
    people = {"SLURM_JOB_USER": "alice", "SLURM_JOB_ACCOUNT": "research", "SLURM_JOB_PARTITION": "batch"}
    job_itself = {"SLURM_JOB_ID": str(job), "SLURM_JOB_GPUS": gpus, "CUDA_VISIBLE_DEVICES": devices}
    return {**job_itself, **people, "SLURMD_NODENAME": "dgx-01", "SLURM_JOB_UID": "1000", "SLURM_CLUSTER_NAME": "lab"}


def run_once(command: list[str], variables: dict[str, str]) -> tuple[float, float]:
    """Return the milliseconds from start to end and those of processors, its children's too; let no failure pass."""
    began = time.perf_counter()
    process = os.posix_spawn(command[0], command, variables)
    _, status, usage = os.wait4(process, 0)
    took = time.perf_counter() - began
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return took * 1000, (usage.ru_utime + usage.ru_stime) * 1000


def in_turn(node: Node, shared: Node, plain: Path, runs: int) -> dict[str, list[tuple[float, float]]]:
    """Run each script ``runs`` times, one after the other, each prolog followed by its epilog."""
    for gpu in range(GPUS):
        (shared.map / str(gpu)).write_text(OTHER_JOB)
    baseline = ["/bin/bash", str(BASELINE)]
    steps: dict[str, tuple[list[str], str]] = {
        "bash and flock alone": ([str(node.root / "floor")], POSITIONS),
        "plain prolog": ([*baseline, "prolog", str(plain), str(plain / "log")], POSITIONS),
        "plain epilog": ([*baseline, "epilog", str(plain), str(plain / "log")], POSITIONS),
        "prolog": ([str(node.root / "prolog")], POSITIONS),
        "epilog": ([str(node.root / "epilog")], POSITIONS),
        "prolog, GPUs by UUID": ([str(node.root / "prolog")], ",".join(UUIDS)),
        "epilog after it": ([str(node.root / "epilog")], ",".join(UUIDS)),
        "prolog, GPUs shared": ([str(shared.root / "prolog")], POSITIONS),
        "epilog, GPUs shared": ([str(shared.root / "epilog")], POSITIONS),
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for job in range(1000, 1000 + runs):
        for name, (command, devices) in steps.items():
            variables = environment(job, POSITIONS, devices)
            if command[0] == "/bin/bash":
                variables["PATH"] = "/usr/bin:/bin"
            times[name].append(run_once(command, variables))
    return times


def print_times(times: dict[str, list[tuple[float, float]]]) -> None:
    """Print a line for each script; the time of processors is what a machine that does other work shows best."""
    print(f"{'milliseconds':26} {'median':>7} {'p95':>7} {'least':>7} {'processors':>11} {'beside the plain one':>21}")
    medians = {name: statistics.median(took for took, _ in values) for name, values in times.items()}
    for name, values in times.items():
        ordered = sorted(took for took, _ in values)
        busy = statistics.median(used for _, used in values)
        plain = medians.get(f"plain {re.split('[ ,]', name)[0]}")
        ratio = f"{plain / medians[name]:.1f} times faster" if plain else ""
        figures = f"{medians[name]:7.2f} {ordered[int(len(ordered) * 0.95)]:7.2f} {ordered[0]:7.2f} {busy:11.2f}"
        print(f"{name:26} {figures} {ratio:>21}".rstrip())


@dataclass
class Seen:
    """What a reader that reads as dcgm-exporter does has seen."""

    reads: int = 0
    failed: int = 0
    partial: int = 0
    done: threading.Event = field(default_factory=threading.Event)

    def read(self, directory: Path, known: set[str]) -> None:
        while not self.done.is_set():
            try:
                self.partial += sum(line not in known for lines in read_map(directory).values() for line in lines)
            except OSError:
                self.failed += 1
            self.reads += 1


def read_map(directory: Path) -> dict[str, list[str]]:
    names = [entry.name for entry in os.scandir(directory) if MAP_NAME.fullmatch(entry.name) and not entry.is_dir()]
    return {name: (directory / name).read_text().splitlines() for name in names}


def at_once(node: Node, jobs: int) -> tuple[Seen, int, int, float]:
    """Start ``jobs`` prologs and as many epilogs at once; return what was seen, live ids kept, stale ids, seconds."""
    old, new = range(1000, 1000 + jobs), range(20000, 20000 + jobs)
    for gpu in range(GPUS):
        (node.map / str(gpu)).write_text("".join(f"{job}\n" for job in old if job % GPUS == gpu))
    seen = Seen()
    reader = threading.Thread(target=seen.read, args=(node.map, {str(job) for job in (*old, *new)}))
    reader.start()
    began = time.perf_counter()
    started = []
    for leaving, coming in zip(old, new, strict=True):
        for kind, job in (("epilog", leaving), ("prolog", coming)):
            position = str(job % GPUS)
            started.append(subprocess.Popen([node.root / kind], env=environment(job, position, position), cwd="/"))
    codes = {process.wait() for process in started}
    took = time.perf_counter() - began
    seen.done.set()
    reader.join()
    if codes != {0}:
        raise SystemExit(f"exit codes were {sorted(codes)}")
    found = [(gpu, job) for gpu, lines in read_map(node.map).items() for job in lines]
    live = {(str(job % GPUS), str(job)) for job in new}
    return seen, len(live & set(found)), len(found) - len(live & set(found)), took


def print_at_once(make: Callable[[], Node], jobs: int, repetitions: int) -> None:
    kept = stale = reads = failed = partial = 0
    seconds = []
    for _ in range(repetitions):
        seen, live, left, took = at_once(make(), jobs)
        kept, stale, reads = kept + live, stale + left, reads + seen.reads
        failed, partial = failed + seen.failed, partial + seen.partial
        seconds.append(took)
    print(f"{jobs} prologs and {jobs} epilogs at once on {GPUS} GPUs, {repetitions} times:")
    print(f"  live ids kept {kept} of {jobs * repetitions}, stale ids {stale}")
    print(f"  reads of the whole map {reads}, failed {failed}, with a partial id {partial}")
    print(f"  seconds for all {2 * jobs}: median {statistics.median(seconds):.2f}, most {max(seconds):.2f}")


def processor() -> str:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{found.group(1) if found else os.uname().machine}, {os.cpu_count()} processors"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure prolog and epilog of the job map beside a plain script.")
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    parser.add_argument(
        "--directory", default=memory, help="where to work; a file system in memory (default: %(default)s)"
    )
    parser.add_argument("--runs", type=int, default=200, help="runs of each script (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=40, help="prologs, and epilogs, at once (default: %(default)s)")
    parser.add_argument("--repetitions", type=int, default=20, help="of what runs at once (default: %(default)s)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="job-map-", dir=options.directory) as folder:
        plain = Path(folder, "plain")
        plain.mkdir()
        print(f"{processor()}; {GPUS} GPUs, {options.runs} runs of each, in turn")
        node, shared = Node(Path(folder, "node"), "no"), Node(Path(folder, "shared"), "yes")
        print_times(in_turn(node, shared, plain, options.runs))
        print()
        numbers = iter(range(options.repetitions))
        make = lambda: Node(Path(folder, f"busy-{next(numbers)}"), "yes")  # noqa: E731
        print_at_once(make, options.jobs, options.repetitions)


if __name__ == "__main__":
    main()
