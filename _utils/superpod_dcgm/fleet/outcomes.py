"""How it went on a node: from a minion's return to one line of a report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from superpod_dcgm.base import complaint

State = Literal["ok", "failed", "down", "skipped", "busy", "lacking", "old", "held"]


@dataclass(frozen=True)
class Outcome:
    """
    How it went on one node.

    ``down``: it did not answer at all. ``skipped``: it was not reached. ``busy``: something else works on it, and it is
    tried again. ``lacking``: it needs an apply. ``old``: it needs the roll-out. ``held``: the administrator holds it.
    """

    state: State
    text: str

    def __str__(self) -> str:
        return f"{self.state}: {self.text}"


DOWN = Outcome("down", "the minion does not answer; it gets what it is owed when it starts")
SKIPPED = Outcome("skipped", "not reached: a node before it failed")
HELD = Outcome("held", "left alone, since it is held: `salt-run dcgm.unhold NODE` lets it go")
# What Salt says of a state run while another one runs (salt/modules/state.py), and of a function that is not there.
_RUNNING = "is running as PID"
_HEALTH = {"release", "roles", "service", "wanted", "right"}
_NOT_THERE = ("is not available", "Passed invalid arguments")


def judge_states(answer: dict[str, Any] | None) -> Outcome:
    """Return how a ``state.apply`` went, from a minion's full return."""
    if not answer or "ret" not in answer:
        return Outcome(
            "failed", "no answer to the state apply in time; `salt-run jobs.active` tells whether it still runs"
        )
    states = answer["ret"]
    if not _are_states(states):
        said = _reason(states)
        return Outcome("busy" if _RUNNING in said else "failed", said)
    for state in sorted(states.values(), key=_run_number):
        if state.get("result") is False:
            return Outcome("failed", f"{state.get('__id__', state.get('name'))}: {_reason(state.get('comment'))}")
    changed = sum(bool(state.get("changes")) for state in states.values())
    return Outcome("ok", f"{len(states)} states, {changed} changed")


def _run_number(state: dict[str, Any]) -> int:
    """Return at which place a state ran; what a minion says is not always what a state returns."""
    number = state.get("__run_num__")
    return number if isinstance(number, int) else 0


def _are_states(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(one, dict) for one in value.values())


def judge_role_call(answer: dict[str, Any] | None, deployed: bool) -> Outcome:
    """
    Return how a role call went, from a minion's full return.

    :param deployed: whether the administrator deployed to the node.
    """
    if answer is None:
        return DOWN
    said = answer.get("ret")
    if not isinstance(said, dict) or "state" not in said:
        return _no_role_call(_reason(said), deployed)
    text = _reason(said.get("text"))
    if said["state"] == "version":
        return Outcome("old", f"needs the roll-out: {text}")
    if deployed and said.get("deployed") is False and said["state"] != "busy":
        return Outcome("lacking", "it has nothing that the last apply put there: it was re-provisioned")
    states: dict[Any, State] = {"ok": "ok", "idle": "ok", "busy": "busy", "starting": "busy", "lacking": "lacking"}
    return Outcome(states.get(str(said["state"]), "failed"), text)


def _no_role_call(said: str, deployed: bool) -> Outcome:
    if not any(words in said for words in _NOT_THERE):
        return Outcome("failed", said)
    if not deployed:
        return Outcome("ok", "nothing is deployed here")
    return Outcome("old", f"needs the roll-out: it does not know role calls ({said})")


def is_bare(answer: dict[str, Any] | None) -> bool:
    """Return whether a node has nothing of ours, from a full return of ``bcm.health`` as any version has it."""
    said = (answer or {}).get("ret")
    if isinstance(said, dict):
        return said.get("release") is None and not said.get("deployed")
    return any(words in _reason(said) for words in _NOT_THERE)


def _reason(value: Any) -> str:
    """Return in one line what a return says: its first line, but where that only announces what follows."""
    text = "\n".join(map(str, value)) if isinstance(value, list) else str(value)
    lines = complaint.clean(text)
    if value is None or not lines:
        return "no reason given"
    if "Traceback (most recent call last)" in lines[0]:
        return complaint.reason(text, last=True)
    return (complaint.reason(text) if lines[0].endswith(":") else lines[0])[: complaint.LONGEST]


def judge_health(answer: dict[str, Any] | None, release: str | None = None) -> Outcome:
    """
    Return a node's line in a report, from the full return of ``bcm.health``.

    :param release: the pillar's; a node that has another one is not as it should be.
    """
    if not answer or "ret" not in answer:
        return DOWN
    found = answer["ret"]
    if answer.get("retcode") or not isinstance(found, dict) or not found.keys() >= _HEALTH:
        return Outcome("failed", _reason(found))
    if lacking := _words(found.get("lacking")):
        return Outcome("failed", f"{lacking} is missing")
    roles = "unknown" if found["roles"] is None else _words(found["roles"]) or "none"
    older = bool(release) and found["release"] not in (None, release)
    has = f"release {found['release'] or 'none'}{f' (the pillar has {release})' if older else ''}"
    text = f"{has}, {found['service']}, should be {found['wanted']} (roles: {roles})"
    # A dead GPU is no fault of a deployment; lost profiling rows come back by themselves, and are missing till then.
    odd = found.get("shortages") if found["service"] == "running" else None
    text = f"{text}; {'; '.join(map(str, odd))}" if isinstance(odd, list) and odd else text
    well = found["right"] and not older and not found.get("profiling_lost")
    return Outcome("ok" if well else "failed", text)


def _words(value: Any) -> str:
    """Return what should be a list of words as a text, whatever it is."""
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "")
