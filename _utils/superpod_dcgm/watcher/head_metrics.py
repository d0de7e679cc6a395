"""The watcher's own metrics, as one text file on the head: written at the end of each poll, old when nobody polls."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from typing import Any

from superpod_dcgm.base import files, names, own_code, roles
from superpod_dcgm.base.exposition import Family, render
from superpod_dcgm.watcher import owed, targets
from superpod_dcgm.watcher.snapshot import Snapshot

_DIGITS, _MOST = 12, 1 << 20
_RIGHT = "superpod_dcgm_targets_timestamp_seconds"
_BEFORE = re.compile(rf"^{_RIGHT} ([0-9.]{{1,30}})$", re.MULTILINE | re.ASCII)


def write(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str], believed: bool, moment: float
) -> list[str]:
    """
    Write the file that the watcher's settings name; a problem is a line for the log, and no reason to stop.

    :param members: minion ids of the nodes by short name.
    :param believed: whether the last answer counted.
    :param moment: now, in seconds since the epoch.
    """
    head = watcher_settings.get("head_metrics", {})
    if not head.get("enabled"):
        return []
    path = head["file"]
    text = render(
        [
            *_watcher(watcher_settings, snapshot, believed, moment),
            *_nodes(watcher_settings, snapshot, members),
            *_targets(watcher_settings, snapshot, members, believed, moment, _before(path)),
        ]
    )
    try:
        files.make_directory(os.path.dirname(path))
        files.write_atomic(path, text)
    except OSError as exc:
        return [f"{path} cannot be written: {exc.strerror}"]
    return []


def _before(path: str) -> float | None:
    """When all target files were right last, as the file before says."""
    with contextlib.suppress(OSError, ValueError):
        if found := _BEFORE.search(files.read_bounded(path, _MOST).decode("utf-8", "replace")):
            return float(found[1])
    return None


def _watcher(watcher_settings: dict[str, Any], snapshot: Snapshot, believed: bool, moment: float) -> list[Family]:
    info = Family("superpod_dcgm_head_info", "gauge", "What the nodes shall have, by labels; always 1.")
    release = watcher_settings["exporter"].get("release") if watcher_settings["exporter"].get("enabled", True) else ""
    code = own_code.digest(own_code.AGENT_PARTS)[:_DIGITS]
    info.add(1, release=str(release or ""), code=code, source=watcher_settings["roles"]["source"])
    interval = Family("superpod_dcgm_watcher_interval_seconds", "gauge", "Seconds from one poll to the next.")
    interval.add(watcher_settings["watcher"]["interval"])
    polled = Family("superpod_dcgm_watcher_poll_timestamp_seconds", "gauge", "When the watcher polled last.")
    polled.add(round(moment, 3))
    answered = Family("superpod_dcgm_watcher_answer_timestamp_seconds", "gauge", "When an answer counted last.")
    if snapshot["updated"]:
        answered.add(names.seconds(snapshot["updated"]))
    ok = Family("superpod_dcgm_watcher_ok", "gauge", "Whether the last poll had an answer that counted.")
    ok.add(int(believed))
    failures = Family("superpod_dcgm_watcher_failures", "gauge", "Polls without an answer since the last one with one.")
    failures.add(snapshot["failures"])
    return [info, interval, polled, answered, ok, failures]


def _nodes(watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str]) -> list[Family]:
    known = snapshot["nodes"]
    decisions = [
        roles.decide(watcher_settings["roles"], known[name]["roles"] if name in known else None) for name in members
    ]
    counts = {
        "superpod_dcgm_nodes_members": ("Minions that are nodes.", len(members)),
        "superpod_dcgm_nodes_wanted": ("Nodes whose roles want the exporter.", decisions.count("running")),
        "superpod_dcgm_nodes_unknown": ("Nodes whose roles are not known.", decisions.count("unknown")),
        "superpod_dcgm_nodes_owed": ("Nodes that wait for a role call.", len(owed.nodes(snapshot, members))),
    }
    found = []
    for name, (text, value) in counts.items():
        family = Family(name, "gauge", text)
        family.add(value)
        found.append(family)
    return found


def _targets(
    watcher_settings: dict[str, Any],
    snapshot: Snapshot,
    members: Mapping[str, str],
    believed: bool,
    moment: float,
    before: float | None,
) -> list[Family]:
    there = Family(
        "superpod_dcgm_nodes_with_target", "gauge", "Nodes that shall have a target file and have it, by kind."
    )
    right = Family(_RIGHT, "gauge", "When all target files were last as the roles say.")
    wrong = Family("superpod_dcgm_target_problems", "gauge", "What keeps target files from being right.")
    if watcher_settings["targets"]["enabled"]:
        for job, folder in targets.FOLDERS.items():
            if job in targets.ports(watcher_settings):
                present = _present(os.path.join(watcher_settings["targets"]["directory"], folder))
                wanted = targets.wanted(watcher_settings, job, snapshot["nodes"], members)[0]
                there.add(sum(f"{host}.json" in present for host in wanted), kind=job)
        problems = len(snapshot["target_problems"])
        wrong.add(problems)
        # Until the next good answer the files are as old as the last one.
        last = round(moment, 3) if believed and members and not problems else before
        if last is not None:
            right.add(last)
    return [there, right, wrong]


def _present(directory: str) -> set[str]:
    with contextlib.suppress(OSError):
        return set(os.listdir(directory))
    return set()
