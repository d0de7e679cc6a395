"""What Prometheus is told: the jobs by which it scrapes the nodes, its options, and how it is included elsewhere."""

from __future__ import annotations

import copy
import json
import os
import shutil
from typing import Any

import yaml

from superpod_dcgm.base import paths
from superpod_dcgm.config import contradictions
from superpod_dcgm.monitoring import ownership, package

# Prometheus 2.53 keeps the last target of a job for ever if its file goes while it reloads
# (prometheus/prometheus#12007). One that is always dropped keeps the list of the job from being empty.
_MARK = "__superpod_dcgm__"
_NOBODY = [{"targets": ["nobody"], "labels": {_MARK: "nobody"}}]
_DROP_NOBODY = [{"source_labels": [_MARK], "regex": "nobody", "action": "drop"}]


def configs(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return Prometheus' scrape configuration for exporters and own metrics; labels come from the target files."""
    prometheus, directory = configuration["prometheus"], configuration["targets"]["directory"]
    job, own_job, head_job = paths.SCRAPE_JOBS
    exporter = {
        "scheme": prometheus["scheme"],
        **_scrape(job, prometheus, directory),
        # With a remote engine the exporter calls every machine localhost: the name that it gives, where it gives one,
        # is replaced.
        "metric_relabel_configs": [
            {"source_labels": [label, "host"], "regex": ".+;(.+)", "target_label": label}
            for label in ("Hostname", "hostname")
        ],
    }
    if prometheus["ca"]:
        exporter["tls_config"] = {"ca_file": prometheus["ca"]}
    if prometheus["user"]:
        exporter["basic_auth"] = {"username": prometheus["user"], "password_file": prometheus["password_file"]}
    # Jobs of their own: they have neither TLS nor password.
    served = {
        own_job: contradictions.serves_own_metrics(configuration["metrics"]),
        head_job: contradictions.serves_head_metrics(configuration),
    }
    return [
        exporter,
        *(_scrape(own, prometheus, f"{directory}/{own}") for own, is_served in served.items() if is_served),
    ]


def _scrape(job: str, prometheus: dict[str, Any], directory: str) -> dict[str, Any]:
    files = {"files": [f"{directory}/*.json"], "refresh_interval": prometheus["refresh_interval"]}
    return {
        "job_name": job,
        "scrape_interval": prometheus["scrape_interval"],
        "file_sd_configs": [files],
        # Copies, for which YAML needs no anchors.
        "static_configs": copy.deepcopy(_NOBODY),
        "relabel_configs": copy.deepcopy(_DROP_NOBODY),
    }


def files(configuration: dict[str, Any]) -> dict[str, Any]:
    """
    Return the texts of the files for Prometheus, and the promtool that checks them.

    ``config`` is that of our own, ``scrape_config`` the one that others include; ``places`` are what it must read.
    """
    prometheus, jobs = configuration["prometheus"], configs(configuration)
    # It lies beside the server; a Prometheus of others may be anywhere.
    beside = os.path.join(os.path.dirname(prometheus["program"]), "promtool")
    promtool = beside if os.path.exists(beside) or prometheus["mode"] == "own" else shutil.which("promtool") or ""
    targets = configuration["targets"]["directory"] if configuration["targets"]["enabled"] else ""
    return {
        "config": _text([*jobs, *prometheus["scrape_configs"]]),
        "scrape_config": _text(jobs),
        "promtool": promtool,
        "places": [path for path in (targets, prometheus["ca"], prometheus["password_file"]) if path],
    }


def _text(jobs: list[dict[str, Any]]) -> str:
    # A pillar's mappings are of a kind of Salt's own.
    plain = json.loads(json.dumps(jobs))
    text: str = yaml.safe_dump({"scrape_configs": plain}, sort_keys=False, default_flow_style=False)
    return f"{ownership.MARK}: edit the pillar, not this file.\n{text}"


def states(configuration: dict[str, Any], named: bool) -> list[str]:
    """
    Return the states that `dcgm.prometheus` means on this machine.

    :param named: whether ``hosts:monitoring`` matches it.
    """
    prometheus = configuration["prometheus"]
    if not (named and prometheus["enabled"]):
        return ["dcgm.prometheus.clean" if left(configuration, named) else "dcgm.prometheus.unnamed"]
    parts = ("install", "config", "service") if prometheus["mode"] == "own" else ("existing",)
    return [f"dcgm.prometheus.{part}" for part in parts]


def left(configuration: dict[str, Any], named: bool) -> bool:
    """Return whether something of ours is on this machine that is wanted here no more."""
    prometheus = configuration["prometheus"]
    if named and prometheus["enabled"]:
        return False
    return bool(
        package.present(prometheus["config"])
        or package.is_masked_by_us()
        or ownership.former(f"{prometheus['service']}.service")
        or ownership.is_ours_to_include(prometheus["scrape_config"])
    )
