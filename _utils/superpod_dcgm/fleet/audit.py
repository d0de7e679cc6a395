"""
Ask the nodes how they are.

Events are lost: a master that is down hears no minion that starts, and a whole cluster that is switched on starts
its nodes before its watcher. Some never were: a minion can speak for another. And a new head, or one whose snapshot was
lost, knows of no deployment. What was missed is found here, and noted as if the event had come.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superpod_dcgm.fleet import health
from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.watcher import owed
from superpod_dcgm.watcher.snapshot import Snapshot


def missed(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str], run: Run
) -> dict[str, list[str]]:
    """
    Return the nodes of which an event was missed, by what a poll does with them.

    ``deployed`` are so by their own word, and not known to be. ``roleless`` have other roles than those that are known
    here, or none; ``strayed`` have the right ones and do not run, or not run, what those want, lack something, or lost
    their profiling rows;
    ``applied`` were applied to with a configuration that is not known here. Nodes that are down or owed something
    anyway are not among them.

    :param members: minion ids of the nodes by short name.
    """
    asked = members.keys() - set(owed.nodes(snapshot, members))
    found: dict[str, list[str]] = {"deployed": [], "roleless": [], "strayed": [], "applied": []}
    for name, answer in sorted(health.ask(watcher_settings, members, asked, run).items()):
        said = answer.get("ret")
        if name not in snapshot["deployed"]:
            if not _says_deployed(said):
                continue
            found["deployed"].append(name)
        if not isinstance(said, dict) or "roles" not in said:
            # It has no module of ours, or an odd one: a role call finds out which.
            found["strayed"].append(name)
        elif not _knows_roles(snapshot, name, said):
            found["roleless"].append(name)
        elif said.get("lacking") or _is_off(said) or said.get("deployed") is False:
            found["strayed"].append(name)
        if isinstance(said, dict) and said.get("applied") and said["applied"] != snapshot["applied"].get(name):
            found["applied"].append(name)
    return found


def _is_off(answer: dict[str, Any]) -> bool:
    """
    Whether the exporter is not as the roles want it, or lost its profiling rows, which a role call brings back.

    Where no release is, none was deployed, or it is lacking.
    """
    return (not answer.get("right", True) or answer.get("profiling_lost") is True) and bool(answer.get("release"))


def _says_deployed(said: Any) -> bool:
    """Whether a node is deployed by its word; while states run there, the next audit asks: it may be being cleaned."""
    return isinstance(said, dict) and said.get("deployed") is True and said.get("at_work") == ""


def _knows_roles(snapshot: Snapshot, name: str, answer: dict[str, Any]) -> bool:
    node = snapshot["nodes"].get(name)
    return (node["roles"] if node else None) in (None, answer["roles"])
