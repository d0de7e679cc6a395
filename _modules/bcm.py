"""
BCM roles on a node: what the watcher on the master delivers, and what it means here.

The master's snapshot travels over Salt's own bus, so that no node holds a BCM credential.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import salt.config
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import names, paths
from superpod_dcgm.base import roles as node_roles

# Given by Salt's loader.
__grains__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


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
    by_name = {names.short(name): entry for name, entry in nodes.items()}
    name = next((name for name in _names() if name in by_name), None)
    if name is None:
        raise CommandExecutionError(f"No roles were delivered for this node, which is called {' or '.join(_names())}")
    try:
        changed = node_roles.store(_file(), by_name[name], seq, names.timestamp())
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
    return node_roles.read(_file()) or {}


def health(roles: dict[str, Any]) -> dict[str, Any]:
    """
    Return this node's line in a report: roles, release, whether the exporter should run and does.

    :param roles: the section ``roles`` of the configuration.

    CLI Example:

    .. code-block:: bash

        salt '*dgx*' bcm.health '{"source": "bcm", "run_on": ["slurmclient"]}'
    """
    record = node_roles.read(_file())
    runs = __salt__["service.status"](paths.UNIT)
    wanted = node_roles.decide(roles, node_roles.names_in(record))
    release = os.path.basename(os.path.realpath(paths.EXPORTER_CURRENT))
    return {
        "roles": record["roles"] if record else None,
        "wanted": wanted,
        "service": "running" if runs else "stopped",
        "release": release if os.path.islink(paths.EXPORTER_CURRENT) else None,
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
    return str(salt.config.master_config(path)["user"])


def _names() -> list[str]:
    return list(dict.fromkeys(names.short(name) for name in (__grains__["id"], __grains__["host"])))


def _file() -> str:
    return str(__opts__.get("superpod_dcgm_roles", paths.ROLES_FILE))
