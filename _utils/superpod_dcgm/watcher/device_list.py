"""What a source of roles answers: the devices of the cluster, or why nobody can tell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict


class Device(TypedDict):
    """One device; ``roles`` is None where the answer does not speak of them."""

    roles: list[str] | None
    category: str | None
    type: str | None


# By short name.
Devices = dict[str, Device]


class Unknown(Exception):
    """Nobody can tell the roles at the moment. The text is the reason, in words for the administrator."""


@dataclass(frozen=True)
class Heard:
    """A list of devices, and which head or other source gave it."""

    head: str
    devices: Devices


def device(roles: list[str], category: str | None = None) -> Device:
    """Return a device of which only roles and category are known."""
    return {"roles": roles, "category": category, "type": None}
