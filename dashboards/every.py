"""All dashboards, and where their JSON lies."""

from __future__ import annotations

from pathlib import Path

from dashboards import cluster, fleet, health, job, node, users

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "salt/dcgm/grafana/files"
BOARDS = (cluster.BOARD, node.BOARD, job.BOARD, users.BOARD, health.BOARD, fleet.BOARD)


def texts() -> dict[str, str]:
    """Return the JSON of all dashboards by name of its file."""
    return {f"{board.uid}.json": board.text() for board in BOARDS}
