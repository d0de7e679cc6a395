"""A node's roles: the record that the watcher delivers to a node, and what it means for the exporter."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from typing import Any, Literal

from superpod_dcgm.base import files

Decision = Literal["running", "stopped", "unknown"]


def read(path: str) -> dict[str, Any] | None:
    """Return what was last delivered to this node, or None when nothing readable was."""
    record = files.read_json(path)
    if not isinstance(record, dict) or not _is_names(record.get("roles")):
        return None
    return record


def store(path: str, entry: dict[str, Any], seq: int, now: str) -> bool:
    """
    Keep a delivered entry as this node's record; return whether roles or category are new.

    :param entry: ``{"roles": [...], "category": ...}``
    :raises ValueError: the entry has no list of role names.
    :raises OSError: the record cannot be written; the old one is as it was.
    """
    if not _is_names(entry.get("roles")):
        raise ValueError(f"a delivery without a list of role names: {entry!r}")
    fresh = {"roles": sorted(entry["roles"]), "category": entry.get("category")}
    old = read(path)
    changed = old is None or any(old.get(key) != value for key, value in fresh.items())
    since = now if changed or old is None else old.get("since", now)
    record = {**fresh, "since": since, "updated": now, "seq": seq}
    files.make_directory(os.path.dirname(path))
    files.write_atomic(path, json.dumps(record) + "\n")
    return changed


def decide(roles: dict[str, Any], names: Collection[str] | None) -> Decision:
    """
    Decide whether the exporter should run on a node. This is the only place that decides it.

    :param roles: the section ``roles`` of the configuration.
    :param names: the roles that the node has; None means that nobody knows, and then nothing may be changed.
    """
    if roles["source"] == "none":
        return "running"
    if names is None:
        return "unknown"
    return "running" if wanted(roles["run_on"], names) else "stopped"


def wanted(run_on: Collection[str], names: Collection[str]) -> bool:
    """Return whether one of these names is one of ``run_on``; BCM's interface writes all of them in lower case."""
    return bool({name.lower() for name in run_on} & {name.lower() for name in names})


def names_in(record: dict[str, Any] | None) -> list[str] | None:
    """Return the roles in a record (of ``read``), or None when there is none."""
    return record["roles"] if record else None


def _is_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)
