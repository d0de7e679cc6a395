"""
What the watcher believes: a state machine without clock, network or files.

A snapshot and an answer (or the reason why there is none) give a new snapshot. Unknown means leave alone: a
failure changes no node, a doubtful list counts as a failure, a node missing from a good list stays for a while, and
so do the roles of a node that a good list gives in a form which cannot be read.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field

from superpod_dcgm.watcher.device_list import Device, Devices, Odd
from superpod_dcgm.watcher.snapshot import UNHEARD, Node, Snapshot


@dataclass(frozen=True)
class Rules:
    """When a list is believed: the keys of the same names in the section ``watcher``."""

    minimum_share: float = 0.5
    confirm: int = 3


@dataclass
class Step:
    """The result of one poll: ``lines`` are worth a log entry, ``believed`` tells whether the list counted."""

    snapshot: Snapshot
    believed: bool
    changed: list[str] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def failed(snapshot: Snapshot, reason: str, now: str) -> Step:
    """Return the step of a poll without a usable answer: counted and explained, nothing else."""
    new = copy.deepcopy(snapshot)
    lines = [] if new["error"] == reason else [f"roles are unknown, nothing is changed: {reason}"]
    since = new["error_since"] or now
    new.update({"failures": new["failures"] + 1, "error": reason, "error_since": since})
    return Step(new, believed=False, lines=lines)


def answered(
    snapshot: Snapshot,
    head: str,
    devices: Devices,
    now: str,
    rules: Rules,
    accept: bool = False,
    odd: Odd | None = None,
) -> Step:
    """
    Return the step of a poll that gave a list of devices.

    :param devices: ``{name: {"roles": [...] | None, "category": ..., "type": ...}}``
    :param accept: the administrator says that this list is right, however odd it looks.
    :param odd: what of the list cannot be used.
    """
    odd = odd or Odd()
    if not devices:
        return failed(snapshot, "the list of devices is empty", now)
    if not accept and (doubt := _doubt(snapshot["nodes"], devices, odd.doubts, rules)):
        return failed(snapshot, f"{doubt}; if that is so, say `salt-run bcm.accept`", now)
    step = Step(copy.deepcopy(snapshot), believed=True)
    new = step.snapshot
    if new["error"]:
        step.lines.append(f"{head} answers again after {new['failures']} failed polls")
    new.update({"updated": now, "head": head, "failures": 0, "error": None, "error_since": None})
    _note_odd(step, odd)
    _take_over(step, devices, odd.doubts, now, rules)
    # A device with an unusable name may be the very node that the list lacks.
    if odd.complete:
        _miss(step, devices, rules.confirm if accept else 1, rules)
    return step


def _note_odd(step: Step, odd: Odd) -> None:
    """Remember what cannot be read, and log what is new of it."""
    new = step.snapshot
    for name, doubt in odd.doubts.items():
        if new["doubts"].get(name) != doubt:
            step.lines.append(f"{name}: {doubt}; nothing is changed there")
    step.lines += [problem for problem in odd.problems if problem not in new["list_problems"]]
    new.update({"doubts": dict(odd.doubts), "list_problems": list(odd.problems)})


def _doubt(nodes: dict[str, Node], devices: Devices, doubts: Collection[str], rules: Rules) -> str | None:
    """Return why a list is not believed until the administrator says so. The heads, which answered, do not count."""
    known = [name for name, node in nodes.items() if node["type"] != "HeadNode"]
    present = sum(name in devices for name in known)
    if present < len(known) and present <= rules.minimum_share * len(known):
        return f"the list has only {present} of {len(known)} known nodes"
    # One whose roles cannot be read loses none.
    had_roles = [name for name in known if nodes[name]["roles"] and name not in doubts]
    if had_roles and not any(device["roles"] for device in devices.values() if device["type"] != "HeadNode"):
        return "no node has any role"
    have_roles = sum(name in devices and bool(devices[name]["roles"]) for name in had_roles)
    if have_roles < len(had_roles) and have_roles <= rules.minimum_share * len(had_roles):
        return f"only {have_roles} of {len(had_roles)} nodes that had roles have any"
    return None


def _take_over(step: Step, devices: Devices, doubts: Collection[str], now: str, rules: Rules) -> None:
    """Put the answer's roles and categories into the nodes; a changed node gets the number of this change set."""
    seq = step.snapshot["seq"] + 1
    nodes = step.snapshot["nodes"]
    for name, device in sorted(devices.items()):
        node = nodes.setdefault(name, UNHEARD.copy())
        node["missing"] = 0
        roles = node["roles"] if name in doubts else _believed_roles(node, device, rules)
        category = device["category"] or node["category"]
        node["type"], node["ip"] = device["type"] or node["type"], device.get("ip") or node.get("ip")
        if roles is None or (roles == node["roles"] and category == node["category"]):
            continue
        step.changed.append(name)
        step.lines.append(f"{name}: {_difference(node['roles'], roles)}, category {category or 'none'}")
        node.update({"roles": roles, "category": category, "since": now, "seq": seq})
    if step.changed:
        step.snapshot["seq"] = seq


def _believed_roles(node: Node, device: Device, rules: Rules) -> list[str] | None:
    """Return a device's roles. An answer that does not speak of them means none only after several such answers."""
    if device["roles"] is not None:
        node["silent"] = 0
        return device["roles"]
    node["silent"] += 1
    return [] if node["silent"] >= rules.confirm else node["roles"]


def _difference(old: list[str] | None, new: list[str]) -> str:
    if old is None:
        return f"first seen with roles {', '.join(new) or 'none'}"
    parts = [f"+{role}" for role in new if role not in old] + [f"-{role}" for role in old if role not in new]
    return " ".join(parts) or "same roles"


def _miss(step: Step, devices: Devices, times: int, rules: Rules) -> None:
    """Forget the nodes that several lists do not have: their targets go, their services are not touched."""
    nodes = step.snapshot["nodes"]
    for name in sorted(nodes.keys() - devices.keys()):
        nodes[name]["missing"] += times
        if nodes[name]["missing"] < rules.confirm:
            continue
        del nodes[name]
        step.snapshot["tries"].pop(name, None)
        step.forgotten.append(name)
        step.lines.append(f"{name}: forgotten, {rules.confirm} lists do not have it; its service is left as it is")
