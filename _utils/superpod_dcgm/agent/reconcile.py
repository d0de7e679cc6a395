"""
Removes ids of jobs that are gone from the job map: what a crash, a reboot or a killed epilog left there.

An id goes only if it is older than the grace time, no step of its job runs here, and the controller itself says
that the job is finished, unknown, or not on this node. Without an answer everything stays.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from superpod_dcgm.agent import job_map, slurm
from superpod_dcgm.agent.job_map import Entry, View
from superpod_dcgm.agent.slurm import Runner
from superpod_dcgm.base import files, job_map_conf

_AT_ONCE = 4
# More ids are asked for in the next run, so that one run stays short even if every answer is slow.
_MOST_QUESTIONS = 128
_LOCK_SECONDS = 2.0
_EMPTY_RECORD_SECONDS = 60
_UNKNOWN_JOB = "Invalid job id specified"
_FINISHED = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED"),
    *("REVOKED", "TIMEOUT"),
)


@dataclass(frozen=True)
class Verdict:
    """Whether a job is gone from this node (None: nobody knows), and why."""

    gone: bool | None
    because: str


@dataclass
class Result:
    """What a reconciliation removed (by map file), what it kept and why, and whether it got the answers it needed."""

    removed: dict[str, list[str]] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)
    answered: bool = True
    problem: str = ""


def reconcile(
    conf: dict[str, str], test: bool = False, run: Runner | None = None, steps: set[str] | None = None
) -> Result:
    """
    Remove the ids of jobs that are gone, and replace map files that another program made.

    :param conf: job-map.conf of this node.
    :param test: only say what would be removed.
    :param run: runs one of Slurm's commands; for tests.
    :param steps: the jobs with a step on this node; for tests.
    :raises OSError: the map cannot be read.
    """
    grace = job_map_conf.number(conf, "grace", 120)
    seen, now = job_map.look(conf.get("directory", "")), time.time()
    steps = slurm.jobs_with_steps() if steps is None else steps
    kept, doubtful = sort_out(seen, steps, now, grace)
    verdicts: dict[str, Verdict] = {}
    if doubtful:
        run = run or slurm.runner()
        verdicts = ask(doubtful, run, seen)
    result = summarize(seen, kept, verdicts)
    gone = {job for jobs in result.removed.values() for job in jobs}
    foreign = any(not entry.ours for entry in seen.files.values())
    if not test and (gone or foreign or old_records(seen, gone, now, grace)):
        _act(result, seen, gone, conf, grace)
    return result


def sort_out(seen: View, steps: set[str], now: float, grace: float) -> tuple[dict[str, str], list[str]]:
    """Return the ids that stay without a question, and why, and those that the controller has to be asked for."""
    kept: dict[str, str] = {}
    doubtful: list[str] = []
    for job, names in sorted(seen.holders().items(), key=lambda item: int(item[0])):
        entries = [seen.records[job]] if job in seen.records else [seen.files[name] for name in names]
        # A clock that was set back makes ages negative: then the controller decides.
        if abs(now - max(entry.modified for entry in entries)) <= grace:
            kept[job] = f"it is younger than {grace:g} s"
        elif job in steps:
            kept[job] = "a step of it runs here"
        elif len(doubtful) >= _MOST_QUESTIONS:
            kept[job] = "many others are asked for first"
        else:
            doubtful.append(job)
    return kept, doubtful


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
    """Return a verdict per job, some asked for at once. After the first that nobody knows, no more are asked for."""
    stop = threading.Event()

    def one(job: str) -> Verdict:
        if stop.is_set():
            return Verdict(None, "")
        verdict = judge(job, run, node_names(seen, job))
        if verdict.gone is None:
            stop.set()
        return verdict

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return dict(zip(jobs, pool.map(one, jobs), strict=True))


def judge(job: str, run: Runner, nodes: set[str]) -> Verdict:
    """
    Ask the controller for one job, and say whether it has left this node.

    :param nodes: the names of this node.
    """
    # One id, as that is a cheap question; %A, as %i is no id for array tasks and het components.
    answer = run(["squeue", "-h", "-j", job, "-o", "%A|%T|%N"])
    if answer.code != 0:
        if answer.code is not None and _UNKNOWN_JOB in answer.error:
            return Verdict(True, "the controller does not know it any more")
        return Verdict(None, f"squeue: {answer.problem}")
    rows = [line.strip().split("|") for line in answer.output.splitlines() if line.strip()]
    if any(len(row) != 3 for row in rows):
        return Verdict(None, f"squeue: cannot read {answer.output.strip()[:200]!r}")
    # An id that is also that of an array or of a het job brings lines of other jobs.
    verdicts = [_judge_row(state, where, run, nodes) for number, state, where in rows if number == job]
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
        answer = run(["scontrol", "show", "hostnames", where])
        if answer.code != 0 or not answer.output.split():
            return Verdict(None, f"scontrol show hostnames: {answer.problem}")
        hosts = set(answer.output.split())
    else:
        hosts = {where}
    return Verdict(False, f"it is {state} here") if hosts & nodes else Verdict(True, f"it is {state} on {where}")


def summarize(seen: View, kept: dict[str, str], verdicts: dict[str, Verdict]) -> Result:
    """Return what is to be removed and what stays. One question without an answer keeps every id."""
    unknown = [verdict.because for verdict in verdicts.values() if verdict.gone is None and verdict.because]
    result = Result(kept=dict(kept), answered=not unknown, problem=unknown[0] if unknown else "")
    for job, verdict in verdicts.items():
        if unknown or not verdict.gone:
            result.kept[job] = verdict.because if verdict.gone is False else "the controller gave no answer"
            continue
        for name in seen.holders()[job]:
            result.removed.setdefault(name, []).append(job)
    return result


def old_records(view: View, gone: set[str], now: float, grace: float) -> list[str]:
    """Return the ids whose record is of no use: emptied by the epilog, or in no map file."""
    live = view.holders().keys() - gone
    old = []
    for job, entry in view.records.items():
        age = abs(now - entry.modified)
        if (not entry.data and age > _EMPTY_RECORD_SECONDS) or (job not in live and age > grace):
            old.append(job)
    return old


def _act(result: Result, seen: View, gone: set[str], conf: dict[str, str], grace: float) -> None:
    directory, planned = conf["directory"], result.removed
    result.removed = {}
    try:
        with files.lock_local(os.path.join(directory, ".lock"), _LOCK_SECONDS):
            current = job_map.look(directory)
            safe = {job for job in gone if unchanged(seen, current, job)}
            gone &= current.holders().keys()
            for name, entry in current.files.items():
                if name not in planned and entry.ours:
                    continue
                if removed := _rewrite(directory, name, entry, safe, conf.get("idle", "empty")):
                    result.removed[name] = removed
            for job in old_records(current, safe, time.time(), grace):
                os.unlink(os.path.join(directory, f".job-{job}"))
    except OSError as exc:
        result.problem = f"the job map cannot be changed: {exc}"
    done = {job for jobs in result.removed.values() for job in jobs}
    result.kept |= dict.fromkeys(gone - done, result.problem or "the job map changed meanwhile")


def unchanged(seen: View, current: View, job: str) -> bool:
    """Return whether nobody has written anything about a job since ``seen``: its prolog may have run again."""
    names = seen.holders()[job]
    if current.holders().get(job) != names or _state(seen.records.get(job)) != _state(current.records.get(job)):
        return False
    return all(seen.files[name].state == current.files[name].state for name in names)


def _state(entry: Entry | None) -> tuple[int, ...]:
    return entry.state if entry else ()


def _rewrite(directory: str, name: str, entry: Entry, gone: set[str], idle: str) -> list[str]:
    removed, keep = [job for job in entry.ids if job in gone], [job for job in entry.ids if job not in gone]
    path, new = os.path.join(directory, name), os.path.join(directory, ".new", name)
    if not keep and idle == "unlink":
        os.unlink(path)
    elif removed or not entry.ours:
        files.make_directory(os.path.dirname(new))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)
        with open(new, "x", encoding="ascii") as stream:
            stream.writelines(f"{job}\n" for job in keep)
            os.fchmod(stream.fileno(), job_map.FILE_MODE)
        os.replace(new, path)
    return removed
