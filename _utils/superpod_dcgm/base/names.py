"""What a node is called, and how a moment is written."""

from __future__ import annotations

import datetime
import time


def short(name: str) -> str:
    """Return the first label of a host name or minion id in lower case, as BCM calls the node."""
    return name.split(".", 1)[0].lower()


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
