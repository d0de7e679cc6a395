"""
Ask the nodes that were deployed how they are.

Events are lost: a master that is down hears no minion that starts, and a whole cluster that is switched on starts
its nodes before its watcher. What was missed is found here, and noted as if the event had come.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from superpod_dcgm.base import names
from superpod_dcgm.fleet import health
from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.watcher import owed
from superpod_dcgm.watcher.snapshot import Snapshot

# Seconds since the node's init began: unlike /proc/uptime it is right in a container as well.
_SINCE_BOOT = ["ps -o etimes= -p 1"]


def missed(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str], run: Run
) -> dict[str, list[str]]:
    """
    Return the nodes of which an event was missed, by what a poll does with them.

    ``started`` get the whole apply. ``roleless`` have other roles than those that are known here, or none; ``strayed``
    have the right ones and do not run, or not run, what those want. Nodes that are down or owed something anyway are
    not among them.

    :param members: minion ids of the nodes by short name.
    """
    known = set(snapshot["deployed"]) & members.keys() - set(owed.nodes(snapshot, members))
    if not watcher_settings["exporter"]["enabled"] or not known:
        return {"started": [], "roleless": [], "strayed": []}
    found = {name: answer.get("ret") for name, answer in health.ask(watcher_settings, members, known, run).items()}
    whole = {name: answer for name, answer in found.items() if isinstance(answer, dict) and answer["release"]}
    empty = [name for name in found if name not in whole]
    roleless = [name for name, answer in whole.items() if not _knows_roles(snapshot, name, answer)]
    strayed = [name for name, answer in whole.items() if name not in roleless and not answer["right"]]
    return {"started": _booted(snapshot, empty, members, run), "roleless": roleless, "strayed": strayed}


def _knows_roles(snapshot: Snapshot, name: str, answer: dict[str, Any]) -> bool:
    node = snapshot["nodes"].get(name)
    return (node["roles"] if node else None) in (None, answer["roles"])


def _booted(snapshot: Snapshot, nodes: list[str], members: Mapping[str, str], run: Run) -> list[str]:
    """Return the nodes that booted since they were deployed; one that has nothing and did not boot was cleaned."""
    if not nodes:
        return []
    returns = run([members[name] for name in nodes], "cmd.run", _SINCE_BOOT, {"python_shell": False})
    ages = {name: str(returns.get(members[name], {}).get("ret", "")).strip() for name in nodes}
    began = {name: time.time() - int(age) for name, age in ages.items() if age.isdigit()}
    return [name for name, moment in began.items() if moment > names.seconds(snapshot["deployed"][name])]
