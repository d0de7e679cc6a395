"""Which system users a node needs, as the states of ``dcgm_user`` take them."""

from __future__ import annotations

from typing import Any

from superpod_dcgm.base import paths


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
