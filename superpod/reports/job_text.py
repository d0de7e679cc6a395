"""A job's report as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from superpod.reports import hints
from superpod.reports.devices import Device
from superpod.reports.held import HELD, Minutes
from superpod.reports.hints import Hint
from superpod.reports.job import ENERGY, IDLE, MEASURED, MEMORY, POWER, USED, Attempt, Job
from superpod.reports.text import UNKNOWN, amount, few, folded, kilowatt_hours, number, percent, sparkline, table
from superpod.reports.times import MINUTE, between, lasting

SCHEMA = 1
# Devices that are shown one by one.
_SHOWN = 16
_LABEL = 13


def lines(job: Job, every: bool = False) -> Iterator[str]:
    """Return the report; ``every`` shows each GPU of a large job."""
    yield f"#Job {job.id}" + (f"  {job.record.name}" if job.record and job.record.name else "")
    for label, text in facts(job):
        first, *more = folded(text, " " * (_LABEL + 2))
        yield f"  {label:<{_LABEL}}{first.lstrip()}"
        yield from more
    if len(job.attempts) > 1:
        shown = table(("", "TIME", "NODES", "STATE"), tries(job), left=4)
        yield from ("", "#Tries", *("  " + line for line in shown))
    yield from ("", f"#{heading(job, every)}", *_devices(job, every))
    found = hints.collect(job)
    yield from _said("Hints", found)
    if job.notes:
        yield from ("", "#Notes")
    for note in job.notes:
        yield from (f"!{line}" for line in folded(note, "  "))


def facts(job: Job, bars: bool = True) -> Iterator[tuple[str, str]]:
    """Return what is said of the whole job, by its label; with a line of bars of its utilization."""
    yield "User", owner(job)
    yield "Cluster", job.run.cluster or UNKNOWN
    yield "State", state(job)
    yield "Time", f"{between(job.attempts[0].started, job.attempts[-1].ended)} ({lasting(_length(job))})"
    yield "Nodes", few(sorted({host for one in job.attempts for host in one.hosts}))
    yield "GPUs", _held(job)
    yield "GPU hours", f"{number(job.run.total(HELD) / 60)} held, {number(_hours(job, USED))} used, {_idle(job)} idle"
    if len(job.utilizations) > 1:
        words = _mean_peak(percent, job.utilization, max(job.utilizations.values()))
        yield "Utilization", f"{words}  {_spark(job)}" if bars else words
    else:
        yield "Utilization", percent(job.utilization)
    yield "Memory", _memory(job)
    yield "Power", _mean_peak(lambda value: amount(value, "W"), job.mean(POWER), job.peak(POWER))
    yield "Energy", kilowatt_hours(_energy(job))
    yield "Idle", idle_time(job)
    yield "XIDs", xids(job)
    yield "Coverage", f"{percent(job.coverage)} of the GPUs' time is known" if job.coverage is not None else _short()


def _short() -> str:
    return f"{UNKNOWN} (too short to be measured)"


def owner(job: Job) -> str:
    """Return whose it is."""
    labels, record = job.run.labels, job.record
    user = job.run.user or (record.user if record else "")
    account = labels.get("account") or (record.account if record else "")
    partitions = job.run.partitions or ([record.partition] if record and record.partition else [])
    parts = [f"account {account}" if account else "", f"partition {', '.join(partitions)}" if partitions else ""]
    more = ", ".join(filter(None, parts))
    return (user or UNKNOWN) + (f" ({more})" if more else "")


def state(job: Job) -> str:
    """Return its state: as Slurm has it, else as it is seen."""
    seen = "holds GPUs now" if job.running else "holds no GPU now"
    return f"{job.record.state} ({seen})" if job.record and job.record.state else seen


def _length(job: Job) -> float:
    return sum(one.ended - one.started for one in job.attempts)


def _held(job: Job) -> str:
    words = [f"{len(job.devices)} held"]
    if any(one.share < 1 for one in job.devices):
        words[0] = f"{len(job.devices)} held in part, {number(job.gpus)} in all"
    elif len(job.devices) > job.gpus + 1e-6:
        # A requeued job may get others.
        words[0] = f"{number(job.gpus)} held at once, {len(job.devices)} in all tries"
    told = [one.record.gpus for one in job.attempts if one.record]
    if told:
        words.append("Slurm tells none" if told[-1] is None else f"Slurm says {told[-1]}")
    unused = len(hints.never_used(job)) if job.known else None
    words.append(f"never used: {UNKNOWN}" if unused is None else f"never used: {unused}")
    return " · ".join(words)


def _hours(job: Job, record: str) -> float | None:
    return job.run.total(record) if job.run.total(MEASURED) else None


def _idle(job: Job) -> str:
    return number(_hours(job, IDLE) if job.known else None)


def _energy(job: Job) -> float | None:
    return job.run.total(ENERGY) if job.run.records[ENERGY] else None


def _mean_peak(form: Any, mean: float | None, peak: float | None) -> str:
    return f"{form(mean)} mean, {form(peak)} peak"


def series(job: Job, values: Minutes) -> list[float | None]:
    """Return a record by minute, from the first to the last; None: not known."""
    return [values.get(minute) for minute in range(job.run.minutes[-1] + 1)]


def _spark(job: Job) -> str:
    return sparkline(series(job, job.utilizations), 1, 36)


def _memory(job: Job) -> str:
    def form(value: float | None) -> str:
        return amount(value, "B", 1024)

    known = [one.capacity for one in job.devices if one.capacity is not None]
    whole = f" of {form(sum(known))}" if known and len(known) == len(job.devices) else ""
    return _mean_peak(form, job.mean(MEMORY), job.peak(MEMORY)) + whole


def idle_time(job: Job) -> str:
    """Return the longest time without use: of one GPU, and of all at once."""
    longest, together = job.longest_idle, job.all_idle
    if not job.known:
        return f"{UNKNOWN} (too little is known)"
    if longest is None or longest.idle_from is None or longest.idle_until is None:
        return "no GPU for a minute"
    words = f"{lasting(longest.idle_until - longest.idle_from)} at most ({longest.name})"
    every = (together[1] - together[0] + 1) * MINUTE if together else 0
    return words if len(job.devices) == 1 else f"{words}, {lasting(every) if every else 'never'} all at once"


def xids(job: Job) -> str:
    """Return the XIDs in short."""
    if not job.xids:
        return "not known" if len(job.without_xids) == len({one.host for one in job.devices}) else "none"
    return ", ".join(f"{one.xid} ({one.host} GPU {one.gpu or '?'})" for one in job.xids)


def tries(job: Job) -> list[tuple[str, ...]]:
    """Return what is shown of each try: its number, time, nodes and state."""

    def row(number: int, one: Attempt) -> tuple[str, ...]:
        seen = one.record.state if one.record else ""
        return (str(number), between(one.started, one.ended), few(one.hosts), seen or UNKNOWN)

    return [row(number, one) for number, one in enumerate(job.attempts, 1)]


def heading(job: Job, every: bool) -> str:
    """Return what the table of devices is of."""
    if len(job.devices) <= _SHOWN or every:
        return "GPUs"
    return f"GPUs: the {_SHOWN} of {len(job.devices)} that were used least (--gpus shows all)"


def _devices(job: Job, every: bool) -> list[str]:
    shown = job.devices
    if len(shown) > _SHOWN and not every:
        shown = sorted(shown, key=lambda one: (one.utilization is None, one.utilization or 0))[:_SHOWN]
    header = ("NODE", "GPU", "USED", "PEAK", "IDLE", "MEMORY", "OF", "POWER", "TENSOR", "DRAM", "KNOWN")
    return ["  " + line for line in table(header, map(cells, shown))]


def cells(one: Device) -> tuple[str, ...]:
    """Return what is shown of a device."""
    gpu = f"{one.gpu}.{one.instance}" if one.instance else one.gpu
    idle = lasting(one.idle * 60 / one.share) if hints.enough(one) else UNKNOWN
    dead = one.dead_since is not None
    pipes = ("dead", "dead") if dead else (percent(one.tensor), percent(one.dram))
    memory, capacity = (amount(value, "B", 1024) for value in (one.memory, one.capacity))
    texts = (
        percent(one.utilization),
        percent(one.peak),
        idle,
        memory,
        capacity,
        amount(one.power, "W"),
        *pipes,
        percent(one.coverage),
    )
    return (one.host, gpu, *(text.replace(" ", "") if text[-1:] in "%B" or " W" in text else text for text in texts))


def _said(title: str, found: list[Hint]) -> Iterator[str]:
    if found:
        yield from ("", f"#{title}")
    for one in found:
        first, *more = folded(one.text, "    ")
        yield from (f"  - {first.lstrip()}", *more, *folded(f"Rule: {one.rule}.", "      "))


def as_json(job: Job, source: str, warnings: list[str]) -> dict[str, Any]:
    """Return the report for programs. What is not known is null; times are epoch seconds, amounts in base units."""
    record, measured = job.record, job.run.total(MEASURED)
    longest = job.longest_idle if job.known else None
    return {
        **{"schema": SCHEMA, "job": job.id, "asked": job.asked, "cluster": job.run.cluster or None, "source": source},
        "generated": datetime.fromtimestamp(job.now, timezone.utc).isoformat(timespec="seconds"),
        "name": record.name if record else None,
        "user": job.run.user or (record.user if record else None),
        "account": job.run.labels.get("account") or (record.account if record else None),
        "partitions": job.run.partitions or ([record.partition] if record else []),
        **{"state": record.state if record else None, "running": job.running},
        **{"begin": job.attempts[0].started, "end": job.attempts[-1].ended, "seconds": _length(job)},
        **{"coverage": job.coverage, "complete": job.complete and not warnings},
        "gpus": {
            **{"held": len(job.devices), "at_once": job.gpus, "slurm": record.gpus if record else None},
            "never_used": len(hints.never_used(job)) if job.known else None,
        },
        "gpu_hours": {
            **{"held": job.run.total(HELD) / 60, "measured": measured, "used": _hours(job, USED)},
            "idle": _hours(job, IDLE) if job.known else None,
        },
        "utilization_ratio": {"mean": job.utilization, "peak": max(job.utilizations.values(), default=None)},
        "memory_bytes": {"mean": job.mean(MEMORY), "peak": job.peak(MEMORY)},
        "power_watts": {"mean": job.mean(POWER), "peak": job.peak(POWER)},
        "energy_joules": _energy(job),
        "longest_idle": _longest(longest),
        "all_idle_seconds": _all_idle(job),
        "xids": [{**asdict(one), "what": one.what} for one in job.xids],
        "without_xids": job.without_xids,
        "tries": [_try(one) for one in job.attempts],
        "devices": [_device(one) for one in job.devices],
        "hints": [asdict(one) for one in hints.collect(job)],
        "notes": [*job.notes, *warnings],
    }


def _all_idle(job: Job) -> int | None:
    if not job.known:
        return None
    return (job.all_idle[1] - job.all_idle[0] + 1) * MINUTE if job.all_idle else 0


def _longest(one: Device | None) -> dict[str, Any] | None:
    if one is None or one.idle_from is None or one.idle_until is None:
        return None
    place = {"host": one.host, "gpu": one.gpu, "instance": one.instance or None}
    return {**place, "begin": one.idle_from, "end": one.idle_until, "seconds": one.idle_until - one.idle_from}


def _try(one: Attempt) -> dict[str, Any]:
    seen = {"seen_from": one.begin, "seen_until": one.end}
    state = one.record.state if one.record else None
    return {
        "begin": one.started,
        "end": one.ended,
        **seen,
        "hosts": one.hosts,
        "silent": one.silent,
        "gpus_without_data": one.lost,
        "state": state,
    }


def _device(one: Device) -> dict[str, Any]:
    enough = hints.enough(one)
    return {
        **{"host": one.host, "gpu": one.gpu, "instance": one.instance or None, "share": one.share},
        **{"gpu_hours_held": one.held / 60, "gpu_hours_measured": one.measured / 60},
        "gpu_hours_idle": one.idle / 60 if enough else None,
        "coverage": one.coverage,
        "never_used": one.never_used if enough else None,
        "utilization_ratio": {"mean": one.utilization, "peak": one.peak},
        **{"memory_peak_bytes": one.memory, "memory_capacity_bytes": one.capacity, "power_watts": one.power},
        **{"tensor_ratio": None if one.dead_since is not None else one.tensor},
        **{"dram_ratio": None if one.dead_since is not None else one.dram},
        "profiling_dead_since": one.dead_since,
    }
