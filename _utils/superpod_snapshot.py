"""The watcher's snapshot on disk: read and written under a lock, since engine and runners share it."""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import json
import os
import time
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
    Hold a lock file; the kernel lets it go when the holder ends, however he ends.

    :raises Busy: another process holds it and did not let it go in ``wait`` seconds.
    """
    deadline = time.monotonic() + wait
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while not _taken(descriptor):
            if time.monotonic() >= deadline:
                raise Busy(f"another process holds {path}")
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


def is_free(path: str) -> bool:
    """Return whether nobody holds the lock file."""
    try:
        with lock(path, wait=0):
            return True
    except Busy:
        return False


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
