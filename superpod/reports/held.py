"""When a job held GPUs, by the records of its job: runs of an id, their tries, and what is missing in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from superpod.reports.prometheus import Series
from superpod.reports.times import MINUTE

# A pause of more seconds is another run of the same id.
OTHER_RUN = 86400
# Pauses of which it is asked whether the job waited in them: the longest ones.
_ASKED = 50
HELD = "gpus_allocated:sum"
Minutes = dict[int, float]


@dataclass
class Run:
    """What a job's records say: by record and minute since ``begin``. ``labels`` are those of its last minute."""

    cluster: str
    user: str
    begin: float
    labels: dict[str, str] = field(default_factory=dict)
    records: dict[str, Minutes] = field(default_factory=lambda: defaultdict(dict))
    partitions: list[str] = field(default_factory=list)

    @property
    def minutes(self) -> list[int]:
        """The minutes in which it held GPUs."""
        return sorted(self.records[HELD])

    @property
    def end(self) -> float:
        """The last moment at which it was seen to hold GPUs."""
        return self.begin + self.minutes[-1] * MINUTE

    def total(self, record: str, stretch: tuple[int, int] | None = None) -> float:
        """Return the sum of a record, over all minutes or those from one to another."""
        first, last = stretch or (0, self.minutes[-1])
        return sum(value for minute, value in self.records[record].items() if first <= minute <= last)

    def part(self, stretches: Iterable[tuple[int, int]]) -> Run:
        """Return what the records say of some stretches of minutes."""
        within = {minute for first, last in stretches for minute in range(first, last + 1)}
        first = min(within & self.records[HELD].keys())
        records = {
            name: {minute - first: value for minute, value in values.items() if minute in within}
            for name, values in self.records.items()
        }
        begin = self.begin + first * MINUTE
        return Run(self.cluster, self.user, begin, self.labels, defaultdict(dict, records), self.partitions)


def owners(found: Sequence[Series]) -> dict[str, list[Run]]:
    """Return by cluster what is known of the id, one for each user that had it."""
    first = min((one.samples[0][0] for one in found if one.samples), default=0)
    runs: dict[tuple[str, str], Run] = {}
    for one in sorted(filter(lambda one: one.samples, found), key=lambda one: one.samples[-1][0]):
        cluster, user = one.labels.get("cluster", ""), one.labels.get("user", "")
        run = runs.setdefault((cluster, user), Run(cluster, user, first))
        _add(run, one)
    by_cluster = defaultdict(list)
    for run in runs.values():
        if run.records[HELD]:
            by_cluster[run.cluster].append(run)
    return by_cluster


def _add(run: Run, one: Series) -> None:
    run.labels = one.labels
    partition = one.labels.get("partition", "")
    if partition and partition not in run.partitions:
        run.partitions.append(partition)
    values = run.records[one.labels.get("__name__", "").partition(":")[2]]
    for at, value in one.samples:
        # Two servers that record the same, with other labels of their own, count once.
        minute = round((at - run.begin) / MINUTE)
        values[minute] = max(value, values.get(minute, value))


def stretches(minutes: Sequence[int], pause: float) -> list[tuple[int, int]]:
    """Return the first and last minute of each stretch that has no longer pause than that, in seconds."""
    found: list[tuple[int, int]] = []
    for minute in minutes:
        if found and (minute - found[-1][1]) * MINUTE <= pause:
            found[-1] = (found[-1][0], minute)
        else:
            found.append((minute, minute))
    return found


def split(run: Run) -> list[Run]:
    """Return the runs of an id that one user had, the oldest first: ids come round."""
    return [run.part([stretch]) for stretch in stretches(run.minutes, OTHER_RUN)]


def tries(run: Run, waited: Callable[[float, float], bool]) -> list[tuple[int, int]]:
    """
    Return the tries of a run, as minutes: a requeued job holds nothing while it waits.

    :param waited: says of a pause whether the job held nothing in it, and not only nobody told.
    """
    parts, found = stretches(run.minutes, MINUTE), list[tuple[int, int]]()
    longest = sorted(range(1, len(parts)), key=lambda place: parts[place - 1][1] - parts[place][0])[:_ASKED]
    for place, (first, last) in enumerate(parts):
        begin = parts[place - 1][1]
        if place in longest and waited(run.begin + begin * MINUTE, run.begin + first * MINUTE):
            found.append((first, last))
        else:
            found[-1:] = [(found[-1][0] if found else first, last)]
    return found


def expected(run: Run, first: int, last: int) -> float:
    """
    Return the GPU minutes of a try that could have been measured: all but the first, which is of the job before.

    Where nobody told, the job held what it held before.
    """
    held, now, total = run.records[HELD], 0.0, 0.0
    for minute in range(first, last + 1):
        now = held.get(minute, now)
        total += now if minute > first else 0
    return total
