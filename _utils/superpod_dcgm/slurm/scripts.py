"""The files that slurmd runs as prolog and epilog of the job map, and whose the places are where they lie."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import files, state
from superpod_dcgm.slurm import places, running

_SCRIPT_MODE = 0o755
# In the head of every release's script: what has it is ours, whatever its name.
_MARK = b"# Tells dcgm-exporter which Slurm jobs hold which GPU"
_HEAD_BYTES = 512


@dataclass(frozen=True)
class Storage:
    """What is known to be shared with other nodes: see ``places.shared_by``."""

    places: list[str]
    stores: list[str]

    def why(self, path: str) -> str:
        """Return why other nodes see ``path``, or ``""``."""
        return places.shared_by(path, self.places, self.stores)


def storage(known: dict[str, list[str]] | None) -> Storage:
    """Return it from what a state was given."""
    return Storage(**{key: (known or {}).get(key, []) for key in ("places", "stores")})


def is_ours(path: str) -> bool:
    """Return whether a file is our script, of any release; one that is empty, as a full disk leaves it, counts too."""
    try:
        head = files.head(path, _HEAD_BYTES, follow=True)
    except OSError:
        return False
    return not head or _MARK in head


def script_changes(source: str, path: str) -> dict[str, Any]:
    """Return what ``write_script`` would change: ``sha256`` and ``mode``, each with old and new."""
    new = {"sha256": files.sha256(source), "mode": f"{_SCRIPT_MODE:04o}"}
    old: dict[str, str | None] = {"sha256": None, "mode": None}
    if os.path.isfile(path) and not os.path.islink(path):
        old = {"sha256": files.sha256(path), "mode": f"{stat.S_IMODE(os.stat(path).st_mode):04o}"}
    return {key: {"old": old[key], "new": value} for key, value in new.items() if old[key] != value}


def write_script(source: str, path: str, makedirs: bool = False) -> None:
    """
    Copy a script in one step, executable from its first moment.

    :param makedirs: make its directory where that is missing.
    :raises OSError: it cannot be read or written; what was there stays.
    """
    if makedirs:
        files.make_directory(os.path.dirname(path))
    with open(source, encoding="utf-8") as stream:
        files.write_atomic(path, stream.read(), _SCRIPT_MODE)


def removal(name: str, shared: Storage, own: bool, test: bool) -> dict[str, Any]:
    """
    Remove a script of ours, or the directory of a node's own scripts, and return what a state returns.

    :param own: it is ours, whatever it holds, and this node's own: one that other nodes see stays.
    """
    if not os.path.lexists(name):
        return state.result(name, True, f"{name} is not there")
    if not own and not is_ours(name):
        return state.result(name, True, f"{name} is not ours; it is left as it is")
    if own and (why := shared.why(name)):
        comment = f"{name} stays, since other nodes may run what is in it: {why}"
        return {**state.result(name, True, comment), "warnings": [comment]}
    changes = {"removed": name}
    if test:
        return state.result(name, None, f"{name} would be removed", changes)
    if left := running.wait_for_none(running.QUIET_SECONDS):
        comment = f"{name} is not removed: a prolog or epilog (process {left[0]}) still runs; apply again"
        return state.result(name, False, comment)
    try:
        _remove(name)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be removed: {exc}")
    return state.result(name, True, f"{name} is removed", changes)


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.unlink(path)
