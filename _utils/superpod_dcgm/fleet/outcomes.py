"""How it went on a node: from a minion's return to one line of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Outcome:
    """How it went on one node: ``down`` did not answer at all, ``skipped`` was not reached."""

    state: Literal["ok", "failed", "down", "skipped"]
    text: str

    def __str__(self) -> str:
        return f"{self.state}: {self.text}"


DOWN = Outcome("down", "the minion does not answer; it gets what it is owed when it starts")
SKIPPED = Outcome("skipped", "not reached: a node before it failed")


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


def judge_health(answer: dict[str, Any] | None, release: str | None = None) -> Outcome:
    """
    Return a node's line in a report, from the full return of ``bcm.health``.

    :param release: the pillar's; a node that has another one is not as it should be.
    """
    if not answer or "ret" not in answer:
        return DOWN
    found = answer["ret"]
    if answer.get("retcode") or not isinstance(found, dict):
        return Outcome("failed", _first_line(found))
    roles = "unknown" if found["roles"] is None else ", ".join(found["roles"]) or "none"
    older = bool(release) and found["release"] not in (None, release)
    has = f"release {found['release'] or 'none'}{f' (the pillar has {release})' if older else ''}"
    text = f"{has}, {found['service']}, should be {found['wanted']} (roles: {roles})"
    return Outcome("ok" if found["right"] and not older else "failed", text)
