"""
Ask the nodes that were deployed how they are.

Events are lost: a master that is down hears no minion that starts, and a whole cluster that is switched on starts
its nodes before its watcher. What was missed is found here, and noted as if the event had come.
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

    ``roleless`` have other roles than those that are known here, or none; ``strayed`` have the right ones and do not
    run, or not run, what those want, or lack something; ``applied`` were applied to with a configuration that is not
    known here. Nodes that are down or owed something anyway are not among them.

    :param members: minion ids of the nodes by short name.
    """
    known = set(snapshot["deployed"]) & members.keys() - set(owed.nodes(snapshot, members))
    found: dict[str, list[str]] = {"roleless": [], "strayed": [], "applied": []}
    for name, answer in sorted(health.ask(watcher_settings, members, known, run).items()):
        said = answer.get("ret")
        if not isinstance(said, dict) or "roles" not in said:
            # It has no module of ours, or an odd one: a role call finds out which.
            found["strayed"].append(name)
        elif not _knows_roles(snapshot, name, said):
            found["roleless"].append(name)
        elif said.get("lacking") or not said.get("right", True) or said.get("deployed") is False:
            found["strayed"].append(name)
        if isinstance(said, dict) and said.get("applied") and said["applied"] != snapshot["applied"].get(name):
            found["applied"].append(name)
    return found


def _knows_roles(snapshot: Snapshot, name: str, answer: dict[str, Any]) -> bool:
    node = snapshot["nodes"].get(name)
    return (node["roles"] if node else None) in (None, answer["roles"])
