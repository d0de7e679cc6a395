"""What a source of roles answers: the devices of the cluster, what of it cannot be used, or why nobody can tell."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypedDict

from superpod_dcgm.base.names import short
from superpod_dcgm.base.roles import wanted

# The names become file names and Salt targets.
_HOST_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}\Z")
ROLE = re.compile(r"[A-Za-z0-9_.:-]{1,128}\Z")
_TEXT = 128
# Characters of an odd value that a message shows.
_SHOWN = 60


class _Address(TypedDict, total=False):
    """Where a device is, if the source says it."""

    ip: str


class Device(_Address):
    """One device; ``roles`` is None where the answer does not speak of them, or where they are in doubt."""

    roles: list[str] | None
    category: str | None
    type: str | None


# By name: the first label in lower case, as BCM calls a node.
Devices = dict[str, Device]


class Unknown(Exception):
    """Nobody can tell the roles at the moment. The text is the reason, in words for the administrator."""


class Roles(NamedTuple):
    """The roles that can be read (None: the answer does not speak of any), and those that cannot, as text."""

    names: list[str] | None
    odd: list[str]


@dataclass
class Odd:
    """
    What of a list cannot be used.

    ``doubts``: devices whose roles are not known although the list counts, with the reason: nothing is changed there.
    ``problems``: sentences on what else is odd.
    ``complete``: whether a node that the list does not have is not in it; one with an unusable name may be that node.
    """

    doubts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    complete: bool = True


@dataclass(frozen=True)
class Heard:
    """A list of devices, which head or other source gave it, and what of it cannot be used."""

    head: str
    devices: Devices
    odd: Odd = field(default_factory=Odd)


def device(
    roles: list[str] | None, category: str | None = None, kind: str | None = None, ip: str | None = None
) -> Device:
    """Return a device."""
    found: Device = {"roles": roles, "category": category, "type": kind}
    return {**found, "ip": ip} if ip else found


def is_host_name(value: Any) -> bool:
    """Return whether this may be a node's name: letters, digits, dot, dash and underscore."""
    return isinstance(value, str) and _HOST_NAME.match(value) is not None


def shown(value: Any) -> str:
    """Return an odd value for a message: on one line, without control characters, and short."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def text(value: Any) -> str | None:
    """Return a text that can be a label, or None."""
    return value if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _TEXT else None


def read_roles(value: Any) -> Roles:
    """Return the roles of an answer in lower case, as BCM's interface writes them; one that is odd costs itself."""
    if value is None:
        return Roles(None, [])
    if not isinstance(value, list):
        return Roles([], [shown(value)])
    found = [role.strip() if isinstance(role, str) else role for role in value]
    good = {role.lower() for role in found if isinstance(role, str) and ROLE.match(role)}
    odd = [shown(role) for role in found if not (isinstance(role, str) and ROLE.match(role))]
    return Roles(sorted(good), odd)


class Listed(NamedTuple):
    """A device as its source lists it: its name in full, and the roles that cannot be read."""

    host: str
    device: Device
    odd: list[str]


def collected(
    head: str, listed: Iterable[Listed], run_on: Collection[str], problems: list[str], complete: bool
) -> Heard:
    """
    Return a source's list, with every device under a name of its own.

    :param run_on: the roles of which a node needs one; who has one of them is not in doubt because of another.
    :param problems: what was found wrong so far.
    :param complete: as in ``Odd``.
    """
    heard = Heard(head, {}, Odd({}, list(problems), complete))
    groups: dict[str, list[Listed]] = {}
    for one in listed:
        groups.setdefault(short(one.host), []).append(one)
    for label, group in groups.items():
        for name, same in _names(label, group, heard.odd.problems).items():
            _add(heard, name, same, run_on)
    return heard


def _names(label: str, group: list[Listed], problems: list[str]) -> dict[str, list[Listed]]:
    """Return the devices of one label by name: names in full are used where the label would mean two machines."""
    full = sorted({one.host.lower() for one in group if "." in one.host})
    if len(full) < 2:
        return {label: group}
    problems.append(f"{' and '.join(full)} are both called {label}: they are told apart by their names in full")
    found: dict[str, list[Listed]] = {}
    for one in group:
        found.setdefault(one.host.lower(), []).append(one)
    return found


def _add(heard: Heard, name: str, same: list[Listed], run_on: Collection[str]) -> None:
    first = same[0]
    heard.devices[name] = first.device
    if any(one.device != first.device or one.odd != first.odd for one in same):
        doubt = f"it is listed {len(same)} times, with different values"
    elif first.odd:
        doubt = f"roles that cannot be read: {', '.join(first.odd[:3])}{', ...' if len(first.odd) > 3 else ''}"
        if wanted(run_on, first.device["roles"] or ()):
            heard.odd.problems.append(f"{name}: {doubt}; the others count")
            return
    else:
        return
    heard.odd.doubts[name] = doubt
    heard.devices[name] = {**first.device, "roles": None}
