"""The files by which Prometheus finds the nodes: one per host, written and removed by the watcher alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.base import roles
from superpod_dcgm.base.files import Busy, make_directory, read_json, write_atomic
from superpod_dcgm.watcher.snapshot import Node, Snapshot, changing

# Prometheus drops labels that begin with two underscores after relabelling: no series carries it.
_MARK = {"__managed_by__": "superpod-dcgm-watcher"}
# Kind of target -> folder below targets:directory. A folder of its own keeps our metrics out of the glob *.json, whose
# scrape may have TLS and a password that only the exporter knows.
FOLDERS = {"dcgm-exporter": "", "superpod-dcgm": "superpod-dcgm"}


def write(
    watcher_settings: dict[str, Any], snapshot: Snapshot, members: Mapping[str, str] | None, believed: bool
) -> list[str]:
    """
    Write and remove the target files of all kinds, and note their problems in the snapshot.

    :param members: minion ids of the nodes by short name.
    :param believed: whether the last answer counted; without one nothing is removed.
    :return: lines for the log.
    """
    targets = watcher_settings["targets"]
    if not targets["enabled"] or not members or not snapshot["updated"]:
        return []
    # Without the snapshot's lock: shared storage that stalls must not keep orchestrations from noting what they did.
    lines, found = [], []
    for job, folder in FOLDERS.items():
        files, unknown = wanted(watcher_settings, job, snapshot["nodes"], members)
        directory = os.path.join(targets["directory"], folder).rstrip("/")
        if folder and not os.path.isdir(directory):
            if not files or not os.path.isdir(targets["directory"]):
                continue
            with contextlib.suppress(OSError):
                make_directory(directory)
        result = reconcile(directory, files, unknown, remove=believed)
        lines += [f"{host}: target file for {job} written" for host in result.written]
        lines += [f"{host}: target file for {job} removed" for host in result.removed]
        found += result.problems
    if found != snapshot["target_problems"]:
        # A snapshot that stays locked is no reason to stop: the next poll finds the same.
        with contextlib.suppress(Busy), changing(watcher_settings["snapshot"]) as fresh:
            fresh["target_problems"] = found
    return [*lines, *(problem for problem in found if problem not in snapshot["target_problems"])]


@dataclass
class Result:
    """What a reconciliation did; ``problems`` are sentences for the administrator."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ports(watcher_settings: dict[str, Any]) -> dict[str, int]:
    """Return the kinds of targets that this site has, with their ports; see ``FOLDERS``."""
    own = {"superpod-dcgm": watcher_settings["metrics"]["port"]} if watcher_settings["metrics"]["served"] else {}
    return {"dcgm-exporter": watcher_settings["exporter"]["port"], **own}


def wanted(
    watcher_settings: dict[str, Any], job: str, nodes: Mapping[str, Node], members: Collection[str]
) -> tuple[dict[str, str], set[str]]:
    """
    Return the content of each host's file, and the hosts of which nobody knows whether they should have one.

    :param watcher_settings: the watcher's settings.
    :param job: the kind of target, of ``FOLDERS``; a kind that this site does not have is wanted nowhere.
    :param nodes: the nodes of the watcher's snapshot.
    :param members: short names of the minions that are nodes.
    """
    files: dict[str, str] = {}
    unknown: set[str] = set()
    if job not in ports(watcher_settings):
        return files, unknown
    for host in sorted(nodes):
        decision = roles.decide(watcher_settings["roles"], nodes[host]["roles"])
        if decision == "unknown":
            unknown.add(host)
        elif decision == "running" and host in members:
            files[host] = content(watcher_settings, job, host, nodes[host]["category"])
    return files, unknown


def content(watcher_settings: dict[str, Any], job: str, host: str, category: str | None) -> str:
    """Return the text of a host's file for one kind of target."""
    own = {"job": job, "cluster": watcher_settings["cluster"], "host": host, "category": category or ""}
    labels = {**watcher_settings["targets"]["labels"], **own, **_MARK}
    return json.dumps([{"targets": [f"{host}:{ports(watcher_settings)[job]}"], "labels": labels}], indent=1) + "\n"


def reconcile(directory: str, files: dict[str, str], keep: Collection[str], remove: bool) -> Result:
    """
    Make the directory hold exactly these files of ours. A file that the watcher did not write is never touched.

    :param keep: hosts whose file stays as it is.
    :param remove: whether files of other hosts go; not while roles are unknown.
    """
    result = Result()
    try:
        present = ours(directory)
    except OSError as exc:
        result.problems.append(f"no target file is written: {directory}: {exc.strerror} (normal on a passive head)")
        return result
    for host, text in files.items():
        _write(directory, host, text, host in present, result)
    for host in sorted(present - files.keys() - set(keep)) if remove else []:
        _remove(directory, host, result)
    return result


def _path(directory: str, host: str) -> str:
    return os.path.join(directory, f"{host}.json")


def ours(directory: str) -> set[str]:
    """Return the hosts of the files that carry our mark and the name of their own host."""
    names = (name[: -len(".json")] for name in os.listdir(directory) if name.endswith(".json"))
    return {host for host in names if is_ours(read_json(_path(directory, host)), host)}


def is_ours(entries: Any, host: str) -> bool:
    """Return whether a target file's content is what the watcher writes for this host."""
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        return False
    labels = entries[0].get("labels")
    return isinstance(labels, dict) and labels.get("host") == host and _MARK.items() <= labels.items()


def _write(directory: str, host: str, text: str, ours: bool, result: Result) -> None:
    path = _path(directory, host)
    if not ours and os.path.lexists(path):
        result.problems.append(f"{path} was not written by the watcher: it is left as it is")
        return
    try:
        if write_atomic(path, text):
            result.written.append(host)
    except OSError as exc:
        result.problems.append(f"{path} cannot be written: {exc.strerror}")


def _remove(directory: str, host: str, result: Result) -> None:
    path = _path(directory, host)
    try:
        os.unlink(path)
        result.removed.append(host)
    except OSError as exc:
        result.problems.append(f"{path} cannot be removed: {exc.strerror}")
