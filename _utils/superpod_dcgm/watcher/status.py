"""What the watcher knows, as data: of itself, and of each node what is wanted, what it last was, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from superpod_dcgm.base import names, roles
from superpod_dcgm.watcher import holds, owed
from superpod_dcgm.watcher.last_seen import NEVER
from superpod_dcgm.watcher.snapshot import Node, Repair, Seen, Snapshot

_HEAD = "HeadNode"
_BARE = "dcgm was never applied to it: `salt NODE state.apply` does that"


def status(
    watcher_settings: dict[str, Any],
    snapshot: Snapshot,
    members: Mapping[str, str],
    heads: Collection[str] = (),
    disputes: Mapping[str, str] | None = None,
    remarks: Sequence[str] = (),
) -> dict[str, Any]:
    """
    Return source, age and problems, and of each node roles, what it should do, what it last did and what it is owed.

    :param members: minion ids of the nodes by short name.
    :param heads: short names of the head nodes; those that BCM calls so are known anyway.
    :param disputes: what is wrong with the keys of nodes, by node.
    :param remarks: further sentences on who is no node.
    """
    waiting = set(owed.nodes(snapshot, members))
    disputes = disputes or {}
    known = members.keys() | snapshot["nodes"].keys() | disputes.keys()
    moment = time.time()
    held = holds.read(holds.path(watcher_settings), moment)
    found: dict[str, Any] = {
        "source": watcher_settings["roles"]["source"],
        "seq": snapshot["seq"],
        "updated": snapshot["updated"],
        "head": snapshot["head"],
        "failures": snapshot["failures"],
        "error": snapshot["error"],
        "error_since": snapshot["error_since"],
        "target_problems": snapshot["target_problems"],
        "age": _age(snapshot["updated"], moment),
        "release": watcher_settings["exporter"].get("release"),
        "list_problems": [
            *(f"{name}: {doubt}" for name, doubt in snapshot["doubts"].items() if name not in members),
            *snapshot["list_problems"],
            *remarks,
        ],
        "nodes": {
            name: {
                **_line(watcher_settings, snapshot, name, members.get(name), name in heads, name in waiting, moment),
                **_kept(snapshot, name, held),
            }
            for name in sorted(known)
        },
    }
    for name, dispute in disputes.items():
        line = found["nodes"][name]
        line["problem"] = "; ".join(filter(None, (dispute, line["problem"])))
    return found


def _line(
    watcher_settings: dict[str, Any],
    snapshot: Snapshot,
    name: str,
    minion: str | None,
    is_head: bool,
    pending: bool,
    moment: float,
) -> dict[str, Any]:
    node, seen = snapshot["nodes"].get(name), snapshot["seen"].get(name, NEVER)
    line: dict[str, Any] = {
        "roles": node["roles"] if node else None,
        "category": node["category"] if node else None,
        "type": node["type"] if node else None,
        "since": node["since"] if node else None,
        # A head that is no node is not asked to run anything.
        "head": minion is None and (is_head or (node is not None and node["type"] == _HEAD)),
        "minion": minion,
        "deployed": snapshot["deployed"].get(name),
        "service": seen["service"],
        "release": seen["release"],
        "seen": seen["at"],
        "silent": seen["silent"],
        "age": _age(seen["at"], moment),
        "pending": pending,
    }
    line["wanted"] = None if line["head"] else roles.decide(watcher_settings["roles"], line["roles"])
    said = snapshot["tries"].get(name, {}).get("problem")
    doubt = snapshot["doubts"].get(name)
    line["problem"] = said or (_problem(watcher_settings, node, seen, line, doubt) if minion else None)
    return line


def _kept(snapshot: Snapshot, name: str, held: Mapping[str, holds.Hold]) -> dict[str, Any]:
    """What stands above all else that is known of a node: that it is held, or how its repair goes."""
    repaired = snapshot["repaired"].get(name)
    found: dict[str, Any] = {
        "held": holds.text(held[name]) if name in held else None,
        "repaired": f"{repaired['at']}: {repaired['why']}" if repaired else None,
    }
    if name in held:
        found["problem"] = f"{found['held']}: `salt-run dcgm.unhold {name}` lets it go"
    elif repair := snapshot["repairs"].get(name):
        found["problem"] = _of_repair(repair)
    return found


def _of_repair(repair: Repair) -> str:
    if repair["jid"]:
        return f"is being repaired: {repair['why']}"
    return f"is not repaired: {repair['problem']}" if repair["problem"] else f"is to be repaired: {repair['why']}"


def unsettled(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Collection[str], moment: float
) -> list[str]:
    """
    Return the members that were deployed so lately that the apply may still be at work, and did not say since that all
    is right. A node says that it is deployed when the apply begins; those that do not answer are left to the audit, and
    those that get a role call next tell then how they are.

    :param moment: seconds since the epoch.
    """
    found: list[str] = []
    if not watcher_settings["exporter"]["enabled"]:
        return found
    for name in sorted((snapshot["deployed"].keys() & set(members)) - owed.called_next(snapshot, members)):
        deployed = names.seconds(snapshot["deployed"][name])
        node, seen = snapshot["nodes"].get(name), snapshot["seen"].get(name, NEVER)
        # A moment to come is of a clock that was set back since: nobody is asked until then.
        if not 0 <= moment - deployed <= watcher_settings["longest_apply"] or seen["silent"]:
            continue
        wanted = roles.decide(watcher_settings["roles"], node["roles"] if node else None)
        late = seen["at"] is None or names.seconds(seen["at"]) <= deployed
        if late or seen["release"] is None or differences(watcher_settings, wanted, seen):
            found.append(name)
    return found


def _age(timestamp: str | None, moment: float) -> int | None:
    return max(0, int(moment - names.seconds(timestamp))) if timestamp else None


def _problem(
    watcher_settings: dict[str, Any], node: Node | None, seen: Seen, line: dict[str, Any], doubt: str | None
) -> str | None:
    """Return what is wrong with a node as far as it is known without asking, or None."""
    source = watcher_settings["roles"]["source"]
    if seen["silent"]:
        return "did not answer when it was last asked"
    if line["wanted"] == "unknown":
        told = doubt or f"{source} {'did not tell them yet' if node else 'does not list it'}"
        return f"its roles are not known: {told}"
    found = differences(watcher_settings, line["wanted"], seen, bool(line["deployed"]))
    if line["pending"]:
        # Its roles alone change nothing on a node where nothing is.
        is_bare = not line["deployed"] and seen["release"] is None
        found.append(_BARE if is_bare else "waits for its role call, which the watcher makes by itself")
    if seen.get("odd") and seen["service"] == "running":
        found.append(str(seen["odd"]))
    if doubt:
        found.append(f"its roles are taken to be as before: {doubt}")
    return "; ".join(found) or None


def differences(
    watcher_settings: dict[str, Any], wanted: str | None, said: Mapping[str, Any], deployed: bool = True
) -> list[str]:
    """
    Return in what a node is not as it should be, in sentences.

    :param said: ``service`` and ``release`` as the node told them.
    :param deployed: whether the administrator ever applied ``dcgm`` to it; before that it need not run anything.
    """
    exporter, found = watcher_settings["exporter"], []
    if not exporter["enabled"]:
        return []
    is_there = deployed or said["release"] is not None
    if is_there and wanted in ("running", "stopped") and said["service"] not in (None, wanted):
        found.append(f"is {said['service']}, should be {wanted}")
    if (ours := exporter.get("release")) and said["release"] not in (None, ours):
        found.append(f"has release {said['release']}, the pillar has {ours}")
    return found
