"""Which system users a machine needs, as the states of ``dcgm_user`` take them."""

from __future__ import annotations

import os
from typing import Any

from superpod_dcgm.base import paths, systemd


def needed(configuration: dict[str, Any], remote: bool, builds_here: bool) -> list[dict[str, Any]]:
    """
    Return name, number, key and title of each user that a node needs.

    :param remote: whether the exporter uses a host engine; with one of its own it runs as root.
    :param builds_here: whether this node builds the exporter.
    """
    own_server = configuration["metrics"]["enabled"] and not configuration["metrics"]["textfile_directory"]
    wanted = {"exporter": remote, "agent": own_server, "build": builds_here}
    return [user for user in all_of_a_node(configuration) if wanted[user["key"].rpartition(":")[2]]]


def of_monitoring(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the user of our Prometheus."""
    return _users(configuration, {"prometheus": (paths.PROMETHEUS_USER, "Prometheus of superpod-dcgm-exporter")})


def of_head(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the user who serves the watcher's metrics on a head: the one who serves a node's."""
    return [user for user in all_of_a_node(configuration) if user["name"] == paths.AGENT_USER]


def of_a_node_alone(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the users that a node gives up; on a machine that is head, too, one of them may have work there."""
    keep = [paths.AGENT_USER] if _is_there(paths.HEAD_METRICS_UNIT) else []
    return [user for user in all_of_a_node(configuration) if user["name"] not in keep]


def of_head_alone(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the users that a head gives up; none on a machine that is a node, too, or where none had work."""
    is_left = _is_there(paths.HEAD_METRICS_UNIT) and not _is_there(paths.TEXTFILE_UNIT)
    return of_head(configuration) if is_left else []


def _is_there(unit: str) -> bool:
    return os.path.lexists(os.path.join(systemd.DIRECTORIES[0], unit))


def all_of_a_node(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return all users that this project may have made on a node."""
    known = {
        "exporter": (configuration["exporter"]["user"], "NVIDIA dcgm-exporter"),
        "agent": (paths.AGENT_USER, "Metrics of the job map"),
        "build": (paths.BUILD_USER, "Builds dcgm-exporter"),
    }
    return _users(configuration, known)


def _users(configuration: dict[str, Any], known: dict[str, tuple[str, str]]) -> list[dict[str, Any]]:
    return [
        {"name": name, "number": configuration["users"][key], "key": f"dcgm:users:{key}", "title": title}
        for key, (name, title) in known.items()
    ]
