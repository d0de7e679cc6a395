"""
The last good state of the exporter on a node, and the way back to it.

A release and its configuration are good once ``/metrics`` answered with them. What was good is kept
below /var/lib/superpod-dcgm, so that a bad release or a bad setting can be taken back as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from datetime import datetime, timezone
from types import NoneType
from typing import Any

from superpod_dcgm.base import files, ownership, paths
from superpod_dcgm.exporter import artifacts

_GOOD = paths.GOOD
# What decides how the exporter runs. The counters file is a link into the release unless the pillar names another.
_FILES = (paths.UNIT_FILE, paths.EXPORTER_ENVIRONMENT, paths.EXPORTER_COUNTERS)


def fingerprint(release: str | None, others: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what the exporter would run with now: release, digest of its binary, and digests of its configuration."""
    binary = os.path.join(paths.EXPORTER_ROOT, str(release), artifacts.BINARY)
    return {"release": release, "binary": _digest(binary), "files": {path: _digest(path) for path in _FILES + others}}


def _digest(path: str) -> str | None:
    # The counters file follows the release, which is compared by itself: a link counts as its text.
    if os.path.islink(path):
        return os.readlink(path)
    try:
        # Reading a FIFO would wait for its writer.
        return files.sha256(path) if os.path.isfile(path) else None
    except OSError:
        return None


def read() -> dict[str, Any]:
    """Return the fingerprint that /metrics last answered with, or ``{}``, also where its record is damaged."""
    record = files.read_json(paths.RUNNING_FILE, {})
    if not isinstance(record, dict) or not isinstance(record.get("files"), dict):
        return {}
    kinds: dict[str, Any] = {"release": (str, NoneType), "url": (str, NoneType), "timeout": (int, float, NoneType)}
    return record if all(isinstance(record.get(key), kind) for key, kind in kinds.items()) else {}


def remember(good: dict[str, Any], asked: dict[str, Any] | None = None) -> None:
    """
    Keep ``good`` (a fingerprint) and copies of the files it names.

    :param asked: how it was asked when it answered: ``url`` and ``timeout``.
    :raises OSError: the state directory cannot be written.
    """
    fresh = f"{_GOOD}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    files.make_directory(fresh)
    for path in good["files"]:
        with contextlib.suppress(FileNotFoundError):
            _copy(path, os.path.join(fresh, _flat(path)))
    files.replace_directory(fresh, _GOOD)
    record = {**good, **(asked or {}), "answered_at": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    files.write_atomic(paths.RUNNING_FILE, json.dumps(record, indent=2) + "\n")


def restore(good: dict[str, Any]) -> None:
    """
    Put release and files of ``good`` back.

    :raises OSError: a file cannot be written.
    """
    files.link_atomic(good["release"], paths.EXPORTER_CURRENT)
    for path, digest in good["files"].items():
        kept = copy_of(path)
        if digest and not os.path.lexists(kept):
            raise OSError(f"{kept}, the copy of the last good {path}, is missing")
        if os.path.lexists(kept):
            _replace(kept, path)
            if path in ownership.noted() and not os.path.islink(path):
                # Else it would count as edited by somebody.
                ownership.note(path)


def note_profiling(how: str) -> None:
    """
    Note whether the exporter has profiling rows since its last start: ``shown``, ``gone`` (it had), or ``never``.

    :raises OSError: the record cannot be written.
    """
    record = read()
    if record and record.get("profiling") != how:
        files.write_atomic(paths.RUNNING_FILE, json.dumps({**record, "profiling": how}, indent=2) + "\n")


def _replace(source: str, target: str) -> None:
    """Through a name that nobody can foresee: the directory may be one in which others can make links."""
    folder = tempfile.mkdtemp(prefix=".superpod-", dir=os.path.dirname(target))
    try:
        fresh = os.path.join(folder, os.path.basename(target))
        _copy(source, fresh)
        os.replace(fresh, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _copy(source: str, target: str) -> None:
    """Copy a file or link with its mode and its owner, which shutil leaves out; what is neither has no content."""
    if stat.S_IFMT(os.lstat(source).st_mode) not in (stat.S_IFREG, stat.S_IFLNK):
        return
    shutil.copy2(source, target, follow_symlinks=False)
    found = os.lstat(source)
    os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)


def copy_of(path: str) -> str:
    """Return where the copy of a file lies that was good."""
    return os.path.join(_GOOD, _flat(path))


def _flat(path: str) -> str:
    return path.strip("/").replace("/", "_")


def can_go_back(good: dict[str, Any], bad: dict[str, Any]) -> bool:
    """Return whether ``good`` is another state than ``bad`` and its release is still installed."""
    release = good.get("release")
    binary = os.path.join(paths.EXPORTER_ROOT, str(release), artifacts.BINARY)
    # A release that was built again took the good binary's place.
    if not release or _digest(binary) != good.get("binary"):
        return False
    return any(good.get(key) != bad[key] for key in ("release", "binary", "files"))
