"""One poll of the watcher: ask, believe or doubt, keep, write the target files, and say who is owed a role call."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.base import files
from superpod_dcgm.base.names import timestamp
from superpod_dcgm.watcher import belief, head_metrics, holds, last_seen, owed, sources, targets
from superpod_dcgm.watcher.device_list import Heard, Unknown
from superpod_dcgm.watcher.snapshot import Snapshot, changing


@dataclass
class Poll:
    """``claimed`` nodes are owed a role call now, which is what the event is fired for; ``lines`` are for the log."""

    snapshot: Snapshot
    believed: bool
    claimed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def poll(
    watcher_settings: dict[str, Any],
    members: Mapping[str, str] | None,
    news: owed.News | None = None,
    accept: bool = False,
    uncertain: Collection[str] = (),
) -> Poll:
    """
    Do one poll.

    :param watcher_settings: the watcher's settings file.
    :param members: minion ids of the nodes by short name; None when the master cannot tell who is a node.
    :param news: what was heard of the nodes since the last poll.
    :param accept: believe the answer, however odd it looks.
    :param uncertain: hosts of which it is not known whether, or as which minion, they are nodes.
    :raises OSError: the snapshot cannot be written.
    """
    # Outside the lock, since it may take long.
    heard = _ask(watcher_settings, members)
    with changing(watcher_settings["snapshot"]) as snapshot:
        step = _step(watcher_settings["watcher"], snapshot, heard, accept)
        # In place, since this is what is written when the block ends.
        snapshot.update(step.snapshot)
        owed.note(snapshot, news or owed.News(), members or (), timestamp())
        if members:
            last_seen.forget(snapshot, members)
        claimed = _claim(watcher_settings, snapshot, members)
    lines = [*step.lines, *targets.write(watcher_settings, snapshot, members, step.believed, uncertain)]
    lines += head_metrics.write(watcher_settings, snapshot, members or {}, step.believed, time.time())
    return Poll(snapshot, step.believed, claimed, lines)


def _ask(watcher_settings: dict[str, Any], members: Mapping[str, str] | None) -> Heard | Unknown:
    try:
        return sources.ask(watcher_settings, members)
    except Unknown as exc:
        return exc


def _step(watcher: dict[str, Any], snapshot: Snapshot, heard: Heard | Unknown, accept: bool) -> belief.Step:
    if isinstance(heard, Unknown):
        return belief.failed(snapshot, str(heard), timestamp())
    rules = belief.Rules(watcher["minimum_share"], watcher["confirm"])
    return belief.answered(snapshot, heard.head, heard.devices, timestamp(), rules, accept, heard.odd)


def _claim(watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str] | None) -> list[str]:
    # One change set at a time: a second one would only wait for the first.
    if not members or not files.is_free(owed.lock_file(watcher_settings["snapshot"])):
        return []
    moment = time.time()
    held = holds.read(holds.path(watcher_settings), moment)
    return owed.claim(snapshot, members, moment, watcher_settings["watcher"]["interval"], held)
