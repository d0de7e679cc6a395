"""What a node is called, and how a moment is written."""

from __future__ import annotations

import datetime
import time
from collections.abc import Iterable, Sequence


def short(name: str) -> str:
    """Return the first label of a host name or minion id in lower case, as BCM calls the node."""
    return name.split(".", 1)[0].lower()


def same(one: str, other: str) -> bool:
    """Return whether two names may mean one machine: they are equal, or one of them is short and the other's label."""
    one, other = one.lower(), other.lower()
    return one == other or (short(one) == short(other) and ("." not in one or "." not in other))


def find(own: Sequence[str], among: Iterable[str]) -> str | None:
    """
    Return the name in ``among`` that means the machine with these names, or None where none or several could.

    A name in full comes first. ``prod.dgx-01`` and ``prod.dgx-02`` are two machines, although their label is one.

    :param own: what the machine is called, such as minion id and host name, the surest first.
    """
    there = list(among)
    for is_same in (lambda one, other: one.lower() == other.lower(), same):
        for name in own:
            if fitting := [other for other in there if is_same(name, other)]:
                return fitting[0] if len(fitting) == 1 else None
    return None


def seconds(timestamp: str) -> float:
    """Return a moment as written by ``timestamp`` in seconds since the epoch."""
    return datetime.datetime.fromisoformat(timestamp.replace("Z", "+00:00")).timestamp()


def timestamp(moment: float | None = None) -> str:
    """
    Return a moment as files and grains show it: UTC, ISO 8601.

    :param moment: seconds since the epoch; by default now.
    """
    if moment is None:
        moment = time.time()
    return datetime.datetime.fromtimestamp(moment, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
