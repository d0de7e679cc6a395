"""The whole judgement on the pillar of this master: what is wrong with it, or what a deployment would mean."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import salt.fileserver
import salt.pillar
import salt.utils.minions
import salt.utils.yaml
from salt.exceptions import CommandExecutionError

from superpod_dcgm.base import paths
from superpod_dcgm.fleet import accepted, check, pillar_text

# Pillars of minions that are rendered: so many show that somebody gets another one.
_PILLARS = 40
# The configuration of a pillar; a ValueError has one sentence per line of what is wrong with it.
Resolve = Callable[[Any], dict[str, Any]]


def served(opts: dict[str, Any], names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """
    Return the contents of our YAML files as this master's file server has them.

    :raises CommandExecutionError: one is not served.
    """
    files = salt.fileserver.Fileserver(opts)
    content = {}
    for name in names:
        path = files.find_file(f"dcgm/{name}.yaml", "base").get("path")
        if not path:
            raise CommandExecutionError(
                f"salt://dcgm/{name}.yaml is not served by this master: add the folder salt/ of superpod-dcgm-exporter "
                "to its file_roots and restart it"
            )
        with open(path, encoding="utf-8") as stream:
            content[name] = salt.utils.yaml.safe_load(stream)
    return content


def reader(opts: dict[str, Any]) -> Callable[[str], str | None]:
    """Return a function that returns the text of a file by its salt:// address; None where the master has none."""

    def read(address: str) -> str | None:
        path = salt.fileserver.Fileserver(opts).find_file(address.removeprefix("salt://"), "base").get("path")
        if not path:
            return None
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()

    return read


def judged(
    opts: dict[str, Any], resolve: Resolve, missing_to_build: Callable[[dict[str, Any], str], list[str]]
) -> tuple[list[str], list[str]]:
    """
    Return the problems, one sentence each, and in a few lines what a deployment would mean where there are none.

    :param opts: the options of the master.
    :param missing_to_build: what is missing for a build of a configuration for an architecture.
    """
    own = accepted.own_minion(opts)
    compiled = pillar(opts, own)
    roots = [str(root) for found in opts["pillar_roots"].values() for root in found]
    if errors := compiled.get("_errors"):
        return pillar_text.errors(errors, roots), []
    if "dcgm" not in compiled:
        return [f"The pillar of {own} has no `dcgm`: give it one in top.sls of {', '.join(roots)}"], []
    try:
        configuration = resolve(compiled["dcgm"])
    except ValueError as exc:
        return str(exc).splitlines(), []
    hosts, exporter = configuration["hosts"], configuration["exporter"]
    fleet = accepted.fleet(opts, hosts)
    builds = exporter["enabled"] and exporter["method"] == "build"
    main = opts["conf_file"]
    parts = sorted(glob.glob(os.path.join(os.path.dirname(main), "master.d", "*.conf")))
    found = [
        *check.problems(hosts, fleet, builds),
        *_of_others(opts, resolve, compiled["dcgm"], fleet),
        *(_of_builds(configuration, fleet, missing_to_build) if builds else []),
        *check.unkept_returns(configuration, opts),
        *check.on_this_head(configuration, [main, *parts], paths.WATCHER_MASTER_CONFIG),
    ]
    return found, check.plan(configuration, fleet)


def pillar(opts: dict[str, Any], minion: str) -> dict[str, Any]:
    """Return the pillar of a minion as the master would send it, with ``_errors`` where it cannot be rendered."""
    _, grains, _ = salt.utils.minions.get_minion_data(minion, opts)
    # By default the master keeps the reason from minions; its administrator asks here.
    told = {**opts, "pillar_safe_render_error": False}
    compiled: dict[str, Any] = salt.pillar.Pillar(told, grains or {"id": minion}, minion, "base").compile_pillar()
    return compiled


def _of_others(opts: dict[str, Any], resolve: Resolve, known: Any, fleet: check.Fleet) -> Iterator[str]:
    """What is wrong with the pillars of the others: some of them may get another, or none."""
    judged_already = {repr(known)}
    others = sorted({name for names in fleet.matched.values() for name in names} - {fleet.own})
    for minion in others[:_PILLARS]:
        compiled = pillar(opts, minion)
        other = compiled.get("dcgm")
        if compiled.get("_errors"):
            roots = [str(root) for found in opts["pillar_roots"].values() for root in found]
            yield f"The pillar of {minion} cannot be rendered: {pillar_text.errors(compiled['_errors'], roots)[0]}"
        elif other is None:
            yield f"The pillar of {minion} has no `dcgm`: give it one in the top.sls of the pillar"
        elif repr(other) not in judged_already:
            judged_already.add(repr(other))
            try:
                resolve(other)
            except ValueError as exc:
                yield from (f"{minion}: {line}" for line in str(exc).splitlines())


def _of_builds(
    configuration: dict[str, Any], fleet: check.Fleet, missing: Callable[[dict[str, Any], str], list[str]]
) -> list[str]:
    """What the builders would miss."""
    builders = fleet.matched["builder"] or fleet.matched["nodes"]
    known = sorted({fleet.architectures[name] for name in builders if name in fleet.architectures}) or ["amd64"]
    return list(dict.fromkeys(line for arch in known for line in missing(configuration, arch)))
