"""How the exporter is after it was started, and whether it lost its profiling rows since."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.exporter import environment, gate, last_good, probe, rows
from superpod_dcgm.exporter.unit import Unit


@dataclass(frozen=True)
class Verdict:
    """What the page shows after a change, what is wrong with it, and whether the change did that (``is_bad``)."""

    shown: rows.Shown
    problem: str = ""
    is_bad: bool = False


def judged(unit: Unit, since: float, before: rows.Shown | None) -> Verdict:
    """
    Return how a unit is that was just started again; one that shows no GPU is started once more.

    :param since: moment of ``time.monotonic`` at which it was started.
    :param before: what the page showed just before; None where nothing could tell.
    :raises UnitError: systemd refused.
    """
    patience = gate.patience(before, probe.ANSWER_TIMEOUT)
    if patience > probe.ANSWER_TIMEOUT:
        unit = replace(unit, timeout=max(unit.timeout, round(patience)))
    if problem := unit.problem(since, patience):
        now = unit.shows()
        # What comes late comes: it is slow, and not dead.
        if now.fault or now.seconds <= patience:
            same = now.fault == (before.fault if before else "slow")
            return Verdict(now, f"{problem}, as before the change" if same and before else problem, not same)
    wanted, known = rows.wanted(), known_gpus()
    before = before if gate.same_choice() else None
    now = gate.settle(unit.shows, before, wanted, _until_whole(unit))
    if gate.is_empty(now, wanted, known) and not (before and not before.gpus):
        # It lists the GPUs once, when it starts: the host engine may not have found them yet.
        unit.systemctl("restart", unit.name)
        if problem := unit.problem(None, patience):
            return Verdict(now, problem, True)
        now = gate.settle(unit.shows, before, wanted, _until_whole(unit))
    if gone := gate.gone(before, now, wanted):
        return Verdict(now, gone, True)
    if gate.is_empty(now, wanted, known) and before is None:
        return Verdict(now, f"/metrics has no row of any GPU, and this node has {len(known)}")
    return Verdict(now)


def shortages(
    unit: Unit, now: rows.Shown, before: rows.Shown | None = None, wanted: rows.Wanted | None = None
) -> list[str]:
    """
    Return what is odd with the page in sentences, none of which is a reason to take a release back.

    :param before: how it was just before a change.
    :param wanted: what is to be looked for; by default what the counters file asks for.
    """
    found = gate.shortages(now, wanted or rows.wanted(), known_gpus(), before)
    sentence = unit.judge(now.highest)
    return [*found, sentence] if sentence else found


def _until_whole(unit: Unit) -> float:
    """Seconds in which all rows are there after a start."""
    return max(unit.timeout, second_sample())


def second_sample() -> float:
    """Seconds after a start in which the second sample is there, with which profiling rows come."""
    return 2 * environment.interval(environment.read()) + 5


def known_gpus() -> list[str]:
    """Return the GPUs of this node that the exporter is to show; none where that is not known."""
    variables = environment.read()
    elsewhere = not environment.is_local(variables.get(environment.ENGINE, ""))
    return [] if elsewhere or variables.get("DCGM_EXPORTER_DEVICES_STR", "f") != "f" else rows.table_gpus()


def profiling(good: dict[str, Any], now: rows.Shown) -> str | None:
    """
    Return how it is with the profiling rows since the last start: ``shown``, ``gone`` (they were there), or ``never``.

    :param good: the record of the last good state.
    """
    known: str | None = good.get("profiling")
    if now.fault or not rows.wanted().profiling:
        return known
    return "shown" if now.profiled else "gone" if known in ("shown", "gone") else "never"


def lost_profiling(unit: Unit, now: rows.Shown | None = None) -> str:
    """
    Return that the exporter lost its profiling rows since it started, and why, or ``""``; a restart brings them back.

    From 4.8.0 on every reload loses them: a SIGHUP, and the counters file written again. Where they never
    were, or did not come back with the last start and nobody changed that file since, nothing is lost. All rows are
    lost where it started again while the host engine had no GPUs: it lists them once.

    :param now: what the page shows, where somebody looked already.
    """
    known = last_good.read().get("profiling")
    if known not in ("shown", "gone") or not rows.wanted().profiling:
        return ""
    now = now or unit.shows()
    if now.fault or now.profiled or (not now.gpus and not known_gpus()):
        return ""
    # systemd's clock and this one are the same.
    started = int(unit.show(unit.name).get("ActiveEnterTimestampMonotonic") or 0) / 1e6
    age = time.monotonic() - started
    touched = rows.counters_changed() > time.time() - age
    if not started or age < second_sample() or (known == "gone" and not touched):
        return ""
    why = f": {paths.EXPORTER_COUNTERS} was changed since it started" if touched else ""
    if not now.gpus:
        return f"{unit.name} has no row of any GPU: it started when the host engine had none"
    return f"{unit.name} has lost its DCGM_FI_PROF_ rows since it started{why}"
