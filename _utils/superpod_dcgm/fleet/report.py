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
    """Return the per-node report of an orchestration. Nodes that are down are listed and are not failures."""
    return {
        **more,
        "nodes": {name: str(outcome) for name, outcome in sorted(outcomes.items())},
        "failed": sorted(name for name, outcome in outcomes.items() if outcome.state in ("failed", "skipped")),
        "down": sorted(name for name, outcome in outcomes.items() if outcome.state == "down"),
    }


def judged(found: dict[str, Any], context: dict[str, Any]) -> dict[str, Any]:
    """
    Return a report with its exit code.

    :param context: the runner's ``__context__``. Salt takes the exit code of ``salt-run`` from the report's key, and
        the result of an orchestration's step from here.
    """
    if found["failed"] or found.get("problem"):
        context["retcode"] = found["retcode"] = 1
    return found
