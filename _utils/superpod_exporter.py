"""What is known of dcgm-exporter releases (facts: salt/dcgm/compatibility.yaml) and of the engines they talk to."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import superpod_paths

# Where units of packages and of the administrator lie (systemd.unit(5)).
UNIT_DIRECTORIES = ("/etc/systemd/system", "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")


def version(text: str) -> tuple[int, ...]:
    """
    Return the exporter's own version in a release tag: the part after the dash where DCGM's stands before it.

    Tags carry the exporter version only from 4.8.4 on: ``4.5.3-4.8.2`` and ``4.8.2`` are the same exporter.
    """
    numbers = re.findall(r"\d+\.\d+\.\d+", text)
    return tuple(int(part) for part in numbers[-1].split(".")) if numbers else ()


def facts(release: str, compatibility: dict[str, Any]) -> dict[str, Any]:
    """
    Return what compatibility.yaml says of ``release``, and ``known``: whether it is listed.

    A release that is not listed behaves as the newest listed one before it; its commit is not known.

    :raises ValueError: it is older than every listed release.
    """
    releases: dict[str, dict[str, Any]] = compatibility["releases"]
    if release in releases:
        return {**releases[release], "known": True}
    older = [name for name in releases if version(name) <= version(release)]
    if not older:
        oldest = min(releases, key=version)
        raise ValueError(f"{release!r} is older than {oldest}, the first release with job mapping")
    return {**releases[max(older, key=version)], "commit": "", "known": False}


def installed_unit(units: Iterable[str]) -> str:
    """Return the first of ``units`` that is installed and not masked on this machine, or ``""``."""
    for unit in units:
        files = [path for folder in UNIT_DIRECTORIES if os.path.lexists(path := os.path.join(folder, unit))]
        if files and os.path.realpath(files[0]) != "/dev/null":
            return unit
    return ""


def engine(settings: dict[str, Any]) -> dict[str, str]:
    """
    Return ``{"mode": "remote" | "embedded", "unit": …}`` for the ``exporter`` settings on this machine.

    Two engines on one node are not supported by NVIDIA (NVIDIA/DCGM#108): ``auto`` is remote when a known
    engine is installed, whether or not it listens at this moment.
    """
    unit = installed_unit(settings["engine_units"])
    mode = settings["engine"]
    if mode == "auto":
        mode = "remote" if unit else "embedded"
    return {"mode": mode, "unit": unit}


def environment(settings: dict[str, Any], job_map: str, mode: str) -> dict[str, str]:
    """
    Return the environment of the service, sorted by name; ``exporter:environment`` of the pillar wins.

    :param job_map: the directory of the job map; empty for metrics without the label ``hpc_job``.

    The names belong to upstream's flags (NVIDIA/dcgm-exporter, pkg/cmd/app.go).
    """
    values = {
        "DCGM_EXPORTER_COLLECTORS": superpod_paths.EXPORTER_COUNTERS,
        "DCGM_EXPORTER_INTERVAL": str(settings["interval"]),
        "DCGM_EXPORTER_LISTEN": f"{settings['address']}:{settings['port']}",
    }
    if job_map:
        values["DCGM_HPC_JOB_MAPPING_DIR"] = job_map
    if mode == "remote":
        values["DCGM_REMOTE_HOSTENGINE_INFO"] = settings["engine_address"]
    if settings["web_config"]:
        values["DCGM_EXPORTER_WEB_CONFIG_FILE"] = settings["web_config"]
    values.update(settings["environment"])
    return dict(sorted(values.items()))


def metrics_url(settings: dict[str, Any]) -> str:
    """Return the address at which this node's own exporter answers."""
    scheme = "https" if settings["web_config"] else "http"
    address = settings["address"]
    host = "127.0.0.1" if address in ("", "0.0.0.0", "[::]") else address
    return f"{scheme}://{host}:{settings['port']}/metrics"
