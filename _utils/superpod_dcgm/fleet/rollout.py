"""Apply states to nodes, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.fleet.outcomes import SKIPPED, Outcome, judge_states

# Runs that may wait on a node. A number: with `queue: True` Salt 3008 returns at once, and without a result.
_QUEUE = 10


def batches(ids: Sequence[str], size: str) -> Iterator[Sequence[str]]:
    """Cut a list into pieces of ``size``: a number, or a percentage of the whole."""
    count = len(ids) * int(size[:-1]) // 100 if size.endswith("%") else int(size)
    step = max(1, count)
    return (ids[start : start + step] for start in range(0, len(ids), step))


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
        if failhard and any(outcome.state == "failed" for outcome in outcomes.values()):
            outcomes.update(dict.fromkeys(batch, SKIPPED))
            continue
        returns = run(batch, "state.apply", [sls], {"queue": _QUEUE, **options})
        outcomes.update({name: judge_states(returns.get(name)) for name in batch})
    return outcomes
