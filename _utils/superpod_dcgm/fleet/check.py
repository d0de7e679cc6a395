"""Judges what the pillar says of this master's minions, in sentences, before anything is changed."""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.watcher import head

# So many names are listed in a sentence.
_NAMES = 6


@dataclass(frozen=True)
class Fleet:
    """
    What the master knows of its minions.

    ``matched`` has the accepted ids by key of ``hosts``, ``architectures`` the architecture by id where it is known;
    ``own`` is the id of the minion on the master's own machine.
    """

    accepted: Sequence[str]
    waiting: Sequence[str]
    matched: Mapping[str, Sequence[str]]
    architectures: Mapping[str, str]
    own: str


def problems(hosts: Mapping[str, str], fleet: Fleet, builds: bool) -> list[str]:
    """
    Return one sentence per match of ``hosts`` that does not mean what it must.

    :param builds: whether the exporter is built by this fleet.
    """
    found = list(_head(hosts["head"], fleet))
    for key in ("nodes", "builder", "monitoring"):
        if hosts[key] and not fleet.matched[key] and not (key == "builder" and not builds):
            found.append(_nobody(key, hosts[key], fleet))
    return found + (list(_builders(hosts["builder"], fleet)) if builds else [])


def _head(match: str, fleet: Fleet) -> Iterator[str]:
    if fleet.own not in fleet.accepted:
        yield (
            f"The minion of this machine, {fleet.own}, is not accepted by its own master: "
            f"`salt-key -a {fleet.own}`, and see that salt-minion runs here"
        )
    elif not match:
        yield f"dcgm:hosts:head is empty: give the id of this master's own minion, {fleet.own}"
    elif not fleet.matched["head"]:
        yield _nobody("head", match, fleet)
    elif fleet.own not in fleet.matched["head"]:
        yield (
            f"dcgm:hosts:head: {match!r} matches {names(fleet.matched['head'])}, "
            f"and not the minion of this master, {fleet.own}"
        )


def _nobody(key: str, match: str, fleet: Fleet) -> str:
    words = [word for part in match.split() for word in part.removeprefix("L@").split(",")]
    waiting = [name for name in fleet.waiting if any(fnmatch.fnmatch(name, word) for word in words)]
    if waiting:
        return (
            f"dcgm:hosts:{key}: {match!r} matches no accepted minion; the key of {names(waiting)} waits: "
            f"`salt-key -a {waiting[0]}`"
        )
    # Salt tells upper from lower case.
    known = {name.lower(): name for name in fleet.accepted}
    close = difflib.get_close_matches(match.lower(), known, n=1)
    hint = f" (did you mean {known[close[0]]}?)" if close else ""
    return f"dcgm:hosts:{key}: {match!r} matches none of the accepted minions, {names(fleet.accepted)}{hint}"


def _builders(match: str, fleet: Fleet) -> Iterator[str]:
    by_architecture: dict[str, list[str]] = {}
    for minion in fleet.matched["builder"]:
        by_architecture.setdefault(fleet.architectures.get(minion, ""), []).append(minion)
    for architecture, builders in by_architecture.items():
        if len(builders) > 1:
            of = f" of {architecture}" if architecture else ""
            yield f"dcgm:hosts:builder: {match!r} matches {names(builders)}{of}; name one per architecture"
    if not by_architecture or "" in by_architecture:
        return
    for architecture in sorted({fleet.architectures.get(node, "") for node in fleet.matched["nodes"]} - {""}):
        if architecture not in by_architecture:
            nodes = [node for node in fleet.matched["nodes"] if fleet.architectures.get(node) == architecture]
            yield f"dcgm:hosts:builder: {match!r} has none of {architecture}, which {names(nodes)} need; add one"


def on_this_head(configuration: Mapping[str, Any], master_files: Sequence[str], own_file: str) -> list[str]:
    """
    Return what the watcher would miss on this machine: credential, authorities, storage, a configuration that counts.

    :param master_files: all files of the master's configuration.
    :param own_file: the one that the watcher's state writes.
    """
    watcher, targets = configuration["watcher"], configuration["targets"]
    if not watcher["enabled"]:
        return []
    found = head.conflicts(list(master_files), own_file)
    if configuration["roles"]["source"] == "bcm":
        credential = [watcher["password_file"]] if watcher["user"] else [watcher["certificate"], watcher["key"]]
        found += [wrong for path in credential if path and (wrong := head.credential_problem(path))]
        try:
            head.authorities(watcher["ca"])
        except ValueError as exc:
            found.append(str(exc))
    # Its last parts are made; the storage is not.
    storage = "/".join(targets["directory"].split("/")[:3])
    if targets["enabled"] and not os.path.isdir(storage):
        found.append(f"dcgm:targets:directory: {targets['directory']}: there is no {storage} on this machine")
    return found


def unkept_returns(configuration: Mapping[str, Any], opts: Mapping[str, Any]) -> list[str]:
    """Return why the master keeps no returns of nodes: the watcher believes those alone, as any minion makes events."""
    if not configuration["watcher"]["enabled"]:
        return []
    cause = "ext_job_cache is set" if opts.get("ext_job_cache") else ""
    cause = cause or ("" if opts.get("job_cache", True) else "job_cache is false")
    hint = (
        "the watcher could repair no node, since it reads their returns there; use master_job_cache for another place"
    )
    return [f"In the master's configuration {cause}: {hint}"] if cause else []


def plan(configuration: Mapping[str, Any], fleet: Fleet) -> list[str]:
    """Return in a few lines what a deployment would mean."""
    exporter, prometheus, roles = (configuration[section] for section in ("exporter", "prometheus", "roles"))
    builders = [f"{name} ({fleet.architectures.get(name, '?')})" for name in fleet.matched["builder"]]
    builder = ", ".join(builders) or "the first node that finds no artifact"
    if exporter["method"] != "build":
        builder = f"nobody; artifacts are taken from {exporter['store']}"
    monitoring = f"{names(fleet.matched['monitoring'])}: {prometheus['mode']}, port {prometheus['port']}"
    grafana = configuration["grafana"]
    if grafana["enabled"]:
        monitoring += f"; Grafana: {grafana['mode']}, {grafana['url'] or 'port ' + str(grafana['port'])}"
    lines = {
        "head": names(fleet.matched["head"]),
        "nodes": f"{len(fleet.matched['nodes'])}: {names(fleet.matched['nodes'])}",
        "builder": builder,
        "release": exporter["release"] if exporter["enabled"] else "none: exporter:enabled is false",
        "roles": roles["source"] + ("" if roles["source"] == "none" else f", one of {', '.join(roles['run_on'])}"),
        "monitoring": monitoring if prometheus["enabled"] and fleet.matched["monitoring"] else "nobody",
    }
    notice = exporter["facts"]["notice"] if exporter["enabled"] else ""
    notes = [*_notes(configuration["hosts"], fleet), *([f"note: {notice}"] if notice else [])]
    return [*(f"{key}: {line}" for key, line in lines.items()), *notes]


def _notes(hosts: Mapping[str, str], fleet: Fleet) -> Iterator[str]:
    """What may be meant, and may not."""
    both = sorted(set(fleet.matched["nodes"]) & set(fleet.matched["head"]))
    if both:
        yield f"note: hosts:nodes matches the head too: {names(both)} gets the exporter"
    for key, match in hosts.items():
        listed = [name for word in match.split() if word.startswith("L@") for name in word[2:].split(",")]
        if missing := [name for name in listed if name not in fleet.accepted]:
            yield f"note: hosts:{key} lists {names(missing)}, which no accepted minion is called"


def names(found: Sequence[str]) -> str:
    """Return names for a sentence; of many only the first."""
    some = sorted(found)
    if not some:
        return "nobody"
    more = f" and {len(some) - _NAMES} more" if len(some) > _NAMES else ""
    return ", ".join(some[:_NAMES]) + more
