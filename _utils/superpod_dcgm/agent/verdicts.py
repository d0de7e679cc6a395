"""Asks Slurm's controller which jobs have left this node; all questions of a run together take a bounded time."""

from __future__ import annotations

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from superpod_dcgm.agent import job_map
from superpod_dcgm.agent.job_map import View
from superpod_dcgm.agent.slurm import Runner
from superpod_dcgm.base import complaint
from superpod_dcgm.base.process import Answer

_AT_ONCE = 4
# More ids are asked for in the next run, so that one run stays short even if every answer is slow.
MOST_QUESTIONS = 128
# For all questions of a run; a third of what the unit may take.
SECONDS = 20.0
# A controller that is late so often gets no further questions in this run.
_LATE = 3
# The same words in all releases from 22.05 to 26.05; the second is what squeue says of a number that is no id.
_UNKNOWN_JOB = r"\binvalid job id(?: specified\b|: {job}\b)"
_FINISHED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
)


@dataclass(frozen=True)
class Verdict:
    """
    Whether a job is gone from this node (None: nobody knows), and why.

    ``here``: the controller itself says that it holds this node. ``late``: it had no answer in time, which says nothing
    of its other answers.
    """

    gone: bool | None
    because: str
    here: bool = False
    late: bool = False


def node_names(seen: View, job: str) -> set[str]:
    """
    Return what Slurm calls this node: by the job's record, else by that of another job.

    The host name proves nothing, since NodeName may be another: without a record no job is found to be elsewhere.
    """
    records = [seen.records[job]] if job in seen.records else []
    for entry in (*records, *seen.records.values()):
        record = job_map.parse_record(entry.data)
        if record and record.node:
            return {record.node}
    return set()


def ask(jobs: list[str], run: Runner, seen: View) -> dict[str, Verdict]:
    """
    Return a verdict per job, some asked for at once.

    No more are asked for after ``SECONDS``, or as soon as the controller cannot be reached or was late several times.
    """
    stop, late, deadline = threading.Event(), [], time.monotonic() + SECONDS

    def one(job: str) -> Verdict:
        if stop.is_set() or time.monotonic() > deadline:
            return Verdict(None, "")
        verdict = judge(job, run, node_names(seen, job))
        if verdict.late:
            late.append(job)
        if len(late) >= _LATE or (verdict.gone is None and not verdict.late):
            stop.set()
        return verdict

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(jobs, pool.map(one, jobs), strict=True))


def judge(job: str, run: Runner, nodes: set[str]) -> Verdict:
    """
    Ask the controller for one job, and say whether it has left this node.

    :param nodes: the names of this node.
    """
    began = time.monotonic()
    # One id, as that is a cheap question; %A, as %i is no id for array tasks and het components.
    answer = run(["squeue", "-h", "-j", job, "-o", "%A|%T|%N"])
    if answer.code != 0:
        if answer.code is not None and re.search(_UNKNOWN_JOB.format(job=job), answer.error, re.IGNORECASE):
            return Verdict(True, "the controller does not know it any more")
        return _unanswered("squeue", answer, began)
    lines = complaint.clean(answer.output)
    rows = [row for line in lines if len(row := line.split("|")) == 3 and job_map.is_job_id(row[0])]
    # An id that is also that of an array or of a het job brings lines of other jobs.
    verdicts = [_judge_row(state, where, run, nodes) for number, state, where in rows if number == job]
    if not verdicts and len(rows) < len(lines):
        # A warning costs no answer; alone it is none.
        return Verdict(None, f"squeue: cannot read {answer.output.strip()[:200]!r}")
    if not verdicts:
        return Verdict(True, "it is finished")
    return next((verdict for verdict in verdicts if not verdict.gone), verdicts[0])


def _judge_row(state: str, where: str, run: Runner, nodes: set[str]) -> Verdict:
    if state in _FINISHED:
        return Verdict(True, f"it is {state}")
    if state == "PENDING" or where in ("", "(null)", "n/a"):
        return Verdict(True, f"it is {state} and holds no node")
    if not nodes:
        return Verdict(False, f"it is {state}, and nobody knows what Slurm calls this node")
    if re.search(r"[\[,]", where):
        began = time.monotonic()
        answer = run(["scontrol", "show", "hostnames", where])
        if answer.code != 0 or not answer.output.split():
            return _unanswered("scontrol show hostnames", answer, began)
        hosts = set(answer.output.split())
    else:
        hosts = {where}
    if hosts & nodes:
        return Verdict(False, f"it is {state} here", here=True)
    return Verdict(True, f"it is {state} on {where}")


def _unanswered(command: str, answer: Answer, began: float) -> Verdict:
    if not answer.late:
        return Verdict(None, f"{command}: {answer.problem}")
    waited = f"after {time.monotonic() - began:.1f} s"
    return Verdict(None, f"{command} is slow: it {answer.problem} ({waited}); the next run asks again", late=True)
