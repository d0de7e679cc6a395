"""The files by which Prometheus finds the nodes: one per host, written and removed by the watcher alone."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from superpod_dcgm.base import roles
from superpod_dcgm.base.files import Busy, make_directory, read_bounded, write_atomic
from superpod_dcgm.base.names import short
from superpod_dcgm.watcher.snapshot import Node, Snapshot, changing

# Prometheus drops labels that begin with two underscores after relabelling: no series carries it.
_MARK = {"__managed_by__": "superpod-dcgm-watcher"}
# Kind of target -> folder below targets:directory. A folder of its own keeps our metrics out of the glob *.json, whose
# scrape may have TLS and a password that only the exporter knows.
FOLDERS = {"dcgm-exporter": "", "superpod-dcgm": "superpod-dcgm"}
# The watcher's own metrics, on the head.
HEAD = "superpod-dcgm-head"
# A group without targets, in a directory that has no other file of ours. A Prometheus that is reloaded in the moment in
# which its last file goes would keep that target for ever (prometheus/prometheus#12007; an empty list does not help).
# No host's name begins like this.
PLACEHOLDER = "_none.json"
_NOTHING = json.dumps([{"targets": [], "labels": _MARK}]) + "\n"
# Bytes of a file, and hosts that a sentence names.
_LARGEST, _NAMED = 64 << 10, 3
Kind = Literal["ours", "damaged", "foreign"]


def write(
    watcher_settings: dict[str, Any],
    snapshot: Snapshot,
    members: Mapping[str, str] | None,
    believed: bool,
    uncertain: Collection[str] = (),
) -> list[str]:
    """
    Write and remove the target files of all kinds, and note their problems in the snapshot.

    :param members: minion ids of the nodes by short name.
    :param believed: whether the last answer counted; without one nothing is removed.
    :param uncertain: hosts of which it is not known whether, or as which minion, they are nodes: their files stay.
    :return: lines for the log.
    """
    targets = watcher_settings["targets"]
    if not targets["enabled"]:
        return []
    # Without the snapshot's lock: shared storage that stalls must not keep change sets from being noted.
    lines, found = _write_head(watcher_settings, snapshot["nodes"]), []
    if not members or not snapshot["updated"]:
        return lines
    for job, folder in FOLDERS.items():
        files, unknown = wanted(watcher_settings, job, snapshot["nodes"], members)
        directory = os.path.join(targets["directory"], folder).rstrip("/")
        if folder and not os.path.isdir(directory):
            if not files or not os.path.isdir(targets["directory"]):
                continue
            with contextlib.suppress(OSError):
                make_directory(directory)
        keep = {*unknown, *uncertain}
        result = reconcile(directory, files, keep, remove=believed, nodes=snapshot["nodes"])
        lines += [f"{host}: target file for {job} written" for host in result.written]
        lines += [f"{host}: target file for {job} removed" for host in result.removed]
        found += result.problems
        # Both kinds have the same hosts.
        found += [] if folder else without_address(watcher_settings, snapshot["nodes"], files)
    if found != snapshot["target_problems"]:
        # A snapshot that stays locked is no reason to stop: the next poll finds the same.
        with contextlib.suppress(Busy), changing(watcher_settings["snapshot"]) as fresh:
            fresh["target_problems"] = found
    lines += [problem for problem in found if problem not in snapshot["target_problems"]]
    snapshot["target_problems"] = found
    return lines


def _write_head(watcher_settings: dict[str, Any], nodes: Mapping[str, Node]) -> list[str]:
    """Write the target of this head's own metrics, whatever BCM says; one of another head, which was active, goes."""
    directory, host = os.path.join(watcher_settings["targets"]["directory"], HEAD), short(os.uname().nodename)
    is_served = HEAD in ports(watcher_settings)
    if not os.path.isdir(directory):
        if not is_served:
            return []
        with contextlib.suppress(OSError):
            make_directory(directory)
    ip = nodes[host].get("ip") if host in nodes else None
    files = {host: content(watcher_settings, HEAD, host, None, ip)} if is_served else {}
    result = reconcile(directory, files, (), remove=True)
    lines = [f"{name}: target file for {HEAD} written" for name in result.written]
    return lines + [f"{name}: target file for {HEAD} removed" for name in result.removed]


@dataclass
class Result:
    """What a reconciliation did; ``problems`` are sentences for the administrator."""

    written: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def ports(watcher_settings: dict[str, Any]) -> dict[str, int]:
    """Return the kinds of targets that this site has, with their ports; see ``FOLDERS`` and ``HEAD``."""
    own = {"superpod-dcgm": watcher_settings["metrics"]["port"]} if watcher_settings["metrics"]["served"] else {}
    # Settings of an earlier release do not have it.
    head = watcher_settings.get("head_metrics", {})
    own |= {HEAD: head["port"]} if head.get("served") else {}
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
    for host, node in sorted(nodes.items()):
        decision = roles.decide(watcher_settings["roles"], node["roles"])
        if decision == "unknown":
            unknown.add(host)
        elif decision == "running" and host in members:
            files[host] = content(watcher_settings, job, host, node["category"], node.get("ip"))
    return files, unknown


def content(watcher_settings: dict[str, Any], job: str, host: str, category: str | None, ip: str | None = None) -> str:
    """Return the text of a host's file for one kind of target."""
    own = {"job": job, "cluster": watcher_settings["cluster"], "host": host, "category": category or ""}
    labels = {**watcher_settings["targets"]["labels"], **own, **_MARK}
    address = _address(watcher_settings["targets"], host, ip)
    return json.dumps([{"targets": [f"{address}:{ports(watcher_settings)[job]}"], "labels": labels}], indent=1) + "\n"


def _address(targets: dict[str, Any], host: str, ip: str | None) -> str:
    """Return by what Prometheus reaches a host; its name where its address is not known."""
    kind = targets.get("address", "name")
    if kind == "ip" and ip:
        return f"[{ip}]" if ":" in ip else ip
    return f"{host}.{targets['domain']}" if kind == "fqdn" and "." not in host else host


def without_address(watcher_settings: dict[str, Any], nodes: Mapping[str, Node], hosts: Collection[str]) -> list[str]:
    """Return a sentence if there are hosts whose target shall be their address, and the source does not give it."""
    if watcher_settings["targets"].get("address") != "ip":
        return []
    lacking = sorted(host for host in hosts if not nodes[host].get("ip"))
    more = ", ..." if len(lacking) > _NAMED else ""
    source = watcher_settings["roles"]["source"]
    return [
        f"targets:address is ip, and the source of roles ({source}) gives none of {', '.join(lacking[:_NAMED])}{more}: "
        "the target has the name"
    ] * bool(lacking)


def reconcile(
    directory: str, files: dict[str, str], keep: Collection[str], remove: bool, nodes: Collection[str] = ()
) -> Result:
    """
    Make the directory hold exactly these files of ours.

    A file of somebody else is never changed. One that has the name of a file of ours is kept aside, as ``.foreign``.

    :param keep: hosts whose file stays as it is.
    :param remove: whether files of other hosts go; not while roles are unknown.
    :param nodes: hosts whose names are ours: a damaged file of theirs that is not wanted goes as well.
    """
    result = Result()
    try:
        present = _present(directory)
    except OSError as exc:
        result.problems.append(f"no target file is written: {directory}: {exc.strerror} (normal on a passive head)")
        return result
    for host, text in files.items():
        _write(directory, host, text, present.get(host), result)
    known = {host for host, kind in present.items() if kind == "ours" or (kind == "damaged" and host in nodes)}
    gone = known - files.keys() - set(keep) if remove else set()
    if not (known | files.keys()) - gone:
        _hold_place(directory, result)
    for host in sorted(gone):
        _remove(directory, host, result)
    if (known | files.keys()) - gone:
        _give_place(directory)
    return result


def _hold_place(directory: str, result: Result) -> None:
    """Leave a group without targets before the last file goes."""
    path = os.path.join(directory, PLACEHOLDER)
    try:
        write_atomic(path, _NOTHING)
    except OSError as exc:
        result.problems.append(f"{path} cannot be written: {exc.strerror}")


def _give_place(directory: str) -> None:
    # One that stays does no harm.
    with contextlib.suppress(OSError):
        os.unlink(os.path.join(directory, PLACEHOLDER))


def _path(directory: str, host: str) -> str:
    return os.path.join(directory, f"{host}.json")


def ours(directory: str) -> set[str]:
    """Return the hosts of the files that carry our mark and the name of their own host."""
    return {host for host, kind in _present(directory).items() if kind == "ours"}


def remove_all(directory: str) -> Result:
    """Remove every file that the watcher wrote here. Files of others stay."""
    result = Result()
    for host in sorted(ours(directory)):
        _remove(directory, host, result)
    _give_place(directory)
    return result


def _present(directory: str) -> dict[str, Kind]:
    names = (name[: -len(".json")] for name in os.listdir(directory) if name.endswith(".json") and name != PLACEHOLDER)
    return {host: _kind(directory, host) for host in names}


def _kind(directory: str, host: str) -> Kind:
    """Return whose file this is; what was ours and cannot be read as JSON any more is damaged."""
    try:
        text = read_bounded(_path(directory, host), _LARGEST, follow=False)
    except OSError:
        return "foreign"
    try:
        return "ours" if is_ours(json.loads(text), host) else "foreign"
    except (ValueError, RecursionError):
        return "damaged"


def is_ours(entries: Any, host: str) -> bool:
    """Return whether a target file's content is what the watcher writes for this host."""
    if not isinstance(entries, list) or len(entries) != 1 or not isinstance(entries[0], dict):
        return False
    labels = entries[0].get("labels")
    return isinstance(labels, dict) and labels.get("host") == host and _MARK.items() <= labels.items()


def _write(directory: str, host: str, text: str, kind: Kind | None, result: Result) -> None:
    path = _path(directory, host)
    try:
        if kind == "foreign":
            os.rename(path, f"{path}.foreign")
            result.problems.append(f"{path} was not written by the watcher: it is kept as {path}.foreign")
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
