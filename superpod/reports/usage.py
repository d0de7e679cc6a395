"""Who used what in a span of time: GPU hours, use, waste and energy of users, accounts, partitions or jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from superpod.errors import SuperpodError
from superpod.reports import nothing, usage_tries
from superpod.reports.job import COMPLETE, ENOUGH
from superpod.reports.prometheus import Client, Row, matchers
from superpod.reports.text import number, percent
from superpod.reports.times import MINUTE, lasting, show

# What the rows are of: the labels that tell them apart.
LEVELS = {
    "user": ("user",),
    "account": ("account",),
    "partition": ("partition",),
    "job": ("hpc_job", "user", "account", "partition"),
    "cluster": (),
}
_JOB = usage_tries.JOB
_HOURS = ("allocated", "measured", "used", "idle")


@dataclass
class Use:
    """
    What one of them had. Hours are GPU hours; None: not known.

    ``first`` are the hours that nobody can measure, the first minute of each try of a job, and ``possible`` the others.
    """

    cluster: str
    labels: dict[str, str] = field(default_factory=dict)
    held: float = 0
    measured: float = 0
    used: float = 0
    idle: float = 0
    first: float = 0
    energy: float | None = None
    jobs: int = 0

    @property
    def possible(self) -> float:
        """The hours that could have been measured."""
        return max(0.0, self.held - self.first)

    @property
    def coverage(self) -> float | None:
        """The share of them that was; None: there were none."""
        return min(1.0, self.measured / self.possible) if self.possible > 1e-9 else None

    @property
    def waste(self) -> float | None:
        """Hours that were held and idle; None: too little is known to say so."""
        return self.idle if self.coverage is not None and self.coverage >= ENOUGH else None

    @property
    def utilization(self) -> float | None:
        """The mean of what was measured."""
        return self.used / self.measured if self.measured else None


@dataclass
class Capacity:
    """What a cluster has: GPU hours that were there, and the share of the time of which there are records."""

    cluster: str
    hours: float
    recorded: float


@dataclass
class Report:
    """The uses, those who had most first, and the clusters they are of. ``asked`` is when."""

    level: str
    begin: float
    end: float
    filters: dict[str, str]
    asked: float = 0
    uses: list[Use] = field(default_factory=list)
    capacities: list[Capacity] = field(default_factory=list)

    @property
    def total(self) -> Use:
        """All together."""
        found = Use("")
        for one in self.uses:
            for name in ("held", "measured", "used", "idle", "first", "jobs"):
                setattr(found, name, getattr(found, name) + getattr(one, name))
            if one.energy is not None:
                found.energy = (found.energy or 0) + one.energy
        return found

    @property
    def complete(self) -> bool:
        """Whether nothing is missing: neither use of what was held, nor time without records."""
        coverage = self.total.coverage
        return (coverage is None or coverage >= COMPLETE) and all(one.recorded >= COMPLETE for one in self.capacities)

    def notes(self) -> list[str]:
        """Return what has to be known of these numbers."""
        span, found = self.end - self.begin, []
        for one in self.capacities:
            if one.recorded < COMPLETE:
                words = f"{lasting(one.recorded * span)} of {lasting(span)} are recorded; of the rest nothing is known."
                found.append(f"Cluster {one.cluster or '(none)'}: {words}")
        total = self.total
        if total.coverage is not None and total.coverage < COMPLETE:
            found.append(f"The use of {number(total.possible - total.measured)} GPU hours that were held is not known.")
        if any(one.waste is None and one.held for one in self.uses):
            found.append(f"Idle hours are told only where {percent(ENOUGH)} of the time are known.")
        return found


def collect(
    client: Client, level: str, window: tuple[float, float], filters: Mapping[str, str], asked: float
) -> Report:
    """
    Return who used what.

    :param level: one of ``LEVELS``.
    :param filters: labels that jobs must have: cluster, user, account, partition; empty ones count for nothing.
    :param asked: now.
    :raises SuperpodError: the server does not answer, or has no records.
    """
    found = Report(level, *window, {name: value for name, value in filters.items() if value}, asked)
    found.capacities = _capacities(client, found)
    uses: dict[tuple[str, ...], Use] = {}
    for name, rows in _asked(client, found).items():
        for row in rows:
            labels = {label: row.labels.get(label, "") for label in LEVELS[level]}
            key = (row.labels.get("cluster", ""), *labels.values())
            _add(uses.setdefault(key, Use(key[0], labels)), name, row)
    found.uses = sorted((one for one in uses.values() if one.held), key=lambda one: (-one.held, *one.labels.values()))
    if not found.uses:
        raise SuperpodError(_none(client, found), 3)
    if any(one.coverage is not None and one.coverage < COMPLETE for one in found.uses):
        _more_tries(client, found)
    return found


def _add(use: Use, name: str, row: Row) -> None:
    if name == "sizes":
        use.jobs += round(row.value)
        use.first += float(row.labels.get(usage_tries.SIZE) or 0) * row.value * MINUTE / 3600
    elif name == "before":
        use.first = max(0.0, use.first - row.value * MINUTE / 3600)
    else:
        setattr(use, name, row.value)


def _more_tries(client: Client, report: Report) -> None:
    """Take in the first minutes of tries after the first, of which nothing can be known either."""
    uses = {(one.cluster, *one.labels.values()): one for one in report.uses}
    for row in usage_tries.first_minutes(client, matchers(**report.filters), (report.begin, report.end)):
        key = (row.labels.get("cluster", ""), *(row.labels.get(label, "") for label in LEVELS[report.level]))
        if key in uses:
            uses[key].first += row.value


def _asked(client: Client, report: Report) -> dict[str, list[Row]]:
    """Return the answers by what they are of ``Use``."""
    span, names = f"[{round(report.end - report.begin)}s]", ", ".join(["cluster", *LEVELS[report.level]])
    source = _source(report)
    inner, where = _JOB if source == "job" else f"cluster, {source}", f"{{{matchers(**report.filters)}}}"

    def summed(record: str) -> str:
        # Two servers that record the same count once.
        return f"sum by ({names}) (max by ({inner}) (sum_over_time({source}:{record}:increase1m{where}{span})))"

    queries = {("held" if kind == "allocated" else kind): summed(f"gpu_hours_{kind}") for kind in _HOURS}
    queries |= {"energy": summed("energy_joules"), **usage_tries.questions(names, where, span)}
    calls: list[Callable[[], list[Row]]] = [partial(client.instant, query, report.end) for query in queries.values()]
    return dict(zip(queries, client.together(calls), strict=True))


def _source(report: Report) -> str:
    """Return the level of the records that are added up: the highest one that has the labels."""
    wanted = {*LEVELS[report.level], *(name for name in report.filters if name != "cluster")}
    return next(iter(wanted)) if len(wanted) == 1 and wanted <= {"user", "account", "partition"} else "job"


def _capacities(client: Client, report: Report) -> list[Capacity]:
    of = matchers(cluster=report.filters.get("cluster", ""))
    span = report.end - report.begin
    sample = f"cluster:gpus:count{{{of}}}[{round(span)}s]"
    hours = client.instant(f"max by (cluster) (sum_over_time({sample})) / {3600 // MINUTE}", report.end)
    counts = client.instant(f"max by (cluster) (count_over_time({sample}))", report.end)
    minutes = {row.labels.get("cluster", ""): row.value for row in counts}
    names = [row.labels.get("cluster", "") for row in hours]
    # The edges of a range fall between two evaluations.
    most = max(1, int(span // MINUTE) - 1)
    shares = [min(1.0, minutes.get(name, 0) / most) for name in names]
    found = zip(names, hours, shares, strict=True)
    return sorted((Capacity(name, row.value, share) for name, row, share in found), key=lambda one: one.cluster)


def _none(client: Client, report: Report) -> str:
    why = nothing.at_all(client, report.end)
    if why:
        return why
    who = ", ".join(f"{name} {value}" for name, value in report.filters.items())
    words = f"No job{f' of {who}' if who else ''} held a GPU from {show(report.begin)} to {show(report.end)}."
    if report.level not in ("job", "cluster") or set(report.filters) - {"cluster"}:
        rows = client.instant('count(last_over_time(job:gpus_allocated:sum{user=""}[1d]))', report.end)
        words += " Users are not recorded here (job_map:users); --by job needs none." if rows else ""
    return words
