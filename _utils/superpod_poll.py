"""One poll of the watcher: ask, believe or doubt, keep, write the target files, and say who is to be served."""

import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import superpod_pending
import superpod_snapshot
import superpod_sources
import superpod_targets
import superpod_watcher


@dataclass
class Poll:
    """``claimed`` nodes are to be served now, which is what the event is fired for; ``lines`` are for the log."""

    snapshot: dict[str, Any]
    believed: bool
    claimed: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)


def serving_lock(settings: dict[str, Any]) -> str:
    """Return the lock file that an orchestration holds while it serves nodes."""
    return os.path.join(os.path.dirname(settings["snapshot"]), "serving.lock")


def poll(
    settings: dict[str, Any],
    members: Mapping[str, str] | None,
    news: superpod_pending.News | None = None,
    accept: bool = False,
) -> Poll:
    """
    Do one poll.

    :param settings: the watcher's settings file.
    :param members: minion ids of the nodes by short name; None when the master cannot tell who is a node.
    :param news: what was heard of the nodes since the last poll.
    :param accept: believe the answer, however odd it looks.
    :raises OSError: the snapshot cannot be written.
    """
    step_of = _ask(settings, members, accept)
    with superpod_snapshot.changing(settings["snapshot"]) as snapshot:
        step = step_of(snapshot)
        # In place, since this is what is written when the block ends.
        snapshot.update(step.snapshot)
        superpod_pending.note(snapshot, news or superpod_pending.News(), members or (), superpod_snapshot.timestamp())
        claimed = _claim(settings, snapshot, members)
    lines = [*step.lines, *_write_targets(settings, snapshot, members, step.believed)]
    return Poll(snapshot, step.believed, claimed, lines)


def _ask(settings: dict[str, Any], members: Mapping[str, str] | None, accept: bool) -> Any:
    """Ask, which may take long, outside the lock; return what makes a step of a snapshot."""
    now = superpod_snapshot.timestamp
    watcher = settings["watcher"]
    rules = superpod_watcher.Rules(watcher["minimum_share"], watcher["confirm"])
    try:
        head, devices = superpod_sources.ask(settings, members)
    except superpod_sources.Unknown as exc:
        reason = str(exc)
        return lambda snapshot: superpod_watcher.failed(snapshot, reason, now())
    return lambda snapshot: superpod_watcher.answered(snapshot, head, devices, now(), rules, accept)


def _write_targets(
    settings: dict[str, Any], snapshot: dict[str, Any], members: Mapping[str, str] | None, believed: bool
) -> list[str]:
    targets = settings["targets"]
    if not targets["enabled"] or not members or not snapshot["updated"]:
        return []
    # Without the snapshot's lock: shared storage that stalls must not keep orchestrations from noting what they did.
    lines, found = [], []
    for job, folder in superpod_targets.FOLDERS.items():
        files, unknown = superpod_targets.wanted(settings, job, snapshot["nodes"], members)
        directory = os.path.join(targets["directory"], folder).rstrip("/")
        if folder and not os.path.isdir(directory):
            if not files or not os.path.isdir(targets["directory"]):
                continue
            with contextlib.suppress(OSError):
                os.mkdir(directory)
        result = superpod_targets.reconcile(directory, files, unknown, remove=believed)
        lines += [f"{host}: target file for {job} written" for host in result.written]
        lines += [f"{host}: target file for {job} removed" for host in result.removed]
        found += result.problems
    if found != snapshot["target_problems"]:
        # A snapshot that stays locked is no reason to stop: the next poll finds the same.
        with contextlib.suppress(superpod_snapshot.Busy), superpod_snapshot.changing(settings["snapshot"]) as fresh:
            fresh["target_problems"] = found
    return [*lines, *(problem for problem in found if problem not in snapshot["target_problems"])]


def _claim(settings: dict[str, Any], snapshot: dict[str, Any], members: Mapping[str, str] | None) -> list[str]:
    # Orchestrations that start nearly together were unreliable for years (saltstack/salt#54045): one at a time.
    if not members or not superpod_snapshot.is_free(serving_lock(settings)):
        return []
    return superpod_pending.claim(snapshot, members, time.time(), settings["watcher"]["interval"])
