"""
Ask the nodes that were deployed how they are.

Events are lost: a master that is down hears no minion that starts, and a whole cluster that is switched on starts
its nodes before its watcher. What was missed is found here, and noted as if the event had come.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping
from typing import Any

from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.watcher import deliveries
from superpod_dcgm.watcher.snapshot import Snapshot

# Seconds since the node's init began: unlike /proc/uptime it is right in a container as well.
_SINCE_BOOT = ["ps -o etimes= -p 1"]


def missed(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str], run: Run
) -> dict[str, list[str]]:
    """
    Return the nodes of which an event was missed: ``started`` (to get the whole apply) and ``roleless``.

    Nodes that are down or owed something anyway are not among them.

    :param members: minion ids of the nodes by short name.
    """
    known = set(snapshot["deployed"]) & members.keys() - set(deliveries.owed(snapshot, members))
    if not watcher_settings["exporter"]["enabled"] or not known:
        return {"started": [], "roleless": []}
    returns = run(sorted(members[name] for name in known), "bcm.health", [watcher_settings["roles"]], {})
    found = {name: returns[members[name]].get("ret") for name in sorted(known) if members[name] in returns}
    whole = {name: health for name, health in found.items() if isinstance(health, dict) and health["release"]}
    empty = [name for name in found if name not in whole]
    roleless = [name for name, health in whole.items() if not _fits(snapshot, name, health)]
    return {"started": _booted(snapshot, empty, members, run), "roleless": roleless}


def _fits(snapshot: Snapshot, name: str, health: dict[str, Any]) -> bool:
    node = snapshot["nodes"].get(name)
    wanted = node["roles"] if node else None
    return bool(health["right"]) and wanted in (None, health["roles"])


def _booted(snapshot: Snapshot, names: list[str], members: Mapping[str, str], run: Run) -> list[str]:
    """Return the nodes that booted since they were deployed; one that has nothing and did not boot was cleaned."""
    if not names:
        return []
    returns = run([members[name] for name in names], "cmd.run", _SINCE_BOOT, {"python_shell": False})
    ages = {name: str(returns.get(members[name], {}).get("ret", "")).strip() for name in names}
    now = time.time()
    return [
        name for name, age in ages.items() if age.isdigit() and now - int(age) > _moment(snapshot["deployed"][name])
    ]


def _moment(timestamp: str) -> float:
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()
