"""
Configuration of superpod-dcgm-exporter on a minion.

Every SLS of the namespace ``dcgm`` reads its settings through this module, so that a wrong pillar stops
rendering with one sentence per error, before anything is changed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import salt.config
import superpod_build
import superpod_checkout
import superpod_config
import superpod_exporter
import superpod_job_settings
import superpod_paths
import superpod_release
from salt.exceptions import CommandExecutionError

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def resolve(
    defaults: dict[str, Any], schema: dict[str, Any], compatibility: dict[str, Any], pillar: dict[str, Any] | None
) -> dict[str, Any]:
    """
    Return the configuration of this minion: defaults, pillar, fixed paths (``paths``) and what this node is (``node``).

    Called from ``dcgm/map.jinja`` with the pillar's real values: within a module, Salt 3008 masks them.

    :raises CommandExecutionError: the pillar is not usable; one sentence per error.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' slsutil.renderer salt://dcgm/map.jinja
    """
    try:
        configuration = superpod_config.settings(defaults, schema, compatibility, pillar or {})
    except superpod_config.ConfigurationError as exc:
        raise CommandExecutionError(f"The pillar `dcgm` cannot be used:\n{exc}") from exc
    configuration["paths"] = superpod_paths.exported()
    configuration["node"] = _node(configuration)
    return configuration


def _node(configuration: dict[str, Any]) -> dict[str, Any]:
    exporter, go = configuration["exporter"], configuration["go"]
    arch = architecture()
    engine = superpod_exporter.engine(exporter)
    builds_here = _builds_here(configuration, arch)
    bundle = superpod_checkout.bundle(exporter["store"], exporter["facts"]["commit"])
    node = {
        "arch": arch,
        "engine": engine,
        "environment": superpod_exporter.environment(exporter, _labelled_from(configuration), engine["mode"]),
        "job_map": superpod_job_settings.lines(configuration),
        "python": superpod_job_settings.python(sys.executable),
        "metrics_url": superpod_exporter.metrics_url(exporter),
        "artifact": superpod_release.artifact_directory(exporter["store"], exporter["release"], arch),
        "builds_here": builds_here,
        "wait": exporter["build"]["wait"] if exporter["method"] == "build" and not builds_here else 0,
        "bundle": bundle,
        "source": superpod_checkout.choose(exporter["source"], bundle),
        "go": superpod_build.go_prefix(go),
        "go_source": go["source"].format(version=go["version"], arch=arch),
    }
    if builds_here and (missing := superpod_config.build_errors(configuration, arch)):
        raise CommandExecutionError("The pillar `dcgm` cannot be used:\n" + "\n".join(missing))
    return node


def _labelled_from(configuration: dict[str, Any]) -> str:
    job_map = configuration["job_map"]
    return job_map["directory"] if job_map["label"] else ""


def _builds_here(configuration: dict[str, Any], arch: str) -> bool:
    exporter, builder = configuration["exporter"], configuration["hosts"]["builder"]
    if not exporter["enabled"] or exporter["method"] != "build":
        return False
    if builder and not __salt__["match.compound"](builder):
        return False
    return not superpod_release.is_stored(exporter["store"], exporter["release"], arch, exporter["facts"]["commit"])


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
