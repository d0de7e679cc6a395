"""The rule files that a Prometheus, Thanos, Mimir or vmalert loads: recording rules and alerts."""

from __future__ import annotations

import json
from typing import Any

import yaml

from superpod_dcgm.monitoring import alerts, jobstats, ownership, recording

RECORDING = "superpod-dcgm-recording.yml"
JOBSTATS = "superpod-dcgm-jobstats.yml"
ALERTS = "superpod-dcgm-alerts.yml"


def rule_files(configuration: dict[str, Any]) -> dict[str, str]:
    """
    Return the text of each rule file by its name; none where the pillar wants no rules.

    :param configuration: the resolved configuration: ``rules``, and of ``metrics`` and ``job_map`` what tells jobs.
    """
    rules, found = configuration["rules"], dict[str, list[dict[str, Any]]]()
    if rules["enabled"]:
        found[RECORDING] = recording.groups(settings(configuration))
    if rules["enabled"] and rules["jobstats"] and owners(configuration):
        found[JOBSTATS] = jobstats.groups()
    if groups := alerts.groups(configuration):
        found[ALERTS] = groups
    return {name: _text(groups) for name, groups in found.items()}


def settings(configuration: dict[str, Any]) -> recording.Settings:
    """Return what the recording rules depend on; see ``rule_files``."""
    rules = configuration["rules"]
    return recording.Settings(
        owners=owners(configuration),
        idle_ratio=rules["idle_utilization"] / 100,
        idle_watts=rules["idle_power"],
    )


def owners(configuration: dict[str, Any]) -> str:
    """Return from where it is known who holds a GPU: ``info``, ``label``, or ``""`` where nothing tells."""
    job_map = configuration["job_map"]
    if configuration["metrics"]["enabled"] and job_map["users"]:
        return "info"
    return "label" if job_map["label"] else ""


def _text(groups: list[dict[str, Any]]) -> str:
    # A pillar's mappings are of a kind of Salt's own.
    plain = json.loads(json.dumps({"groups": groups}))
    text: str = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1 << 16)
    return f"{ownership.MARK}: edit the pillar, not this file.\n{text}"


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as a block, as people write it."""


def _block(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _block)
