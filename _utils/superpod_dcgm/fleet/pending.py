"""Which nodes wait for a roll-out: those whose last applied configuration is not what the pillar says now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from superpod_dcgm.base import own_code
from superpod_dcgm.config import applied, resolve
from superpod_dcgm.fleet import judge
from superpod_dcgm.watcher.snapshot import Snapshot

_FILES = ("defaults", "schema", "compatibility")
_OTHER_CODE = "roll-out pending: it runs other code of this project than the head"


def rollouts(opts: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str]) -> dict[str, str]:
    """
    Return why nodes wait for a roll-out, by short name; it comes from the administrator alone.

    A node waits whose last applied configuration is not the present one, or whose code is not this head's.

    One pillar is rendered for all nodes to which the same was applied: rendering one each would take minutes for
    thousands. It is not asked of a node, so that also one that is down is told.

    :param opts: the options of the master.
    :param members: minion ids of the nodes by short name.
    :raises CommandExecutionError: the tree is not served by this master.
    """
    digests = snapshot["applied"]
    groups: dict[str, list[str]] = {}
    for name in sorted(digests.keys() & members.keys()):
        groups.setdefault(digests[name], []).append(name)
    if not groups:
        return {}
    files = judge.served(opts, _FILES)
    found = dict.fromkeys(_with_other_code(snapshot), _OTHER_CODE)
    for digest, names in groups.items():
        if why := _differs(opts, files, digest, members[names[0]]):
            found.update(dict.fromkeys(names, why))
    return found


def _with_other_code(snapshot: Snapshot) -> list[str]:
    """The nodes that were applied to and said that they run other code than this head."""
    own, seen = own_code.digest(), snapshot["seen"]
    return [name for name in snapshot["applied"] if name in seen and seen[name]["code"] not in (None, own)]


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
