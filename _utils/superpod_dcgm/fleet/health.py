"""Ask nodes how they are, and keep what they say in the snapshot."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from typing import Any

from superpod_dcgm.base import files, names
from superpod_dcgm.fleet.minions import Run
from superpod_dcgm.watcher import last_seen
from superpod_dcgm.watcher.snapshot import changing


def ask(
    watcher_settings: dict[str, Any],
    members: Mapping[str, str],
    nodes: Collection[str],
    run: Run,
    silent: Collection[str] = (),
) -> dict[str, dict[str, Any]]:
    """
    Return the full returns of ``bcm.health`` by short name; those who do not answer are left out.

    :param members: minion ids of the nodes by short name.
    :param nodes: short names of those to ask.
    :param silent: further nodes, of which it is known that they do not answer.
    """
    ids = [members[name] for name in sorted(nodes)]
    returns = run(ids, "bcm.health", [watcher_settings["roles"]], {}) if ids else {}
    found = {name: returns[members[name]] for name in sorted(nodes) if members[name] in returns}
    health = {name: answer.get("ret") for name, answer in found.items()}
    # What is only for display is no reason to fail where the snapshot stays locked or cannot be written.
    with contextlib.suppress(files.Busy, OSError), changing(watcher_settings["snapshot"]) as snapshot:
        last_seen.note(snapshot, {*nodes, *silent}, health, names.timestamp())
    return found
