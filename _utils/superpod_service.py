"""
The last good state of the exporter on a node, and the way back to it.

A release and its configuration are good once ``/metrics`` answered with them. What was good is kept
below /var/lib/superpod-dcgm, so that a bad release or a bad setting can be taken back as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from datetime import datetime, timezone
from typing import Any

import superpod_files
import superpod_paths
import superpod_release

_GOOD = os.path.join(superpod_paths.NODE_STATE, "good")
# What decides how the exporter runs. The counters file is a link into the release unless the pillar names another.
_FILES = (superpod_paths.UNIT_FILE, superpod_paths.EXPORTER_ENVIRONMENT, superpod_paths.EXPORTER_COUNTERS)


def linked_release(link: str = superpod_paths.EXPORTER_CURRENT) -> str | None:
    """Return the release that the link ``current`` chooses, or None."""
    try:
        return os.path.basename(os.readlink(link))
    except OSError:
        return None


def fingerprint(release: str | None, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what the exporter would run with now: release, digest of its binary, and digests of its configuration."""
    binary = os.path.join(superpod_paths.EXPORTER_ROOT, str(release), superpod_release.BINARY)
    return {"release": release, "binary": _digest(binary), "files": {path: _digest(path) for path in _FILES + others}}


def _digest(path: str) -> str | None:
    # The counters file follows the release, which is compared by itself: a link counts as its text.
    if os.path.islink(path):
        return os.readlink(path)
    try:
        return superpod_files.sha256(path)
    except OSError:
        return None


def last_good() -> dict[str, Any]:
    """Return the fingerprint that /metrics last answered with, or ``{}``."""
    record = superpod_files.read_json(superpod_paths.RUNNING_FILE, {})
    return record if isinstance(record, dict) else {}


def remember(good: dict[str, Any]) -> None:
    """
    Keep ``good`` (a fingerprint) and copies of the files it names.

    :raises OSError: the state directory cannot be written.
    """
    fresh = f"{_GOOD}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    os.makedirs(fresh, mode=0o755)
    for path in good["files"]:
        with contextlib.suppress(FileNotFoundError):
            _copy(path, os.path.join(fresh, _flat(path)))
    superpod_release.replace_directory(fresh, _GOOD)
    record = {**good, "answered_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    superpod_files.write_atomic(superpod_paths.RUNNING_FILE, json.dumps(record, indent=2) + "\n")


def restore(good: dict[str, Any]) -> None:
    """
    Put release and files of ``good`` back.

    :raises OSError: a file cannot be written.
    """
    superpod_files.link_atomic(good["release"], superpod_paths.EXPORTER_CURRENT)
    for path, digest in good["files"].items():
        kept = os.path.join(_GOOD, _flat(path))
        if digest and not os.path.lexists(kept):
            raise OSError(f"{kept}, the copy of the last good {path}, is missing")
        if os.path.lexists(kept):
            temporary = f"{path}.superpod-restore"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            _copy(kept, temporary)
            os.replace(temporary, path)


def _copy(source: str, target: str) -> None:
    """Copy a file or link with its mode and its owner, which shutil leaves out."""
    shutil.copy2(source, target, follow_symlinks=False)
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)


def _flat(path: str) -> str:
    return path.strip("/").replace("/", "_")


def can_go_back(good: dict[str, Any], bad: dict[str, Any]) -> bool:
    """Return whether ``good`` is another state than ``bad`` and its release is still installed."""
    release = good.get("release")
    binary = os.path.join(superpod_paths.EXPORTER_ROOT, str(release), superpod_release.BINARY)
    # A release that was built anew took the good binary's place.
    if not release or _digest(binary) != good.get("binary"):
        return False
    return any(good.get(key) != bad[key] for key in ("release", "binary", "files"))


def surplus(keep: int, wanted: str) -> list[str]:
    """
    Return installed releases that can go: all but the newest ``keep``, never the current, wanted or last good one.

    :param keep: how many may stay.
    """
    root = superpod_paths.EXPORTER_ROOT
    with contextlib.suppress(FileNotFoundError):
        folders = [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
        newest = sorted(folders, key=lambda entry: entry.stat().st_mtime, reverse=True)
        # Anything else in the directory is not ours to remove.
        releases = [entry.name for entry in newest if re.match(r"\d+\.\d+\.\d+", entry.name)]
        needed = [name for name in (wanted, linked_release(), last_good().get("release")) if name in releases]
        others = [name for name in releases if name not in needed]
        return others[max(0, keep - len(set(needed))) :]
    return []
