"""What nodes last said of themselves: kept in the snapshot, so that a question about them need not wait for them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from superpod_dcgm.watcher import device_list
from superpod_dcgm.watcher.snapshot import Seen, Snapshot

NEVER: Seen = {"at": None, "service": None, "release": None, "code": None, "silent": None, "odd": None}
# Characters of what is odd with a node.
_LONGEST = 300


def note(snapshot: Snapshot, asked: Collection[str], health: Mapping[str, Any], now: str) -> None:
    """
    Remember what nodes answered, and who did not.

    :param asked: short names of those that were asked.
    :param health: what ``bcm.health`` returned, by short name; those that are silent are not in it.
    """
    seen = snapshot["seen"]
    for name in asked:
        if name not in health:
            old = seen.get(name, NEVER)
            seen[name] = {**old, "silent": old["silent"] or now}
            continue
        # One without our modules answers with a sentence.
        answer = health[name] if isinstance(health[name], dict) else {}
        said = {key: device_list.text(answer.get(key)) for key in ("service", "release", "code")}
        seen[name] = {**NEVER, **said, "at": now, "odd": _odd(answer, seen.get(name, NEVER))}  # type: ignore[typeddict-item]


def _odd(answer: Mapping[str, Any], old: Seen) -> str | None:
    """What is odd with what its exporter shows; as before, where the node had no look at that."""
    told = answer.get("shortages")
    if not isinstance(told, list):
        return old.get("odd")
    text = "; ".join(one for one in told if isinstance(one, str) and one.isprintable())
    return text[:_LONGEST] or None


def forget(snapshot: Snapshot, members: Collection[str]) -> None:
    """Forget those that are neither a member any more nor known to the source of roles."""
    for name in snapshot["seen"].keys() - snapshot["nodes"].keys() - set(members):
        del snapshot["seen"][name]
