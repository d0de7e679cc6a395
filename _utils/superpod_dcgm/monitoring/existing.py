"""A Prometheus that others run: whether it includes our scrape configuration, and has targets by it."""

from __future__ import annotations

import fnmatch
import json
from typing import Any

import yaml

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring import server


def sentence(path: str, directory: str) -> str:
    """Return what its administrator has to do."""
    return (
        f"Add `scrape_config_files: [{path}]` to the configuration of this host's Prometheus (2.43 or newer; for older "
        f"ones copy the jobs into scrape_configs), let it read {directory}, and reload it"
    )


def includes(port: int, path: str) -> bool | None:
    """Return whether the Prometheus on ``port`` has our jobs, or None if it cannot be asked."""
    status, text = server.fetch(port, "/api/v1/status/config")
    if status != 200:
        return None
    try:
        found = yaml.safe_load(json.loads(text)["data"]["yaml"])
    except (ValueError, KeyError, TypeError, AttributeError, yaml.YAMLError):
        return None
    patterns = _list(found, "scrape_config_files")
    jobs = {job.get("job_name") for job in _list(found, "scrape_configs") if isinstance(job, dict)}
    return any(fnmatch.fnmatch(path, str(pattern)) for pattern in patterns) or paths.SCRAPE_JOBS[0] in jobs


def _list(found: Any, key: str) -> list[Any]:
    value = found.get(key) if isinstance(found, dict) else None
    return value if isinstance(value, list) else []


def targets(port: int) -> int:
    """Return how many targets the Prometheus on ``port`` has of the exporters; 0 if it cannot be asked."""
    status, text = server.fetch(port, "/api/v1/targets?state=active")
    try:
        active = json.loads(text)["data"]["activeTargets"] if status == 200 else []
        return sum(target["labels"].get("job") == paths.SCRAPE_JOBS[0] for target in active)
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0
