"""What the templates of our own units, the exporter's apart, are written from."""

from __future__ import annotations

from typing import Any

from superpod_dcgm.base import paths


def agent(configuration: dict[str, Any], textfile: str, executable: str) -> dict[str, Any]:
    """Return what the units of the agent are written from."""
    return {
        "python": executable,
        "code": paths.NODE_CODE,
        "user": paths.AGENT_USER,
        "runtime": paths.NODE_RUNTIME,
        "directory": configuration["job_map"]["directory"],
        "textfile": textfile,
        "serves": {
            "state": "dcgm.agent.textfile",
            "title": "Metrics of the job map of dcgm-exporter",
            "name": paths.TEXTFILE_UNIT.removesuffix(".service"),
            "arguments": "",
        },
        "interval": configuration["metrics"]["interval"],
        "seconds": agent_seconds(configuration["limits"]),
        "engine_units": configuration["exporter"]["engine_units"],
    }


def head_metrics(configuration: dict[str, Any], executable: str) -> dict[str, Any]:
    """Return what the unit that serves the watcher's metrics is written from, and its user."""
    return {
        "python": executable,
        "code": f"{paths.WATCHER_CODE}/_utils",
        "user": paths.AGENT_USER,
        "serves": {
            "state": "dcgm.watcher.metrics",
            "title": "Metrics of the watcher of dcgm-exporter's nodes",
            "name": paths.HEAD_METRICS_UNIT.removesuffix(".service"),
            "arguments": f" {paths.HEAD_METRICS} {configuration['head_metrics']['port']}",
        },
    }


def agent_seconds(limits: dict[str, int]) -> dict[str, int]:
    """
    Return how long the agent may work on the device table, and on a whole tick.

    The table takes three answers of nvidia-smi, and one each of systemd, of the files of slurmd, and of slurmd. Each
    gives up by itself, and this is for what cannot even be given up. The controller's answers are bounded elsewhere.
    """
    table = 3 * limits["nvidia_smi"] + 3 * limits["slurmd"] + 5
    return {"table": table, "tick": table + 2 * limits["controller"] + 45}
