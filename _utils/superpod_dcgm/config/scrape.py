"""What Prometheus is told: the jobs by which it scrapes the nodes, its options, and how it is included elsewhere."""

from __future__ import annotations

import copy
import os
import shutil
from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.config import access, contradictions, monitored
from superpod_dcgm.monitoring import alerts, ownership, package, rule_files, rules_installed, texts

# Prometheus 2.53 keeps the last target of a job for ever if its file goes while it reloads
# (prometheus/prometheus#12007). One that is always dropped keeps the list of the job from being empty.
_MARK = "__superpod_dcgm__"
_NOBODY = [{"targets": ["nobody"], "labels": {_MARK: "nobody"}}]
_DROP_NOBODY = {"source_labels": [_MARK], "regex": "nobody", "action": "drop"}
UNNAMED = "dcgm.prometheus.unnamed"
# Of the scrape interval: an exporter may be slow for a while, and its next scrape must not find it busy.
_PATIENCE = 5 / 6


def configs(configuration: dict[str, Any]) -> list[dict[str, Any]]:
    """Return Prometheus' scrape configuration for exporters and own metrics; labels come from the target files."""
    prometheus, directory = configuration["prometheus"], configuration["targets"]["directory"]
    job, own_job, head_job = paths.SCRAPE_JOBS
    exporter = {
        **_scrape(job, prometheus, directory),
        **access.client(configuration),
        # With a remote engine the exporter calls every machine localhost: the name that it gives, where it gives one,
        # is replaced.
        "metric_relabel_configs": [
            {"source_labels": [label, "host"], "regex": ".+;(.+)", "target_label": label}
            for label in ("Hostname", "hostname")
        ],
    }
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
    interval = prometheus["scrape_interval"]
    files = {"files": [f"{directory}/*.json"], "refresh_interval": prometheus["refresh_interval"]}
    name = paths.SCRAPE_NAMES[paths.SCRAPE_JOBS.index(job)]
    # Copies, for which YAML needs no anchors.
    rules = [copy.deepcopy(_DROP_NOBODY)]
    if name != job:
        rules.append({"target_label": "job", "replacement": job})
    return {
        "job_name": name,
        "scrape_interval": interval,
        "scrape_timeout": f"{int(monitored.milliseconds(interval) * _PATIENCE)}ms",
        "file_sd_configs": [files],
        "static_configs": copy.deepcopy(_NOBODY),
        "relabel_configs": rules,
    }


def whole(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the content of the configuration of our own Prometheus, for any version of it."""
    prometheus = configuration["prometheus"]
    labels = prometheus["external_labels"]
    found: dict[str, Any] = {
        "global": {
            "evaluation_interval": prometheus["scrape_interval"],
            **({"external_labels": labels} if labels else {}),
        },
        # Rule files of the site may lie there besides ours.
        "rule_files": [f"{paths.PROMETHEUS_RULES}/*.yml"],
        "scrape_configs": [*configs(configuration), *prometheus["scrape_configs"]],
    }
    if alerting := alerts.alerting(configuration):
        found["alerting"] = alerting
    if prometheus["remote_write"]:
        found["remote_write"] = prometheus["remote_write"]
    return found


def files(configuration: dict[str, Any]) -> dict[str, Any]:
    """
    Return what the states for Prometheus write and ask.

    ``config`` is the content of our own configuration, ``scrape_config`` that of the file that others include, both for
    any version; ``web`` the text of our own web configuration; ``rules`` the rule files by name; ``page`` how it is
    asked; ``rule_paths`` where the rule files are in mode existing; ``places`` what it must read; ``secrets`` files
    that not everybody may read.
    """
    prometheus = configuration["prometheus"]
    # It lies beside the server; a Prometheus of others may be anywhere.
    beside = os.path.join(os.path.dirname(prometheus["program"]), "promtool")
    promtool = beside if os.path.exists(beside) or prometheus["mode"] == "own" else shutil.which("promtool") or ""
    marked = rules_installed.marked(rules(configuration), texts.MARK)
    return {
        "config": texts.text(whole(configuration)),
        "scrape_config": texts.text({"scrape_configs": configs(configuration)}),
        "web": access.prometheus_text(prometheus),
        "rules": marked,
        "rule_paths": [f"{prometheus['rule_directory']}/{name}" for name in marked],
        "promtool": promtool,
        "page": access.page(prometheus),
        "places": _places(configuration),
        "secrets": _secrets(configuration),
    }


def rules(configuration: dict[str, Any]) -> dict[str, str]:
    """Return the text of each rule file by its name."""
    return rule_files.rule_files(configuration)


def _places(configuration: dict[str, Any]) -> list[str]:
    """What the user of Prometheus must be able to read."""
    prometheus, exporter, targets = (configuration[key] for key in ("prometheus", "exporter", "targets"))
    found = [targets["directory"]] if targets["enabled"] else []
    found += [exporter["tls"]["ca"], exporter["basic_auth"]["password_file"]]
    found += [prometheus["ca"], prometheus["password_file"], prometheus["web"]["certificate"], prometheus["web"]["key"]]
    return [path for path in found if path]


def _secrets(configuration: dict[str, Any]) -> list[str]:
    prometheus, exporter = configuration["prometheus"], configuration["exporter"]
    found = [exporter["basic_auth"]["password_file"], prometheus["password_file"]]
    return [path for path in (*found, prometheus["web"]["key"], prometheus["web"]["password_file"]) if path]


def states(configuration: dict[str, Any], named: bool) -> list[str]:
    """
    Return the states that `dcgm.prometheus` means on this machine.

    :param named: whether ``hosts:monitoring`` matches it.
    """
    prometheus = configuration["prometheus"]
    if not (named and prometheus["enabled"]):
        return ["dcgm.prometheus.clean" if left(configuration, named) else UNNAMED]
    parts = ("install", "config", "service", "superseded") if prometheus["mode"] == "own" else ("existing",)
    return [f"dcgm.prometheus.{part}" for part in (*parts, "alerts")]


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
        or rules_installed.of_ours(prometheus["rule_directory"])
    )
