"""The files that Prometheus reads, as text: YAML without anchors, with our mark, fit for a version."""

from __future__ import annotations

import json
from typing import Any

import yaml

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring.version import FALLBACK, Version

# First words of every file of ours that is not JSON.
MARK = "# Managed by Salt (dcgm.prometheus)"
# What a page without Content-Type is read as. The exporter's has none while it has no rows.
_PROTOCOL = "PrometheusText0.0.4"


def text(content: dict[str, Any]) -> str:
    """Return the text of a file of ours with this content."""
    return f"{MARK}: edit the pillar, not this file.\n{plain(content)}"


class _Indented(yaml.SafeDumper):
    """Indents lists below their keys, as people do and yamllint wants it."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def plain(content: dict[str, Any]) -> str:
    """Return a content as YAML without anchors."""
    # A pillar's mappings are of a kind of Salt's own.
    bare = json.loads(json.dumps(content))
    dumped: str = yaml.dump(bare, Dumper=_Indented, sort_keys=False, default_flow_style=False)
    return dumped


def fit(content: dict[str, Any], version: Version) -> dict[str, Any]:
    """
    Return a configuration as a version of Prometheus takes it.

    :param version: ``()`` where it is not known: without what older ones would refuse.
    """
    if version < FALLBACK:
        return content
    jobs = [_with_fallback(job) if job.get("job_name") in paths.SCRAPE_NAMES else job for job in _jobs(content)]
    return {**content, "scrape_configs": jobs}


def _jobs(content: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = content.get("scrape_configs", [])
    return found


def _with_fallback(job: dict[str, Any]) -> dict[str, Any]:
    return {**job, "fallback_scrape_protocol": _PROTOCOL}


def web_config(certificate: str, key: str, user: str, password_hash: str) -> dict[str, Any]:
    """Return the content of a web configuration as Prometheus and exporters read it; nothing where all is empty."""
    found: dict[str, Any] = {}
    if certificate:
        found["tls_server_config"] = {"cert_file": certificate, "key_file": key}
    if user:
        found["basic_auth_users"] = {user: password_hash}
    return found
