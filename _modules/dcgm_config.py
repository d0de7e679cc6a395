"""
Configuration of superpod-dcgm-exporter on a minion.

Every SLS of the namespace ``dcgm`` reads its configuration through this module, so that a wrong pillar stops
rendering with one sentence per error, before anything is changed.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import salt.config
import salt.utils.yaml
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import paths
from superpod_dcgm.config import applied as applied_before
from superpod_dcgm.config import counters, derive, grafana, releases, scrape
from superpod_dcgm.config import resolve as pillar_over_defaults
from superpod_dcgm.exporter import counters as counters_file
from superpod_dcgm.exporter import installed
from superpod_dcgm.monitoring import alerts as alert_rules

# Given by Salt's loader.
__context__: dict[str, Any]
__grains__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_FILES = ("defaults", "schema", "compatibility")
_COPIES = (
    *("utils/superpod_dcgm", "runners/bcm.py", "runners/dcgm.py", "engines/bcm_watcher.py"),
    *("output/bcm_status.py", "output/dcgm_devices.py", "output/dcgm_releases.py"),
)
_ANSWER = "superpod_dcgm.configuration"
_RUN = "superpod_dcgm.files"
# A run of states renders within seconds. This is for a process that lives on and asks again.
_FILES_SECONDS = 10.0


def resolve(
    pillar: dict[str, Any] | None, saltenv: str = "base", last_applied: dict[str, Any] | None = None
) -> dict[str, Any]:
    """
    Return the configuration of this minion: defaults, pillar, fixed paths (``paths``) and all that follows from them.

    Called from ``dcgm/map.jinja`` with the pillar's real values: within a module, Salt 3008 masks them. Every SLS asks;
    the answer is made once per run, and again when the pillar or one of the files differs.

    :param saltenv: where the tree is that asks.
    :param last_applied: the configuration with which the watcher repairs this node; it counts in place of the pillar,
        which gives the values of secrets only.
    :raises CommandExecutionError: the pillar is not usable; one sentence per error.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_config.resolve '{"cluster": "pod-1"}'
    """
    run = _files(saltenv)
    state = [(path, os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in run["paths"]]
    # A run is known by what its loader carries: what a machine has installed may be another in the next.
    key = (id(run), repr(pillar), repr(last_applied), state)
    known: dict[str, Any] | None = __context__.get(_ANSWER)
    if known is None or known["key"] != key:
        found = _configuration(pillar or {}, last_applied, *map(_read, run["paths"]))
        known = {"key": key, "run": run, "configuration": found, "repair": last_applied}
        __context__[_ANSWER] = known
    configuration: dict[str, Any] = known["configuration"]
    return configuration


def _files(saltenv: str) -> dict[str, Any]:
    """Return this minion's copies of the three files; the master is asked for newer ones once per run."""
    known: dict[str, Any] = __opts__.setdefault(_RUN, {}).setdefault(saltenv, {"paths": [], "asked": float("-inf")})
    # A minion without a master reads its own disk.
    patience = _FILES_SECONDS if __opts__.get("file_client") == "remote" else 0.0
    if time.monotonic() - known["asked"] > patience:
        known["paths"] = [__salt__["cp.cache_file"](f"salt://dcgm/{name}.yaml", saltenv) for name in _FILES]
        known["asked"] = time.monotonic()
        if not all(known["paths"]):
            missing = [name for name, path in zip(_FILES, known["paths"], strict=True) if not path]
            del __opts__[_RUN][saltenv]
            raise CommandExecutionError(f"salt://dcgm/{missing[0]}.yaml is not on the file server (saltenv {saltenv})")
    return known


def _read(path: str) -> dict[str, Any]:
    with open(path, encoding="utf-8") as stream:
        content: dict[str, Any] = salt.utils.yaml.safe_load(stream)
    return content


def _configuration(
    pillar: dict[str, Any],
    last_applied: dict[str, Any] | None,
    defaults: dict[str, Any],
    schema: dict[str, Any],
    compatibility: dict[str, Any],
) -> dict[str, Any]:
    what = "The pillar `dcgm`" if last_applied is None else "The configuration of the last apply"
    try:
        wanted = pillar if last_applied is None else applied_before.whole(last_applied, pillar)
        found = pillar_over_defaults.configuration(defaults, schema, compatibility, wanted)
    except pillar_over_defaults.ConfigurationError as exc:
        raise CommandExecutionError(f"{what} cannot be used:\n{exc}") from exc
    match = found["hosts"]["builder"]
    node = derive.node(found, architecture(), not match or __salt__["match.compound"](match), sys.executable)
    monitoring = found["hosts"]["monitoring"]
    named = bool(monitoring) and __salt__["match.compound"](monitoring)
    if named:
        found["exporter"]["facts"]["own_names"] = _names(found["exporter"]["counters"])
    if node["builds_here"] and (missing := pillar_over_defaults.build_errors(found, node["arch"])):
        raise CommandExecutionError("The pillar `dcgm` cannot be used:\n" + "\n".join(missing))
    return {
        **found,
        "paths": paths.exported(),
        "node": {**node, **grafana.monitoring(found, named)},
        "head": derive.head(found),
        "scripts": derive.scripts(found["slurm"]),
        "prometheus_files": scrape.files(found),
        "grafana_files": grafana.files(found),
        "alerts_left_out": alert_rules.comment(found),
        "shared_storage": derive.shared_storage(found),
        "master": derive.master(found["watcher"]),
        "watcher_settings": derive.watcher_settings(found),
    }


def _names(file: str) -> list[str]:
    """Return the names in a counters file of the site that the master serves; of any other nothing is known here."""
    text = __salt__["cp.get_file_str"](file) if file.startswith("salt://") else ""
    return [row.name for row in counters_file.rows(text)] if text else []


def applied() -> dict[str, Any]:
    """
    Return what is to be kept of the configuration of this run of states.

    ``digest``, ``configuration``, ``secrets`` (their keys), ``places``: what the run puts on this node, and ``repair``:
    whether the watcher made the run. A repair keeps the configuration that it was given, and so its digest.

    :raises CommandExecutionError: nothing was rendered in this run.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_config.applied
    """
    known: dict[str, Any] = __context__.get(_ANSWER) or {}
    if not known:
        raise CommandExecutionError("dcgm_config.applied is for a run of states: nothing was rendered here")
    found = known["configuration"]
    record = applied_before.record(found, _read(known["run"]["paths"][_FILES.index("defaults")]))
    if known["repair"] is not None:
        record.update(configuration=known["repair"], digest=applied_before.digest(known["repair"]))
    return {**record, "places": found["node"]["places"], "repair": known["repair"] is not None}


def unmatched(pillar: Any, saltenv: str = "base") -> dict[str, Any]:
    """
    Return in ``comment`` why no key of ``dcgm:hosts`` matches this minion, and in ``left`` the states that remove what
    is left of monitoring.

    :param pillar: what the pillar has as ``dcgm``, if anything.
    :param saltenv: where the tree is that asks.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_config.unmatched '{"hosts": {"nodes": "gpu-*"}}'
    """
    minion = __grains__["id"]
    try:
        found = resolve({} if pillar is None else pillar, saltenv)
    except CommandExecutionError as exc:
        return {"comment": str(exc), "left": []}
    keys = ", ".join(f"{key} is {match!r}" for key, match in found["hosts"].items())
    comment = f"No key of dcgm:hosts in the pillar matches this minion, {minion}: {keys}"
    if pillar is None:
        comment = (
            f"The pillar of this minion, {minion}, has no `dcgm`: give it one in the top.sls of your pillar "
            f"(pillar/top.sls is an example). By the defaults, {keys}"
        )
    hint = "`salt-run dcgm.check` on the head judges the whole pillar"
    return {"comment": f"{comment}. {hint}", "left": found["node"]["left"]}


def job_map_conf(wanted: dict[str, str], release: str, label: bool, saltenv: str = "base") -> dict[str, str]:
    """
    Return job-map.conf for the exporter that runs: the release before if an upgrade failed.

    :param wanted: job-map.conf for the release of the pillar.
    :param release: that release.
    :param label: whether the exporter reads the map.
    :param saltenv: where the tree is that asks.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_config.job_map_conf '{idle: empty, mig: "yes"}' 4.5.3-4.8.2 True
    """
    current = installed.linked_release()
    if __opts__.get("test") or current in (None, release):
        return wanted
    try:
        facts = releases.facts(current, _read(_files(saltenv)["paths"][_FILES.index("compatibility")]))
    except ValueError:
        return wanted
    return {**wanted, **derive.of_release(facts, label)}


def field_names(release: str, saltenv: str = "base") -> list[str]:
    """
    Return the names that a counters file of a release may have; nothing where its source was never read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_config.field_names 4.5.3-4.8.2
    """
    facts = releases.facts(release, _read(_files(saltenv)["paths"][_FILES.index("compatibility")]))
    path = __salt__["cp.cache_file"]("salt://dcgm/fields.yaml", saltenv)
    return sorted(counters.names(release, facts, _read(path))) if path else []


def project_checkout() -> str:
    """
    Return the folder ``dcgm-exporter`` beside the Salt master's file root, for a minion on the master's machine.

    It need not exist; without a file root of this project on this machine the answer is empty.

    CLI Example:

    .. code-block:: bash

        salt 'head' dcgm_config.project_checkout
    """
    # conf_file of a minion lies beside the master's.
    master = os.path.join(os.path.dirname(__opts__["conf_file"]), "master")
    if not os.path.isfile(master):
        return ""
    for roots in salt.config.master_config(master)["file_roots"].values():
        for root in roots:
            if os.path.isfile(os.path.join(root, "dcgm", "defaults.yaml")):
                return os.path.join(os.path.dirname(os.path.realpath(root)), "dcgm-exporter")
    return ""


def synced_copies() -> list[str]:
    """
    Return where ``salt-run saltutil.sync_all`` copies this project's code to on the master of this machine.

    Salt imports that copy before any other: left there, it would be older than the deployed one some day.

    CLI Example:

    .. code-block:: bash

        salt 'bcm-01' dcgm_config.synced_copies
    """
    master = os.path.join(os.path.dirname(__opts__["conf_file"]), "master")
    folder = salt.config.master_config(master)["extension_modules"]
    return [os.path.join(folder, copy) for copy in _COPIES]


def architecture() -> str:
    """
    Return this node's architecture as Go and the artifact store call it: ``amd64`` or ``arm64``.

    :raises CommandExecutionError: another architecture, for which dcgm-exporter is not built.

    CLI Example:

    .. code-block:: bash

        salt '*' dcgm_config.architecture
    """
    machine = __grains__["cpuarch"]
    if machine not in _ARCHITECTURES:
        raise CommandExecutionError(
            f"The architecture {machine!r} is not supported; dcgm-exporter runs on x86_64 and aarch64"
        )
    return _ARCHITECTURES[machine]
