"""One job: what it held, used and wasted, by the records of its job and of its GPUs; beside it what Slurm says."""

from __future__ import annotations

from dataclasses import dataclass, field

from superpod_dcgm.monitoring import recording

from superpod.errors import SuperpodError
from superpod.reports import devices, errors_of_gpus, held, matching, nothing, slurm
from superpod.reports.devices import Device, Try
from superpod.reports.errors_of_gpus import Xid
from superpod.reports.held import HELD, Run
from superpod.reports.prometheus import Client, matchers
from superpod.reports.text import few, percent
from superpod.reports.times import MINUTE, between, lasting, show

# Share of a job's time that has to be known before anybody is told that GPUs were not used.
ENOUGH = 0.9
# Share from which on nothing is missing: the edges of a job are known to a minute.
COMPLETE = 0.99
# Seconds from a job's start to its first record, and from the last one on while it runs.
_LATE, _RUNNING = 150, 3 * MINUTE
USED, MEASURED, IDLE = (f"gpu_hours_{kind}:increase1m" for kind in ("used", "measured", "idle"))
MEMORY, POWER, ENERGY = "memory_used_bytes:sum", "power_watts:sum", "energy_joules:increase1m"


@dataclass
class Attempt:
    """One try of a job: when it was seen on its GPUs, and what Slurm says of it."""

    begin: float
    end: float
    hosts: list[str] = field(default_factory=list)
    record: slurm.Record | None = None
    # GPU minutes that could have been measured, and nodes of Slurm's list of which there is no row.
    expected: float = 0
    silent: list[str] = field(default_factory=list)
    # GPUs that Slurm counts, and of which there is no row.
    lost: int = 0

    @property
    def started(self) -> float:
        """When it began: as Slurm says, else as it was seen."""
        return self.begin if self.record is None or self.record.begin is None else self.record.begin

    @property
    def ended(self) -> float:
        """When it ended; as it was seen, a minute after its last record."""
        return self.end + MINUTE if self.record is None or self.record.end is None else self.record.end


@dataclass
class Job:
    """All that is known of a job."""

    id: str
    asked: str
    run: Run
    now: float
    attempts: list[Attempt] = field(default_factory=list)
    devices: list[Device] = field(default_factory=list)
    xids: list[Xid] = field(default_factory=list)
    without_xids: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def record(self) -> slurm.Record | None:
        """What Slurm says of its last try."""
        return self.attempts[-1].record if self.attempts else None

    @property
    def running(self) -> bool:
        """Whether it holds GPUs now."""
        return self.now - self.run.end <= _RUNNING and (self.record is None or self.record.end is None)

    @property
    def coverage(self) -> float | None:
        """The share of its GPUs' time of which the utilization is known; None: it was too short for any."""
        expected = sum(one.expected for one in self.attempts)
        measured = self.run.total(MEASURED) * 60
        return min(1.0, measured / expected) if expected else None

    @property
    def complete(self) -> bool:
        """Whether nothing is missing but what a minute at an edge may be."""
        expected, measured = sum(one.expected for one in self.attempts), self.run.total(MEASURED) * 60
        return bool(expected) and (measured >= expected * COMPLETE or expected - measured <= self.gpus * 1.01)

    @property
    def known(self) -> bool:
        """Whether enough is known to say that something was not used."""
        return self.coverage is not None and self.coverage >= ENOUGH

    @property
    def gpus(self) -> float:
        """GPUs that it held at once, at most."""
        return max(self.run.records[HELD].values())

    @property
    def utilization(self) -> float | None:
        """The mean of what it held."""
        measured = self.run.total(MEASURED)
        return self.run.total(USED) / measured if measured else None

    @property
    def utilizations(self) -> held.Minutes:
        """The mean of its GPUs by minute."""
        used, measured = self.run.records[USED], self.run.records[MEASURED]
        return {minute: used[minute] / part for minute, part in measured.items() if part and minute in used}

    def mean(self, record: str) -> float | None:
        """Return the mean of a record over the minutes that have it."""
        values = self.run.records[record].values()
        return sum(values) / len(values) if values else None

    def peak(self, record: str) -> float | None:
        """Return the highest value of a record."""
        return max(self.run.records[record].values(), default=None)

    @property
    def all_idle(self) -> tuple[int, int] | None:
        """The longest stretch of minutes in which all its GPUs did nothing."""
        idle, measured = self.run.records[IDLE], self.run.records[MEASURED]
        minutes = sorted(one for one, part in measured.items() if part and idle.get(one, 0) > part * (1 - 1e-9))
        return max(held.stretches(minutes, MINUTE), key=lambda one: one[1] - one[0], default=None)

    @property
    def longest_idle(self) -> Device | None:
        """The device that did nothing for the longest time."""
        idle = [one for one in self.devices if one.idle_from is not None]
        return max(idle, key=lambda one: (one.idle_until or 0) - (one.idle_from or 0), default=None)


def collect(client: Client, asked: str, cluster: str, window: tuple[float, float], at: float | None, ask: bool) -> Job:
    """
    Return what is known of a job.

    :param window: from when to when it is looked for.
    :param at: a moment at which it ran, if the id came round; by default its newest run is taken.
    :param ask: whether Slurm may be asked.
    :raises SuperpodError: the server does not answer, the id is none, or several clusters have it.
    """
    raw, note = slurm.raw_id(asked, ask)
    records = slurm.records(raw) if ask else []
    others = {one.id for one in records if one.raw != raw}
    records = [one for one in records if one.raw == raw]
    names = "|".join(recording.AMOUNTS)
    selector = f'{{__name__=~"job:({names})",{matchers(cluster=cluster, hpc_job=raw)}}}'
    found = held.owners(client.samples(f"{selector}[{round(window[1] - window[0])}s]", window[1]))
    if not found:
        raise SuperpodError(nothing.of_job(client, raw, cluster, window, records), 3)
    if len(found) > 1:
        where = " and ".join(f"{name or '(none)'} ({_seen(runs)})" for name, runs in sorted(found.items()))
        raise SuperpodError(f"Job {raw} is known in the clusters {where}: choose one with --cluster.", 2)
    run, notes = _chosen([part for runs in found.values() for one in runs for part in held.split(one)], at)
    job = Job(raw, asked, run, window[1], notes=[*filter(None, [note]), *notes])
    if others and asked == raw:
        more = ", ".join(sorted(others)[:3]) + (" …" if len(others) > 3 else "")
        job.notes.append(f"{raw} is one of {len(others) + 1} jobs of an array or a het job; others: {more}.")
    _fill(client, job, records)
    return job


def _seen(runs: list[Run]) -> str:
    return ", ".join(f"{one.user + ', ' if one.user else ''}until {show(one.end)}" for one in runs)


def _chosen(runs: list[Run], at: float | None) -> tuple[Run, list[str]]:
    """Return the run that is meant, and what to say of the others."""
    runs.sort(key=lambda one: one.end)
    fits = [one for one in runs if at is None or one.begin - 2 * MINUTE <= at <= one.end + MINUTE]
    if not fits:
        when = ", ".join(f"{show(one.begin)} to {show(one.end)}" for one in runs)
        raise SuperpodError(f"The job did not run at {show(at or 0)}. It was seen: {when}.", 3)
    rest = [one for one in runs if one is not fits[-1]]
    notes = []
    if rest:
        when = ", ".join(show(one.begin) for one in rest)
        notes.append(f"The id was used more than once. Other runs began {when}; --at with such a time shows one.")
    return fits[-1], notes


def _fill(client: Client, job: Job, records: list[slurm.Record]) -> None:
    run = job.run
    fitting, note = matching.records(client, run, job.id, records)
    job.notes += note
    parts = held.tries(run, lambda begin, end: matching.waited(client, run, job.id, (begin, end), fitting))
    spans = [Try(run.cluster, job.id, *(run.begin + minute * MINUTE for minute in part)) for part in parts]
    found = devices.collect(client, spans)
    job.devices = sorted(found.values(), key=lambda one: (one.host, one.gpu.zfill(4), one.instance.zfill(4)))
    for part, span in zip(parts, spans, strict=True):
        hosts = devices.hosts(client, span) if len(spans) > 1 else sorted({one.host for one in job.devices})
        job.attempts.append(_attempt(job, part, span, hosts, fitting))
    job.xids, job.without_xids = errors_of_gpus.collect(client, spans, job.devices)
    _missing_parts(job)


def _attempt(job: Job, part: tuple[int, int], span: Try, hosts: list[str], records: list[slurm.Record]) -> Attempt:
    found = Attempt(span.begin, span.end, hosts, expected=held.expected(job.run, *part))
    for one in records:
        overlaps = (one.begin or 0) <= span.end + MINUTE and (one.end is None or one.end >= span.begin - MINUTE)
        if overlaps and (found.record is None or (one.begin or 0) > (found.record.begin or 0)):
            found.record = one
    if found.record is not None:
        _compare(job, found, found.record, part)
    return found


def _compare(job: Job, found: Attempt, record: slurm.Record, part: tuple[int, int]) -> None:
    """Take in what should have been measured by what Slurm says: nodes without a row, and time at the edges."""
    short = {host.partition(".")[0] for host in found.hosts}
    here = sum(one.host in found.hosts for one in job.devices)
    found.silent = [host for host in record.nodes if host.partition(".")[0] not in short]
    if record.gpus is not None:
        found.lost = max(0, int(record.gpus) - here)
        # A node on which the job has no GPU is none that is missing.
        found.silent = found.silent if found.lost else []
    minutes = part[1] - part[0]
    per_minute = found.expected / minutes if minutes else job.gpus
    # Where Slurm accounts no GPUs, a node that is missing has as many as the others.
    share = found.lost / max(1, here) if record.gpus is not None else len(found.silent) / len(found.hosts)
    found.expected += per_minute * share * minutes
    per_minute *= 1 + share
    early = found.begin - (record.begin or found.begin) - _LATE
    late = (record.end or job.now) - found.end - _LATE
    found.expected += sum(per_minute * seconds / MINUTE for seconds in (early, late) if seconds > 0)


def _gaps(run: Run, one: Attempt) -> list[tuple[float, float]]:
    """Return the times within a try of which nothing was measured, the longest three."""
    first, last = (round((at - run.begin) / MINUTE) for at in (one.begin, one.end))
    unknown = [minute for minute in range(first + 1, last + 1) if not run.records[MEASURED].get(minute)]
    found = [(begin, end) for begin, end in held.stretches(unknown, MINUTE) if end > begin]
    longest = sorted(found, key=lambda gap: gap[0] - gap[1])[:3]
    return [(run.begin + (begin - 1) * MINUTE, run.begin + end * MINUTE) for begin, end in sorted(longest)]


def _missing_parts(job: Job) -> None:
    for one in job.attempts:
        if one.silent:
            job.notes.append(f"There is no data from {few(one.silent)}.")
        if one.lost:
            job.notes.append(f"Slurm counts {one.lost} more GPUs than have data.")
        early = one.begin - one.started
        if early > _LATE:
            job.notes.append(f"Of the first {lasting(early)} there is no data.")
        late = (job.now if one.record and one.record.end is None else one.ended) - one.end
        if one.record and late > _LATE:
            job.notes.append(f"Of the last {lasting(late)} there is no data.")
        job.notes += [f"Nothing is known of {between(*gap)}." for gap in _gaps(job.run, one)]
    if job.without_xids:
        job.notes.append(f"XIDs are not told by {few(job.without_xids)}.")
    if job.coverage is not None and not job.known:
        job.notes.append(f"Too little is known to say what was not used: {percent(ENOUGH)} of the time are needed.")
