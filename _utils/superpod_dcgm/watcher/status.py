"""What the watcher knows, in the form that an administrator reads: of itself, and of each node."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superpod_dcgm.base import roles
from superpod_dcgm.watcher import deliveries
from superpod_dcgm.watcher.snapshot import Node, Snapshot


def status(watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str]) -> dict[str, Any]:
    """
    Return source, age and problems, and of each node roles, what it should do and what it is owed.

    :param members: minion ids of the nodes by short name.
    """
    waiting = deliveries.owed(snapshot, members)
    names = sorted(members.keys() | snapshot["nodes"].keys())
    return {
        "source": watcher_settings["roles"]["source"],
        "seq": snapshot["seq"],
        "updated": snapshot["updated"],
        "head": snapshot["head"],
        "failures": snapshot["failures"],
        "error": snapshot["error"],
        "error_since": snapshot["error_since"],
        "target_problems": snapshot["target_problems"],
        "nodes": {
            name: {
                **_node(watcher_settings, snapshot["nodes"].get(name)),
                "minion": members.get(name),
                "deployed": snapshot["deployed"].get(name),
                "pending": name in waiting,
                "problem": snapshot["tries"].get(name, {}).get("problem"),
            }
            for name in names
        },
    }


def _node(watcher_settings: dict[str, Any], node: Node | None) -> dict[str, Any]:
    return {
        "roles": node["roles"] if node else None,
        "category": node["category"] if node else None,
        "since": node["since"] if node else None,
        "wanted": roles.decide(watcher_settings["roles"], node["roles"] if node else None),
    }
