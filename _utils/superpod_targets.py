"""The files by which Prometheus finds the nodes: one per host, written and removed by the watcher alone."""

import json
import os
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import superpod_files
import superpod_roles

# Prometheus drops labels that begin with two underscores after relabelling: no series carries it.
_MARK = {"__managed_by__": "superpod-dcgm-watcher"}
# Kind of target -> folder below targets:directory. A folder of its own keeps our metrics out of the glob *.json, whose
# scrape may have TLS and a password that only the exporter knows.
FOLDERS = {"dcgm-exporter": "", "superpod-dcgm": "superpod-dcgm"}


@dataclass
class Result:
    """What a reconciliation did; ``problems`` are sentences for the administrator."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ports(settings: dict[str, Any]) -> dict[str, int]:
    """Return the kinds of targets that this site has, with their ports; see ``FOLDERS``."""
    own = {"superpod-dcgm": settings["metrics"]["port"]} if settings["metrics"]["served"] else {}
    return {"dcgm-exporter": settings["exporter"]["port"], **own}


def wanted(
    settings: dict[str, Any], job: str, nodes: dict[str, Any], members: Collection[str]
) -> tuple[dict[str, str], set[str]]:
    """
    Return the content of each host's file, and the hosts of which nobody knows whether they should have one.

    :param settings: the watcher's settings.
    :param job: the kind of target, of ``FOLDERS``; a kind that this site does not have is wanted nowhere.
    :param nodes: the nodes of the watcher's snapshot.
    :param members: short names of the minions that are nodes.
    """
    files: dict[str, str] = {}
    unknown: set[str] = set()
    if job not in ports(settings):
        return files, unknown
    for host in sorted(nodes):
        decision = superpod_roles.wanted(settings["roles"], nodes[host])
        if decision == "unknown":
            unknown.add(host)
        elif decision == "running" and host in members:
            files[host] = content(settings, job, host, nodes[host]["category"])
    return files, unknown


def content(settings: dict[str, Any], job: str, host: str, category: str | None) -> str:
    """Return the text of a host's file for one kind of target."""
    own = {"job": job, "cluster": settings["cluster"], "host": host, "category": category or ""}
    labels = {**settings["targets"]["labels"], **own, **_MARK}
    return json.dumps([{"targets": [f"{host}:{ports(settings)[job]}"], "labels": labels}], indent=1) + "\n"


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
    return {host for host in names if is_ours(superpod_files.read_json(_path(directory, host)), host)}


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
        if superpod_files.write_atomic(path, text):
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
