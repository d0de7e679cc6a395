"""The per-node report with which an orchestration ends."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superpod_dcgm.fleet.outcomes import Outcome


def report_on_all(outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """Return the report on all nodes that a match found; it has a ``problem`` if those are none, or none answered."""
    if not outcomes:
        return report(outcomes, problem="no accepted minion is matched: look at hosts in the pillar, and `salt-key -L`")
    if all(outcome.state == "down" for outcome in outcomes.values()):
        return report(outcomes, problem=f"none of {len(outcomes)} matched minions answers")
    return report(outcomes)


def on_health(found: dict[str, Any], outcomes: Mapping[str, Outcome]) -> dict[str, Any]:
    """
    Return the whole status of the nodes that were asked just now, with what is wrong with each by its own word.

    :param found: the status (``watcher.status``), in which all of ``outcomes`` are nodes.
    """
    nodes = dict(found["nodes"])
    for name, outcome in outcomes.items():
        if outcome.state != "ok":
            nodes[name] = {**nodes[name], "problem": nodes[name]["problem"] or outcome.text}
    return {**found, **report_on_all(outcomes), "asked": len(outcomes), "nodes": nodes}


def report(outcomes: Mapping[str, Outcome], **more: Any) -> dict[str, Any]:
    """
    Return the per-node report of an orchestration.

    Nodes that are down, held or need the roll-out are listed and are not failures; what is ``owed`` the watcher does
    by itself as soon as it can.
    """

    def those(*states: str) -> list[str]:
        return sorted(name for name, outcome in outcomes.items() if outcome.state in states)

    found = {"held": those("held"), "old": those("old"), "owed": those("busy", "lacking")}
    return {
        **more,
        "nodes": {name: str(outcome) for name, outcome in sorted(outcomes.items())},
        "failed": those("failed", "skipped"),
        "down": those("down"),
        **{key: names for key, names in found.items() if names},
    }


def judged(found: dict[str, Any], context: dict[str, Any], owed_is_well: bool = False) -> dict[str, Any]:
    """
    Return a report with its exit code.

    :param owed_is_well: what is owed comes by itself; whoever asked for it by hand was promised that it is done.

    :param context: the runner's ``__context__``. Salt takes the exit code of ``salt-run`` from the report's key, and
        the result of an orchestration's step from here.
    """
    if found["failed"] or found.get("problem") or (found.get("owed") and not owed_is_well):
        context["retcode"] = found["retcode"] = 1
    return found
