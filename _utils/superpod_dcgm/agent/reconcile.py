"""
Makes the job map true: ids of jobs that are gone go, and jobs that lost their label get it back from their record.

An id goes only if it is older than the grace time, no step of its job runs here, and the controller itself says
that the job is finished, unknown, or not on this node. A label comes back only if the controller itself says that its
job holds this node. Without an answer everything stays.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from superpod_dcgm.agent import job_map, slurm, tidy, verdicts
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.job_map import Entry, View
from superpod_dcgm.agent.slurm import Runner
from superpod_dcgm.agent.tidy import Fault
from superpod_dcgm.agent.verdicts import Verdict
from superpod_dcgm.base import files, job_map_conf

_LOCK_SECONDS = 2.0
_EMPTY_RECORD_SECONDS = 60


@dataclass
class Result:
    """
    What a reconciliation did.

    ``removed``, ``restored``: job ids by map file. ``repaired``: what was odd with a file. ``kept``: ids that it kept,
    and why. ``answered``: it got the answers that it needed. ``after``: the job that it asked for last.
    """

    removed: dict[str, list[str]] = field(default_factory=dict)
    restored: dict[str, list[str]] = field(default_factory=dict)
    repaired: list[Fault] = field(default_factory=list)
    kept: dict[str, str] = field(default_factory=dict)
    answered: bool = True
    problem: str = ""
    after: int = 0


def reconcile(
    conf: dict[str, str],
    test: bool = False,
    run: Runner | None = None,
    steps: set[str] | None = None,
    table: Table | None = None,
    after: int = 0,
) -> Result:
    """
    Put odd files right, remove the ids of jobs that are gone, and give back labels that were lost.

    :param conf: job-map.conf of this node.
    :param test: only say what would be done.
    :param run: runs one of Slurm's commands; for tests.
    :param steps: the jobs with a step on this node; for tests.
    :param table: the device table, where it can be relied on.
    :param after: the job that the last run asked for last: where there are many, this one goes on after it.
    :raises OSError: the map cannot be read.
    """
    directory, idle = conf.get("directory", ""), conf.get("idle", "empty")
    grace = job_map_conf.number(conf, "grace", 120)
    if test and not os.path.lexists(directory):
        return Result(repaired=tidy.directory_faults(directory))
    repaired, problem = (tidy.plan(directory, table), "") if test else tidy.tidy(directory, idle, table)
    seen, now = job_map.look(directory), time.time()
    steps = slurm.jobs_with_steps() if steps is None else steps
    kept, doubtful = sort_out(seen, steps, now, grace)
    missing = lost(seen, conf, table)
    questions = in_turn({*doubtful, *missing}, after)
    answers = verdicts.ask(questions, run or slurm.runner(), seen) if questions else {}
    result = summarize(seen, kept, answers, set(doubtful), missing)
    result.repaired, result.problem = repaired, problem or result.problem
    result.after = max((int(job) for job in answers), default=0)
    gone = {job for jobs in result.removed.values() for job in jobs}
    if not _refused(answers):
        gone |= {job for job, verdict in answers.items() if verdict.gone and job not in seen.holders()}
    if not test and (gone or result.restored or old_records(seen, gone, now, grace, missing)):
        _act(result, seen, gone, conf, table)
    return result


def sort_out(seen: View, steps: set[str], now: float, grace: float) -> tuple[dict[str, str], list[str]]:
    """Return the ids that stay without a question, and why, and those that the controller has to be asked for."""
    kept: dict[str, str] = {}
    doubtful: list[str] = []
    for job, names in sorted(seen.holders().items(), key=lambda item: int(item[0])):
        entries = [seen.records[job]] if job in seen.records else [seen.files[name] for name in names]
        # A clock that was set makes ages negative or long: then the controller decides.
        if abs(now - max(entry.modified for entry in entries)) <= grace:
            kept[job] = f"it is younger than {grace:g} s"
        elif job in steps:
            kept[job] = "a step of it runs here"
        else:
            doubtful.append(job)
    return kept, doubtful


def in_turn(jobs: Iterable[str], after: int) -> list[str]:
    """Return the jobs that this run asks for: those after the last one of the run before come first."""
    numbers = sorted(int(job) for job in jobs)
    return [str(job) for job in sorted(numbers, key=lambda job: (job <= after, job))][: verdicts.MOST_QUESTIONS]


def lost(seen: View, conf: dict[str, str], table: Table | None) -> dict[str, list[str]]:
    """
    Return the map files by job that its record names and that do not have its id.

    The epilog empties the record of a job that ends. GPUs that are there no more are left out.
    """
    found: dict[str, list[str]] = {}
    for job, entry in seen.records.items():
        record = job_map.parse_record(entry.data)
        for name in record.gpus if record and job_map.is_job_id(job) else ():
            known = not table or not table.gpus or name in table.gpus or name in table.instances
            written = conf.get("mig") == "yes" or "." not in name
            if known and written and (name not in seen.files or job not in seen.files[name].ids):
                found.setdefault(job, []).append(name)
    return found


def summarize(
    seen: View, kept: dict[str, str], answers: dict[str, Verdict], doubtful: set[str], missing: dict[str, list[str]]
) -> Result:
    """
    Return what is to be removed, given back, and what stays.

    One question that the controller refuses keeps every id; one that it was late to answer keeps its own.
    """
    unknown = [one for one in answers.values() if one.gone is None and one.because]
    refused = _refused(answers)
    result = Result(kept=dict(kept), answered=not unknown, problem=unknown[0].because if unknown else "")
    asked = {job: answers.get(job, Verdict(None, "")) for job in doubtful}
    for job, verdict in asked.items():
        if verdict.gone and not refused:
            for name in seen.holders()[job]:
                result.removed.setdefault(name, []).append(job)
        elif verdict.gone is False:
            result.kept[job] = verdict.because
        else:
            result.kept[job] = "the controller gave no answer" if unknown else "many others are asked for first"
    for job, names in missing.items():
        for name in names if answers.get(job, Verdict(None, "")).here else ():
            result.restored.setdefault(name, []).append(job)
    return result


def _refused(answers: dict[str, Verdict]) -> bool:
    return any(one.gone is None and one.because and not one.late for one in answers.values())


def old_records(view: View, gone: set[str], now: float, grace: float, missing: dict[str, list[str]]) -> list[str]:
    """Return the ids whose record is of no use: emptied by the epilog, or in no map file and nothing to give back."""
    live = (view.holders().keys() | missing.keys()) - gone
    old = []
    for job, entry in view.records.items():
        age = abs(now - entry.modified)
        if (not entry.data and age > _EMPTY_RECORD_SECONDS) or (job not in live and age > grace):
            old.append(job)
    return old


def _act(result: Result, seen: View, gone: set[str], conf: dict[str, str], table: Table | None) -> None:
    directory, idle = conf["directory"], conf.get("idle", "empty")
    back, result.removed, result.restored = result.restored, {}, {}
    there = seen
    try:
        with files.lock_local(os.path.join(directory, ".lock"), _LOCK_SECONDS):
            current = there = job_map.look(directory)
            safe = {job for job in gone if unchanged(seen, current, job)}
            still = {job for job in lost(current, conf, table) if _same_record(seen, current, job)}
            for name in sorted(current.files.keys() | back.keys()):
                ids = current.files[name].ids if name in current.files else []
                keep = [job for job in ids if job not in safe]
                wanted = [job for job in back.get(name, []) if job in still and job not in ids]
                given = _given(name, keep, wanted, conf, table)
                if len(keep) < len(ids) or given:
                    job_map.put_ids(directory, name, keep + given, idle)
                _note(result, name, [job for job in ids if job in safe], given)
            left = lost(job_map.look(directory), conf, table)
            for job in old_records(current, safe, time.time(), job_map_conf.number(conf, "grace", 120), left):
                os.unlink(os.path.join(directory, f".job-{job}"))
    except OSError as exc:
        result.problem = f"the job map cannot be changed: {exc}"
    _explain(result, there, gone, back)


def _given(name: str, keep: list[str], wanted: list[str], conf: dict[str, str], table: Table | None) -> list[str]:
    """Return who gets the label of a GPU back; one that a job holds alone is given to no other."""
    if not wanted or len(keep) + len(wanted) == 1 or conf.get("shared", "yes") != "no":
        return wanted
    return wanted if table is not None and (name in table.shared or table.sharing) else []


def _note(result: Result, name: str, removed: list[str], given: list[str]) -> None:
    if removed:
        result.removed[name] = removed
    if given:
        result.restored[name] = given


def _explain(result: Result, there: View, gone: set[str], back: dict[str, list[str]]) -> None:
    done = {job for jobs in result.removed.values() for job in jobs}
    why = result.problem or "the job map changed meanwhile"
    result.kept |= dict.fromkeys((gone & there.holders().keys()) - done, why)
    for name, jobs in back.items():
        for job in jobs if name not in result.restored else ():
            result.kept.setdefault(job, result.problem or f"GPU {name} is another job's now")


def unchanged(seen: View, current: View, job: str) -> bool:
    """Return whether nobody has written anything about a job since ``seen``: its prolog may have run again."""
    names = seen.holders().get(job, [])
    if current.holders().get(job, []) != names or not _same_record(seen, current, job):
        return False
    return all(seen.files[name].state == current.files[name].state for name in names)


def _same_record(seen: View, current: View, job: str) -> bool:
    return _state(seen.records.get(job)) == _state(current.records.get(job))


def _state(entry: Entry | None) -> tuple[int, ...]:
    return entry.state if entry else ()
