"""Apply states to nodes, batch by batch."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.fleet.outcomes import SKIPPED, Outcome, judge_states

# A node where another state run is at work is asked again: two runs that queue on a minion may wait for each other.
_BUSY_PAUSE, _BUSY_SECONDS = 5.0, 120.0


def batches(ids: Sequence[str], size: str) -> Iterator[Sequence[str]]:
    """Cut a list into pieces of ``size``: a number, or a percentage of the whole."""
    step = batch_size(len(ids), size)
    return (ids[start : start + step] for start in range(0, len(ids), step))


def is_batch(size: str) -> bool:
    """Return whether this is a size of batches: a number above 0, or a percentage."""
    return re.fullmatch(r"[1-9][0-9]{0,5}%?", size, re.ASCII) is not None


def batch_size(count: int, size: str) -> int:
    """Return how many of ``count`` nodes a batch has: ``size`` is a number, or a percentage of all."""
    return max(1, count * int(size[:-1]) // 100 if size.endswith("%") else int(size))


def answering(run: Run, ids: Sequence[str]) -> list[str]:
    """Return the minions that answer a ping."""
    found = run(ids, "test.ping", (), {}) if ids else {}
    return [name for name in ids if found.get(name, {}).get("ret") is True]


def apply_states(
    run: Run, ids: Sequence[str], sls: str, size: str, failhard: bool, **options: Any
) -> dict[str, Outcome]:
    """
    Apply states in batches.

    :param failhard: leave the later batches alone when a node of one failed.
    :param options: further keyword arguments of ``state.apply``.
    """
    outcomes: dict[str, Outcome] = {}
    for batch in batches(ids, size):
        if failhard and any(outcome.state in ("failed", "busy") for outcome in outcomes.values()):
            outcomes.update(dict.fromkeys(batch, SKIPPED))
            continue
        outcomes.update(_applied(run, batch, sls, options))
    return outcomes


def _applied(run: Run, batch: Sequence[str], sls: str, options: dict[str, Any]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    todo, until = list(batch), time.monotonic() + _BUSY_SECONDS
    while todo:
        returns = run(todo, "state.apply", [sls], options)
        found.update({name: judge_states(returns.get(name)) for name in todo})
        todo = [name for name in todo if found[name].state == "busy"] if time.monotonic() < until else []
        if todo:
            time.sleep(_BUSY_PAUSE)
    return found
