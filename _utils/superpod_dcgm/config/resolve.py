"""From pillar to configuration: merged with the defaults, validated, checked for contradictions."""

from __future__ import annotations

import copy
from typing import Any

from superpod_dcgm.config import releases
from superpod_dcgm.config import schema as validator

# Taken on every BCM node or head.
_FOREIGN_PORTS = {5555: "the DCGM host engine", 8081: "BCM's CMDaemon"}


class ConfigurationError(ValueError):
    """The pillar is not usable. Its text has one sentence per error."""


def merge(defaults: dict[str, Any], pillar: dict[str, Any]) -> dict[str, Any]:
    """Return ``defaults`` with the values of ``pillar`` put over them; mappings are merged, lists are replaced."""
    merged = copy.deepcopy(defaults)
    for key, value in pillar.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def configuration(
    defaults: dict[str, Any], schema: dict[str, Any], compatibility: dict[str, Any], pillar: Any
) -> dict[str, Any]:
    """
    Return the whole configuration: every key of the defaults with the pillar's value where it has one.

    Between the two stands what ``slurm:layout`` presets.

    ``exporter.facts`` is added: what is known of the release, with ``commit`` and Go version filled in.

    :raises ConfigurationError: names every wrong key, its value, and what is allowed.
    """
    if wrong := validator.errors(pillar, schema, "dcgm"):
        raise ConfigurationError("\n".join(wrong))
    layout = pillar.get("slurm", {}).get("layout", defaults["slurm"]["layout"])
    merged = merge(merge(defaults, {"slurm": compatibility["layouts"][layout]}), pillar)
    if wrong := _contradictions(merged, compatibility):
        raise ConfigurationError("\n".join(wrong))
    facts = releases.facts(merged["exporter"]["release"], compatibility)
    facts["commit"] = merged["exporter"]["commit"] or facts["commit"]
    merged["exporter"]["facts"] = facts
    merged["go"]["version"] = merged["go"]["version"] or facts["go"]
    known = compatibility["go"].get(merged["go"]["version"], {})
    merged["go"]["sha256"] = {**known, **merged["go"]["sha256"]}
    return merged


def _contradictions(merged: dict[str, Any], compatibility: dict[str, Any]) -> list[str]:
    """Return what no schema can say: values that are allowed alone and not together."""
    found = []
    exporter = merged["exporter"]
    if exporter["port"] in _FOREIGN_PORTS:
        found.append(
            f"dcgm:exporter:port: {exporter['port']} belongs to {_FOREIGN_PORTS[exporter['port']]}; choose another"
        )
    metrics = merged["metrics"]["port"]
    if metrics == exporter["port"] or metrics in _FOREIGN_PORTS:
        owner = _FOREIGN_PORTS.get(metrics, "the exporter")
        found.append(f"dcgm:metrics:port: {metrics} belongs to {owner}; choose another")
    try:
        releases.facts(exporter["release"], compatibility)
    except ValueError as exc:
        found.append(f"dcgm:exporter:release: {exc}")
    watcher = merged["watcher"]
    if bool(watcher["user"]) != bool(watcher["password_file"]):
        found.append("dcgm:watcher:user: basic authentication needs both user and password_file")
    if not watcher["user"] and bool(watcher["certificate"]) != bool(watcher["key"]):
        found.append("dcgm:watcher:key: a client certificate needs both certificate and key")
    names: dict[int, str] = {}
    for name, number in merged["users"].items():
        if names.setdefault(number, name) != name:
            found.append(f"dcgm:users:{name}: {number} is that of dcgm:users:{names[number]}; give each its own")
    if merged["targets"]["address"] == "fqdn" and not merged["targets"]["domain"]:
        found.append("dcgm:targets:domain: it is empty, and targets:address: fqdn needs it; give the nodes' DNS domain")
    if merged["slurm"]["prolog_link"] == merged["slurm"]["epilog_link"]:
        found.append(f"dcgm:slurm:epilog_link: {merged['slurm']['epilog_link']!r} is the prolog's; give another path")
    return found


def build_errors(configuration: dict[str, Any], arch: str) -> list[str]:
    """Return what is missing to build on this machine of architecture ``arch`` (amd64, arm64)."""
    go, exporter = configuration["go"], configuration["exporter"]
    found = []
    if not exporter["facts"]["commit"]:
        release = exporter["release"]
        found.append(
            f"dcgm:exporter:commit: the commit of release {release} is not known; give its 40 hexadecimal digits"
        )
    if go["enabled"] and go["method"] == "archive" and arch not in go["sha256"]:
        found.append(
            f"dcgm:go:sha256:{arch}: the SHA-256 of Go {go['version']} is not known; "
            "give the one that go.dev/dl publishes"
        )
    return found
