"""What no schema can say of Grafana: one sentence per contradiction."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from superpod_dcgm.base import paths

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
# Sections and names of grafana.ini that other keys of the pillar set, or that hold for all sites.
_SET = {
    "server": {
        **{"protocol": "tls", "http_addr": "address", "http_port": "port", "root_url": "root_url"},
        **{"serve_from_sub_path": "serve_from_sub_path", "cert_file": "tls", "cert_key": "tls"},
    },
    "security": {"admin_password": "", "secret_key": ""},
    "paths": dict.fromkeys(("data", "logs", "plugins", "provisioning"), ""),
}
_SECRET = ("password", "secret", "token", "private_key", "passphrase")


def errors(merged: dict[str, Any]) -> Iterator[str]:
    """Yield one sentence per contradiction of these keys."""
    grafana = merged["grafana"]
    if not grafana["enabled"]:
        return
    source = grafana["data_source"]
    yield from _halves(source, "data_source:", "user", "password_file")
    yield from _own(grafana, merged["prometheus"]) if grafana["mode"] == "own" else _existing(grafana)


def _halves(section: dict[str, Any], key: str, one: str, other: str) -> Iterator[str]:
    for empty, given in ((one, other), (other, one)):
        if section[given] and not section[empty]:
            yield f"dcgm:grafana:{key}{empty}: it is empty, and {given} needs it; give both or none"


def _own(grafana: dict[str, Any], prometheus: dict[str, Any]) -> Iterator[str]:
    yield from _halves(grafana["tls"], "tls:", "certificate", "key")
    yield from _halves(grafana, "", "package_file", "package_sha256")
    yield from _halves(grafana["repository"], "repository:", "url", "key")
    source = grafana["data_source"]
    if not source["url"] and prometheus["web"]["user"] and not source["user"]:
        yield (
            "dcgm:grafana:data_source:user: it is empty, and dcgm:prometheus:web:user gives Prometheus' page a "
            "password; "
            "give user and password_file, which the group grafana can read"
        )
    if grafana["root_url"].startswith("https:") and not grafana["tls"]["certificate"] and not _behind(grafana):
        yield (
            "dcgm:grafana:root_url: people shall come by https, and Grafana has no TLS of its own; give tls, or "
            "an address "
            "at which a proxy with TLS finds it (127.0.0.1)"
        )
    yield from _settings(grafana["settings"])


def _behind(grafana: dict[str, Any]) -> bool:
    return grafana["address"] in _LOOPBACK


def _settings(settings: dict[str, Any]) -> Iterator[str]:
    for section, names in settings.items():
        for name, value in names.items():
            key, text = f"dcgm:grafana:settings:{section}:{name}", str(value)
            if isinstance(value, (dict, list)) or "\n" in text:
                yield f"{key}: {value!r} is not allowed; it must be text of one line, a number, true or false"
            elif name in _SET.get(section, {}):
                other = _SET[section][name]
                hint = f"use dcgm:grafana:{other}" if other else "it is set by this project"
                yield f"{key}: it cannot be set here; {hint}"
            elif (
                any(word in name for word in _SECRET)
                and text
                and not text.startswith("$__file{")
                and not _is_plain(value)
            ):
                yield f"{key}: the pillar is no place for a secret; put it into a file and give $__file{{/path}}"


def _is_plain(value: Any) -> bool:
    """Numbers and switches, such as ``hide_password: true``, are no secrets."""
    return isinstance(value, (bool, int, float)) or str(value).lower() in ("true", "false")


def _existing(grafana: dict[str, Any]) -> Iterator[str]:
    for key in ("url", "token_file"):
        if not grafana[key]:
            yield f"dcgm:grafana:{key}: it is empty, and mode existing needs it; give it"
    if urlsplit(grafana["url"]).scheme == "http" and urlsplit(grafana["url"]).hostname not in _LOOPBACK:
        yield (
            f"dcgm:grafana:url: {grafana['url']} would send the token in clear over the network; give an https "
            "address, "
            "with ca where its authority is your own"
        )
    if os.path.normpath(grafana["token_file"] or "/").startswith(f"{paths.GRAFANA_DASHBOARDS}/"):
        yield f"dcgm:grafana:token_file: {grafana['token_file']} lies among dashboards; choose another place"
