"""From pillar to configuration: merged with the defaults, validated, checked for contradictions."""

from __future__ import annotations

import copy
from typing import Any

from superpod_dcgm.config import contradictions, counters, releases
from superpod_dcgm.config import schema as validator


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

    ``exporter.facts`` is added: what is known of the release, with ``commit`` and Go version filled in; what is assumed
    of it (``notice``); and for its counters file the rows to add (``rows``) and names that it calls otherwise
    (``renamed``).

    :raises ConfigurationError: names every wrong key, its value, and what is allowed.
    """
    if wrong := validator.errors(pillar, schema, "dcgm"):
        raise ConfigurationError("\n".join(wrong))
    layout = pillar.get("slurm", {}).get("layout", defaults["slurm"]["layout"])
    merged = merge(merge(defaults, {"slurm": compatibility["layouts"][layout]}), pillar)
    if wrong := contradictions.errors(merged, pillar, compatibility):
        raise ConfigurationError("\n".join(wrong))
    facts = releases.facts(merged["exporter"]["release"], compatibility)
    facts["commit"] = merged["exporter"]["commit"] or facts["commit"]
    facts["notice"] = releases.notice(merged["exporter"]["release"], facts)
    facts["renamed"] = counters.renamed(facts)
    merged["exporter"]["counters"] = merged["exporter"]["counters"] or counters.DEFAULT
    merged["exporter"]["facts"] = facts
    facts["rows"] = counters.rows(merged["exporter"], compatibility)
    merged["go"]["version"] = merged["go"]["version"] or facts["go"]
    known = compatibility["go"].get(merged["go"]["version"], {})
    merged["go"]["sha256"] = {**known, **merged["go"]["sha256"]}
    return merged


def build_errors(configuration: dict[str, Any], arch: str) -> list[str]:
    """Return what is missing to build on this machine of architecture ``arch`` (amd64, arm64)."""
    go, exporter = configuration["go"], configuration["exporter"]
    found = []
    if not exporter["facts"]["commit"]:
        release = exporter["release"]
        found.append(
            f"dcgm:exporter:commit: the commit of release {release} is not known; give its 40 hexadecimal digits"
        )
    if not go["enabled"] or go["method"] != "archive":
        return found
    if not go["version"]:
        found.append(
            f"dcgm:go:version: the release of Go that builds {exporter['release']} is not known; "
            f"give GOLANG_VERSION of its Makefile, and the SHA-256 of its archive in go:sha256:{arch}"
        )
    elif arch not in go["sha256"]:
        found.append(
            f"dcgm:go:sha256:{arch}: the SHA-256 of Go {go['version']} is not known; "
            "give the one that go.dev/dl publishes"
        )
    return found
