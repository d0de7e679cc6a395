"""
Whether a change was good: judged by what this node showed just before it, and by nothing else.

A GPU that is dead, a profiler of a user or an engine that answers slowly is the node's trouble. It is told, and no
release is taken back for it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable

from superpod_dcgm.base import files, paths
from superpod_dcgm.exporter import environment, last_good
from superpod_dcgm.exporter.rows import SLOW, Shown, Wanted, from_record

_PAUSE = 1.0
# A look that is older was not taken just before.
_FRESH = 600
# GPUs by whose count nobody reads the UUIDs.
_NAMED = 3
# What chooses which GPUs the exporter shows.
_CHOOSING = ("DCGM_EXPORTER_DEVICES_STR", environment.ENGINE)


def note(shown: Shown) -> None:
    """
    Keep what the page shows before anything is changed: a new counters file alone makes the exporter read it.

    :raises OSError: /run cannot be written.
    """
    record = {**shown.record(), "at": time.clock_gettime(time.CLOCK_BOOTTIME)}
    files.make_directory(paths.NODE_RUNTIME)
    files.write_atomic(paths.SHOWN_RECORD, json.dumps(record) + "\n")


def noted() -> Shown | None:
    """Return what ``note`` kept in the last minutes, or None."""
    record = files.read_json(paths.SHOWN_RECORD)
    at = record.get("at") if isinstance(record, dict) else None
    if not isinstance(at, float) or not 0 <= time.clock_gettime(time.CLOCK_BOOTTIME) - at <= _FRESH:
        return None
    return from_record(record)


def same_choice() -> bool:
    """Return whether the exporter is to show the GPUs that it was to show when it was last good."""
    kept = last_good.copy_of(paths.EXPORTER_ENVIRONMENT)
    now, before = environment.read(), environment.read(kept)
    return not os.path.isfile(kept) or all(now.get(name) == before.get(name) for name in _CHOOSING)


def gone(before: Shown | None, now: Shown, wanted: Wanted) -> str:
    """Return what the page showed just before the change and does not show now, in words; ``""`` if nothing."""
    if before is None or before.fault or now.fault or not wanted.rows:
        return ""
    if lost := before.gpus - now.gpus:
        return f"/metrics has no row of {_words(lost)} any more, which had rows just before"
    if wanted.profiling and (lost := before.profiled - now.profiled):
        return f"/metrics has no DCGM_FI_PROF_ row of {_words(lost)} any more, which had them just before"
    return ""


def is_empty(now: Shown, wanted: Wanted, known: Collection[str]) -> bool:
    """
    Return whether there is no row of any GPU where there should be: the exporter lists them once, when it starts.

    :param known: the GPUs of this node (``rows.table_gpus``).
    """
    return wanted.rows and not now.fault and not now.gpus and bool(known)


def shortages(now: Shown, wanted: Wanted, known: Iterable[str], before: Shown | None = None) -> list[str]:
    """
    Return what is odd with the page in sentences, none of which is a reason to take a release back.

    :param known: the GPUs of this node.
    :param before: how it was just before a change.
    """
    found = []
    if now.seconds >= SLOW and now.fault in ("", "slow"):
        as_before = ", as before the change" if before and before.seconds >= SLOW else ""
        found.append(f"/metrics answers in {now.seconds:.0f} s{as_before}")
    known = list(known)
    if now.fault or not wanted.rows:
        return found
    if not now.gpus:
        return [*found, "/metrics has no row of any GPU"] if known else found
    if dead := {gpu for gpu in known if gpu.startswith("GPU-")} - now.gpus:
        found.append(f"/metrics has no row of {_words(dead)}, which the device table has")
    if wanted.profiling and not now.profiled:
        found.append(f"/metrics has no DCGM_FI_PROF_ row, and {paths.EXPORTER_COUNTERS} has them")
    elif wanted.profiling and (without := now.gpus - now.profiled):
        found.append(f"/metrics has no DCGM_FI_PROF_ row of {_words(without)}")
    return found


def settle(look: Callable[[], Shown], before: Shown | None, wanted: Wanted, seconds: float) -> Shown:
    """
    Return what the page shows once all of it is there that was before, or the time is over.

    Where nothing is known of before, profiling rows are waited for: they come with the second interval.

    :param look: looks at the page.
    """
    deadline = time.monotonic() + seconds
    while True:
        now = look()
        unknown = before is None or before.fault
        whole = bool(now.gpus) and (bool(now.profiled) or not wanted.profiling) if unknown else True
        if now.fault or not wanted.rows or (whole and not gone(before, now, wanted)) or time.monotonic() > deadline:
            return now
        time.sleep(_PAUSE)


def patience(before: Shown | None, usual: float) -> float:
    """Return for how many seconds one answer is waited for: one that was slow before may be so again."""
    return max(usual, 3 * before.seconds) if before else usual


def _words(gpus: Iterable[str]) -> str:
    found = sorted(gpus)
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return f"{', '.join(found[:_NAMED])}{more}"
