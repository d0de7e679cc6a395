"""The watcher's snapshot on disk: read and written under a lock, since engine and runners share it."""

from __future__ import annotations

import contextlib
import datetime
import json
from collections.abc import Iterator
from typing import Any

import superpod_files
import superpod_watcher


class Busy(Exception):
    """Another process holds the lock."""


def timestamp() -> str:
    """Return the time as files and grains show it: UTC, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def load(path: str) -> superpod_watcher.Snapshot:
    """Return the snapshot; one that is missing or unusable counts as never having had an answer."""
    found = superpod_files.read_json(path)
    fresh = superpod_watcher.empty()
    if not isinstance(found, dict) or found.get("version") != fresh["version"]:
        return fresh
    return {key: found.get(key, default) for key, default in fresh.items()}


@contextlib.contextmanager
def changing(path: str) -> Iterator[dict[str, Any]]:
    """
    Give the snapshot to be changed in place, and write it when the block ends without an error.

    :raises OSError: the directory cannot be written.
    """
    with lock(f"{path}.lock", wait=10):
        snapshot = load(path)
        yield snapshot
        superpod_files.write_atomic(path, json.dumps(snapshot, indent=1, sort_keys=True) + "\n")


@contextlib.contextmanager
def lock(path: str, wait: float) -> Iterator[None]:
    """
    Hold a lock file.

    :raises Busy: another process holds it and did not let it go in ``wait`` seconds.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(superpod_files.locked(path, wait))
        except TimeoutError as exc:
            raise Busy(f"another process holds {path}") from exc
        yield


def is_free(path: str) -> bool:
    """Return whether nobody holds the lock file."""
    try:
        with lock(path, wait=0):
            return True
    except Busy:
        return False
