"""Run functions and states on nodes, batch by batch, and say in one line per node how it went."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Runs that may wait on a node. A number: with `queue: True` Salt 3008 returns at once, and without a result.
_QUEUE = 10
_PAUSE = 0.05

# (minion ids, function, arguments, keyword arguments) -> {minion id: full return}; silent minions are left out.
Run = Callable[[Sequence[str], str, Sequence[Any], dict[str, Any]], dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Outcome:
    """How it went on one node: ``down`` did not answer at all, ``skipped`` was not reached."""

    state: Literal["ok", "failed", "down", "skipped"]
    text: str

    def __str__(self) -> str:
        return f"{self.state}: {self.text}"


DOWN = Outcome("down", "the minion does not answer; it is served when it starts")
SKIPPED = Outcome("skipped", "not reached: a node before it failed")


def batches(ids: Sequence[str], size: str) -> Iterator[Sequence[str]]:
    """Cut a list into pieces of ``size``: a number, or a percentage of the whole."""
    count = len(ids) * int(size[:-1]) // 100 if size.endswith("%") else int(size)
    step = max(1, count)
    return (ids[start : start + step] for start in range(0, len(ids), step))


def collected(returns: Iterable[Any], until: float) -> dict[str, dict[str, Any]]:
    """
    Return the full returns of those who answered in time; one who is silent, or still at work, has none.

    :param returns: single returns as they come in, and None while none is there (``LocalClient.cmd_iter_no_block``).
    :param until: moment of ``time.monotonic`` after which nobody is waited for.
    """
    found: dict[str, dict[str, Any]] = {}
    for some in returns:
        if some is None:
            if time.monotonic() > until:
                break
            time.sleep(_PAUSE)
        elif isinstance(some, dict):
            found.update({name: one for name, one in some.items() if isinstance(one, dict) and "ret" in one})
    return found


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


def judge_states(answer: dict[str, Any] | None) -> Outcome:
    """Return how a ``state.apply`` went, from a minion's full return."""
    if not answer or "ret" not in answer:
        return Outcome(
            "failed", "no answer to the state apply in time; `salt-run jobs.active` tells whether it still runs"
        )
    states = answer["ret"]
    if not isinstance(states, dict) or not states:
        return Outcome("failed", _first_line(states))
    for state in sorted(states.values(), key=lambda one: one.get("__run_num__", 0)):
        if state.get("result") is False:
            return Outcome("failed", f"{state.get('__id__', state.get('name'))}: {_first_line(state.get('comment'))}")
    changed = sum(bool(state.get("changes")) for state in states.values())
    return Outcome("ok", f"{len(states)} states, {changed} changed")


def judge_call(answer: dict[str, Any] | None) -> Outcome:
    """Return how a function call went, from a minion's full return."""
    if not answer or "ret" not in answer:
        return Outcome("failed", "no answer")
    if answer.get("retcode"):
        return Outcome("failed", _first_line(answer["ret"]))
    return Outcome("ok", _first_line(answer["ret"]))


def _first_line(value: Any) -> str:
    lines = value if isinstance(value, list) else str(value).strip().splitlines()
    return str(lines[0])[:300] if lines else "no reason given"


def judge_health(answer: dict[str, Any] | None) -> Outcome:
    """Return a node's line in a report, from the full return of ``bcm.health``."""
    if not answer or "ret" not in answer:
        return DOWN
    found = answer["ret"]
    if answer.get("retcode") or not isinstance(found, dict):
        return Outcome("failed", _first_line(found))
    roles = "unknown" if found["roles"] is None else ", ".join(found["roles"]) or "none"
    text = f"release {found['release'] or 'none'}, {found['service']}, should be {found['wanted']} (roles: {roles})"
    return Outcome("ok" if found["right"] else "failed", text)
