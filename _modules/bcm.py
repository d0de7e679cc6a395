"""
BCM roles on a node: what the watcher on the master delivers, and what it means here.

The master's snapshot travels over Salt's own bus, so that no node holds a BCM credential.
"""

from __future__ import annotations

import os
from typing import Any

import salt.config
import superpod_paths
import superpod_roles
import superpod_snapshot
from salt.exceptions import CommandExecutionError


def deliver(nodes: dict[str, dict[str, Any]], seq: int) -> dict[str, Any]:
    """
    Store this node's roles, and refresh its grains if they are new; ``dcgm.orch.roles_changed`` calls it.

    :param nodes: ``{name: {"roles": [...], "category": ...}}``, by host name or minion id in short or long form.
    :param seq: number of the change set.
    :raises CommandExecutionError: this node is not among them, or the record cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' bcm.deliver '{"dgx-01": {"roles": ["slurmclient"], "category": "dgx"}}' 1
    """
    by_name = {superpod_roles.short(name): entry for name, entry in nodes.items()}
    name = next((name for name in _names() if name in by_name), None)
    if name is None:
        raise CommandExecutionError(f"No roles were delivered for this node, which is called {' or '.join(_names())}")
    try:
        changed = superpod_roles.store(_file(), by_name[name], seq, superpod_snapshot.timestamp())
    except (OSError, ValueError) as exc:
        raise CommandExecutionError(f"The roles of this node cannot be stored: {exc}") from exc
    if changed:
        # Not the pillar: a render per node for something that every state run renders anyway.
        __salt__["saltutil.refresh_grains"](refresh_pillar=False)
    return {"changed": changed, "roles": sorted(by_name[name]["roles"])}


def roles() -> dict[str, Any]:
    """
    Return what was last delivered to this node: roles, category, since, updated, seq; empty when nothing was.

    CLI Example:

    .. code-block:: bash

        salt '*dgx*' bcm.roles
    """
    return superpod_roles.read(_file()) or {}


def health(roles_settings: dict[str, Any]) -> dict[str, Any]:
    """
    Return this node's line in a report: roles, release, whether the exporter should run and does.

    :param roles_settings: the section ``roles`` of the configuration.

    CLI Example:

    .. code-block:: bash

        salt '*dgx*' bcm.health '{"source": "bcm", "run_on": ["slurmclient"]}'
    """
    record = superpod_roles.read(_file())
    runs = __salt__["service.status"](superpod_paths.UNIT)
    wanted = superpod_roles.wanted(roles_settings, record)
    release = os.path.basename(os.path.realpath(superpod_paths.EXPORTER_CURRENT))
    return {
        "roles": record["roles"] if record else None,
        "wanted": wanted,
        "service": "running" if runs else "stopped",
        "release": release if os.path.islink(superpod_paths.EXPORTER_CURRENT) else None,
        "right": wanted in ("unknown", "running" if runs else "stopped"),
    }


def master_user() -> str:
    """
    Return the user that the Salt master of this machine runs as: packaged masters are not root.

    CLI Example:

    .. code-block:: bash

        salt 'bcm-01' bcm.master_user
    """
    path = os.path.join(os.path.dirname(__opts__["conf_file"]), "master")
    return salt.config.master_config(path)["user"]


def watcher_settings(configuration: dict[str, Any]) -> dict[str, Any]:
    """
    Return what the watcher on the master has to know of the configuration; ``dcgm.watcher`` writes it to a file.

    :param configuration: what ``dcgm_config.resolve`` returns.

    CLI Example:

    .. code-block:: bash

        salt 'bcm-01' slsutil.renderer salt://dcgm/watcher/config.sls
    """
    paths, build = configuration["paths"], configuration["exporter"]["build"]
    return {
        **{key: configuration[key] for key in ("cluster", "hosts", "roles", "targets")},
        "watcher": {
            **{key: value for key, value in configuration["watcher"].items() if key not in ("enabled", "master")},
            "ca": paths["watcher_ca"],
        },
        "exporter": {key: configuration["exporter"][key] for key in ("enabled", "port")},
        "metrics": {
            "served": configuration["metrics"]["enabled"]
            and configuration["slurm"]["enabled"]
            and not configuration["metrics"]["textfile_directory"],
            "port": configuration["metrics"]["port"],
        },
        "longest_apply": configuration["watcher"]["deadline"] + build["timeout"] + build["wait"],
        "snapshot": paths["snapshot"],
        "states": {"changed": "dcgm.exporter.service", "started": "dcgm"},
    }


def _names() -> list[str]:
    return list(dict.fromkeys(superpod_roles.short(name) for name in (__grains__["id"], __grains__["host"])))


def _file() -> str:
    return __opts__.get("superpod_dcgm_roles", superpod_paths.ROLES_FILE)
