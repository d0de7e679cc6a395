"""Which nodes wait for a roll-out: those whose last applied configuration is not what the pillar says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superpod_dcgm.config import applied, resolve
from superpod_dcgm.fleet import judge

_FILES = ("defaults", "schema", "compatibility")


def rollouts(opts: dict[str, Any], digests: Mapping[str, str], members: Mapping[str, str]) -> dict[str, str]:
    """
    Return why nodes wait for a roll-out, by short name; it comes from the administrator alone.

    One pillar is rendered for all nodes to which the same was applied: rendering one each would take minutes for
    thousands. It is not asked of a node, so that also one that is down is told.

    :param opts: the options of the master.
    :param digests: digest of the last applied configuration by short name (of the watcher's snapshot).
    :param members: minion ids of the nodes by short name.
    :raises CommandExecutionError: the tree is not served by this master.
    """
    groups: dict[str, list[str]] = {}
    for name in sorted(digests.keys() & members.keys()):
        groups.setdefault(digests[name], []).append(name)
    if not groups:
        return {}
    files = judge.served(opts, _FILES)
    found: dict[str, str] = {}
    for digest, names in groups.items():
        if why := _differs(opts, files, digest, members[names[0]]):
            found.update(dict.fromkeys(names, why))
    return found


def _differs(opts: dict[str, Any], files: Mapping[str, dict[str, Any]], digest: str, minion: str) -> str:
    compiled = judge.pillar(opts, minion)
    if compiled.get("_errors"):
        return "roll-out pending: the pillar cannot be rendered now; `salt-run dcgm.check` says why"
    try:
        pillar = compiled.get("dcgm") or {}
        present = resolve.configuration(files["defaults"], files["schema"], files["compatibility"], pillar)
    except resolve.ConfigurationError:
        return "roll-out pending: the pillar cannot be used now; `salt-run dcgm.check` says why"
    if applied.record(present, files["defaults"])["digest"] == digest:
        return ""
    return "roll-out pending: the pillar, or the tree's defaults, differ from what was last applied"
