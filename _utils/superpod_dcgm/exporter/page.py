"""What is odd with what the exporter of this node shows: for whoever asks how the node is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superpod_dcgm.exporter import role_call, service, verdict

# The page may be slow, and nobody waits longer for what this node says.
_LOOK_SECONDS = 20
NONE: dict[str, Any] = {"shortages": [], "profiling_lost": False}


def oddities(state: str = "", unit: Callable[[str, str, int], service.Unit] = service.Unit) -> dict[str, Any]:
    """
    Return what is odd with what the exporter shows, without changing anything.

    ``shortages``: sentences. ``profiling_lost``: the next role call, apply or repair restarts it for its profiling
    rows.

    :param unit: makes the exporter's unit of name, address and seconds; tests give their own.
    :raises UnitError: systemd does not answer.
    """
    record = role_call.recall(state)
    if record is None:
        return NONE
    asked = unit(record["unit"], record["url"], _LOOK_SECONDS)
    now = asked.look(asked.url, asked.timeout)
    if now.fault == "slow":
        return {"shortages": [f"/metrics does not answer within {_LOOK_SECONDS} s"], "profiling_lost": False}
    lost = verdict.lost_profiling(asked, now)
    found = verdict.shortages(asked, now)
    others = [
        text
        for text in found
        if not lost or not text.startswith(("/metrics has no DCGM_FI", "/metrics has no row of any"))
    ]
    return {"shortages": [lost, *others] if lost else others, "profiling_lost": bool(lost)}
