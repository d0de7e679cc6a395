"""Many prologs and epilogs, at once and one after the other, while somebody reads the map as dcgm-exporter does."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def _exporter(node, known: set[str]) -> Iterator[None]:
    """Read the map all the time, as dcgm-exporter does; no read may fail or show anything but the ids ``known``."""
    problems: list[str] = []
    reads, done = [0], threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                problems.extend(line for lines in node.map().values() for line in lines if line not in known)
            except OSError as exc:
                problems.append(str(exc))
            reads[0] += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join()
    assert reads[0] > 10
    assert problems == []


def test_forty_prologs_and_forty_epilogs_at_once_lose_nothing_and_a_reader_sees_no_error(node, started) -> None:
    node.settings(directory=node.directory, time_limit=30000, shared="yes")
    old, new = range(1000, 1040), range(20000, 20040)
    for gpu in range(8):
        node.put(str(gpu), "".join(f"{job}\n" for job in old if job % 8 == gpu))
    with _exporter(node, {str(job) for job in (*old, *new)}):
        for leaving, coming in zip(old, new, strict=True):
            started.append(node.start("epilog", SLURM_JOB_ID=str(leaving)))
            started.append(node.start("prolog", SLURM_JOB_ID=str(coming), SLURM_JOB_GPUS=str(coming % 8)))
        assert {process.wait(timeout=60) for process in started} == {0}
    live = {gpu: sorted(lines) for gpu, lines in node.map().items()}
    assert live == {str(gpu): [str(job) for job in new if job % 8 == gpu] for gpu in range(8)}
    assert node.log() == ""
    assert sorted(node.spool()) == [("epilog", "ok")] * 40 + [("prolog", "ok")] * 40


def test_a_reader_sees_only_whole_ids_of_jobs_that_hold_gpus_alone_one_after_the_other(node) -> None:
    # From short ids to long ones and back: a reader that mixes two of them would see neither.
    jobs = [str(7 * 10**digits) for digits in (0, 9, 3, 8, 1, 5) for _ in range(5)]
    with _exporter(node, set(jobs)):
        for job in jobs:
            node.prolog(job, "0,1,2,3,4,5,6,7")
            node.epilog(job)
    assert node.map() == {str(gpu): [] for gpu in range(8)}


def test_the_same_prolog_twenty_times_at_once_leaves_one_line(node, started) -> None:
    started.extend(node.start("prolog", SLURM_JOB_ID="12", SLURM_JOB_GPUS="0,1") for _ in range(20))
    assert {process.wait(timeout=60) for process in started} == {0}
    assert node.map() == {"0": ["12"], "1": ["12"]}
