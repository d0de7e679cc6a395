"""Hints to whoever ran a job, each with the rule behind it. Nobody is accused by data that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from superpod.reports.devices import Device
from superpod.reports.job import ENOUGH, IDLE, MEASURED, Job
from superpod.reports.text import few, percent
from superpod.reports.times import MINUTE, between, lasting, show

# Seconds of measured time from which on use is judged, and those without use that are told.
JUDGED, LONG = 10 * MINUTE, 30 * MINUTE
_LOW, _BUSY = 0.3, 0.5
_TENSOR_LOW, _TENSOR_NONE, _DRAM_HIGH = 0.1, 0.01, 0.6
_MEMORY_LOW, _MEMORY_FULL = 0.25, 0.97
_UNEVEN = 0.5


@dataclass(frozen=True)
class Hint:
    """What stands out, and by which rule."""

    text: str
    rule: str


def collect(job: Job) -> list[Hint]:
    """Return the hints for a job; what is said of use needs data of enough of its time."""
    found = [*_xids(job), *_dead(job), *_full(job)]
    if job.known and job.run.total(MEASURED) * 3600 >= JUDGED * job.gpus:
        for judge in _JUDGES:
            found += judge(job)
    return found


def enough(device: Device) -> bool:
    """Return whether enough is known of a device to say that it was not used."""
    return device.coverage is not None and device.coverage >= ENOUGH


def never_used(job: Job) -> list[Device]:
    """Return the devices that did nothing in all of the job's time, of which enough is known."""
    return [one for one in job.devices if one.never_used and enough(one)]


def _unused(job: Job) -> Iterator[Hint]:
    idle, every = never_used(job), len(job.devices)
    if idle:
        verb = "was" if len(idle) == 1 else "were"
        words = f"{len(idle)} of {every} GPUs {verb} never used" if every > 1 else "The GPU was never used"
        rule = "utilization below rules:idle_utilization (gpu_job:gpus_idle:split) in every minute that was measured"
        yield Hint(f"{words}: {few([one.name for one in idle])}.", rule)


def _stood(job: Job) -> Iterator[Hint]:
    longest = job.longest_idle
    rule = f"a GPU idle (gpu_job:gpus_idle:split) for {lasting(LONG)} without a break"
    if longest is None or longest.idle_from is None or longest.idle_until is None or longest in never_used(job):
        return
    if longest.idle_until - longest.idle_from >= LONG:
        length = lasting(longest.idle_until - longest.idle_from)
        yield Hint(f"{longest.name} did nothing for {length}, {between(longest.idle_from, longest.idle_until)}.", rule)


def _low(job: Job) -> Iterator[Hint]:
    mean, idle = job.utilization or 0, job.run.total(IDLE) / job.run.total(MEASURED)
    if mean < _LOW and idle < 1 - 1e-9:
        words = f"GPUs worked {percent(mean)} of the time: look whether they wait for data, CPUs or each other."
        yield Hint(words, f"mean utilization below {percent(_LOW)}")


def _uneven(job: Job) -> Iterator[Hint]:
    idle = never_used(job)
    means = [(one.utilization, one) for one in job.devices if one.utilization is not None and one not in idle]
    most = max((mean for mean, _ in means), default=0)
    less = [one for mean, one in means if mean < most * _UNEVEN]
    if most >= _BUSY and less:
        names = few([one.name for one in less])
        words = f"Work is uneven: {names} did less than half of what the busiest GPU did ({percent(most)})."
        yield Hint(
            words, f"mean utilization of a GPU below {percent(_UNEVEN)} of the highest, from {percent(_BUSY)} on"
        )


def _pipes(job: Job) -> Iterator[Hint]:
    alive = [one for one in job.devices if one.dead_since is None and (one.utilization or 0) >= _BUSY]
    both = [(one.tensor, one.dram) for one in alive if one.tensor is not None and one.dram is not None]
    if not both:
        return
    tensor, dram = (sum(values) / len(both) for values in zip(*both, strict=True))
    if tensor < _TENSOR_LOW and dram >= _DRAM_HIGH:
        words = f"Tensor cores were {percent(tensor)} busy and memory {percent(dram)}: memory-bound."
        yield Hint(
            words,
            f"PROF_PIPE_TENSOR_ACTIVE below {percent(_TENSOR_LOW)} and PROF_DRAM_ACTIVE from {percent(_DRAM_HIGH)} on",
        )
    elif tensor < _TENSOR_NONE:
        words = "Tensor cores were hardly used. Training and inference use them with TF32, BF16, FP16 or FP8."
        yield Hint(
            words, f"PROF_PIPE_TENSOR_ACTIVE below {percent(_TENSOR_NONE)} on GPUs in use for {percent(_BUSY)} or more"
        )


def _small(job: Job) -> Iterator[Hint]:
    used, low = _memory(job), (job.utilization or 0) < _BUSY
    if used is not None and used < _MEMORY_LOW and low and not never_used(job):
        words = f"No GPU used more than {percent(used)} of its memory: a MIG instance or fewer GPUs may do."
        yield Hint(words, f"peak of memory below {percent(_MEMORY_LOW)} and mean utilization below {percent(_BUSY)}")


def _full(job: Job) -> Iterator[Hint]:
    used = _memory(job)
    if used is not None and used >= _MEMORY_FULL:
        words = f"Memory was full to {percent(used)}: a little more, and the job ends for want of it."
        yield Hint(words, f"peak of a GPU's memory at {percent(_MEMORY_FULL)} or more")


def _memory(job: Job) -> float | None:
    parts = [one.memory / one.capacity for one in job.devices if one.memory is not None and one.capacity]
    return max(parts, default=None)


def _xids(job: Job) -> Iterator[Hint]:
    for one in job.xids:
        if not one.harmless:
            gpu = f"GPU {one.gpu}" if one.gpu else "a GPU that is not known"
            times = f" ({one.count} times)" if one.count and one.count > 1 else ""
            yield Hint(f"XID {one.xid} on {one.host}, {gpu}{times}: {one.what}.", "any XID that is not harmless")


def _dead(job: Job) -> Iterator[Hint]:
    for one in job.devices:
        if one.dead_since is not None:
            since = f"since {show(one.dead_since)}" if one.dead_since else "for 14 days or more"
            words = f"Profiling of {one.name} is dead {since}: its use is taken from GPU_UTIL."
            yield Hint(words, "PROF_GR_ENGINE_ACTIVE at 0 while GPU_UTIL is above 10 % (SuperpodGpuProfilingDead)")


_JUDGES: tuple[Callable[[Job], Iterator[Hint]], ...] = (_unused, _stood, _low, _uneven, _pipes, _small)
