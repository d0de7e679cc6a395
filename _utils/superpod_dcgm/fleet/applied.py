"""
The configurations that the administrator last applied, as the head keeps them: one file each, named by its digest.

They are asked of the nodes themselves, and read from the master's job cache: an event is a reason to ask, never an
answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Collection, Mapping
from typing import Any

from superpod_dcgm.base import files
from superpod_dcgm.config import applied as kept
from superpod_dcgm.fleet.minions import Run

_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


def directory(watcher_settings: Mapping[str, Any]) -> str:
    """Return the directory of the configurations, beside the snapshot."""
    return os.path.join(os.path.dirname(watcher_settings["snapshot"]), "applied")


def load(watcher_settings: Mapping[str, Any], digest: str) -> dict[str, Any] | None:
    """Return the configuration of a digest, or None where it is not kept here, or is not what was kept."""
    if not _DIGEST.fullmatch(digest):
        return None
    found = files.read_json(os.path.join(directory(watcher_settings), f"{digest}.json"))
    return found if isinstance(found, dict) and kept.digest(found) == digest else None


def ask(
    watcher_settings: Mapping[str, Any], members: Mapping[str, str], names: Collection[str], run: Run
) -> dict[str, str]:
    """
    Ask nodes which configuration was last applied to them, keep those that are new, and return the digests by name.

    :param members: minion ids of the nodes by short name.
    :raises OSError: a configuration cannot be kept.
    """
    ids = [members[name] for name in sorted(names)]
    known = [digest for digest in _stored(watcher_settings) if load(watcher_settings, digest) is not None]
    returns = run(ids, "bcm.applied", [known], {}) if ids else {}
    found = {}
    for name in names:
        answer = returns.get(members[name], {}).get("ret")
        if isinstance(answer, dict) and (digest := _kept(watcher_settings, answer, known)):
            found[name] = digest
    return found


def _kept(watcher_settings: Mapping[str, Any], answer: dict[str, Any], known: Collection[str]) -> str:
    """Keep what a node answered if it is new and fits its digest; return the digest, or nothing."""
    digest, configuration = str(answer.get("digest")), answer.get("configuration")
    if digest in known:
        return digest
    if not isinstance(configuration, dict) or not _fits(configuration, digest):
        return ""
    files.make_directory(directory(watcher_settings), 0o700)
    path = os.path.join(directory(watcher_settings), f"{digest}.json")
    files.write_atomic(path, json.dumps(configuration, sort_keys=True) + "\n", 0o600)
    return digest


def _fits(configuration: dict[str, Any], digest: str) -> bool:
    try:
        return kept.digest(configuration) == digest
    except (TypeError, ValueError, RecursionError):
        # A minion can send what no pillar has, such as bytes, or keys that cannot be sorted.
        return False


def forget(watcher_settings: Mapping[str, Any], used: Collection[str]) -> None:
    """Remove the configurations of which no node is known any more."""
    for digest in set(_stored(watcher_settings)) - set(used):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory(watcher_settings), f"{digest}.json"))


def _stored(watcher_settings: Mapping[str, Any]) -> list[str]:
    try:
        names = os.listdir(directory(watcher_settings))
    except OSError:
        return []
    return sorted(name.removesuffix(".json") for name in names if _DIGEST.fullmatch(name.removesuffix(".json")))
