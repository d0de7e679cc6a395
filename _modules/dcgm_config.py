"""
Configuration of superpod-dcgm-exporter on a minion.

Every SLS of the namespace ``dcgm`` reads its settings through this module, so that a wrong pillar stops
rendering with one sentence per error, before anything is changed.
"""

from __future__ import annotations

import os
from typing import Any

import superpod_config
import superpod_exporter
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
    exporter = configuration["exporter"]
    arch = architecture()
    node = {
        "arch": arch,
        "engine": superpod_exporter.engine(exporter),
        "artifact": superpod_release.artifact_directory(exporter["store"], exporter["release"], arch),
        "builds_here": _builds_here(configuration, arch),
        "metrics_url": superpod_exporter.metrics_url(exporter),
        "go": os.path.join(configuration["go"]["directory"], f"go{configuration['go']['version']}"),
    }
    if node["builds_here"] and (missing := superpod_config.build_errors(configuration, arch)):
        raise CommandExecutionError("The pillar `dcgm` cannot be used:\n" + "\n".join(missing))
    return node


def _builds_here(configuration: dict[str, Any], arch: str) -> bool:
    exporter, builder = configuration["exporter"], configuration["hosts"]["builder"]
    if not exporter["enabled"] or exporter["method"] != "build":
        return False
    if builder and not __salt__["match.compound"](builder):
        return False
    return not superpod_release.is_stored(exporter["store"], exporter["release"], arch, exporter["facts"]["commit"])


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
        raise CommandExecutionError(f"The architecture {machine!r} is not supported; dcgm-exporter runs on x86_64 and aarch64")
    return _ARCHITECTURES[machine]
