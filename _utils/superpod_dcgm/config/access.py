"""TLS and users of the exporters' pages and of Prometheus' own: what the keys mean on either side."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from superpod_dcgm.base import ownership, paths
from superpod_dcgm.monitoring import texts

_OWN = ("tls", "basic_auth")
# What a site gives that brings the exporters' web configuration itself.
_OF_WEB_CONFIG = ("ca", "user", "password_file")


def secured(exporter: dict[str, Any]) -> bool:
    """Return whether this project writes the exporters' web configuration, by the section ``exporter``."""
    return bool(exporter["tls"]["certificate"] or exporter["basic_auth"]["user"])


def web_config(exporter: dict[str, Any]) -> str:
    """Return the path of the exporters' web configuration: ours or the site's; ``""`` where there is none."""
    return paths.EXPORTER_WEB if secured(exporter) else str(exporter["web_config"])


def scheme(exporter: dict[str, Any]) -> str:
    """Return how a node asks its own exporter; whether a site's web configuration has TLS is not known here."""
    return "https" if exporter["tls"]["certificate"] or exporter["web_config"] else "http"


def exporter_text(exporter: dict[str, Any]) -> str:
    """Return the exporters' web configuration, ``""`` where it is not ours."""
    tls, users = exporter["tls"], exporter["basic_auth"]
    content = texts.web_config(tls["certificate"], tls["key"], users["user"], users["hash"])
    return f"# {ownership.MARK.decode()}exporter.web.\n{texts.plain(content)}" if content else ""


def prometheus_text(prometheus: dict[str, Any]) -> str:
    """Return the web configuration of our Prometheus' own page, ``""`` where it has none."""
    web = prometheus["web"]
    content = texts.web_config(web["certificate"], web["key"], web["user"], web["hash"])
    return texts.text(content) if content else ""


def page(prometheus: dict[str, Any]) -> dict[str, Any]:
    """Return how the Prometheus of this host is asked, as ``monitoring.page.Page`` takes it."""
    web = prometheus["web"]
    own = prometheus["mode"] == "own"
    # Who has the certificate needs no authority to know it by.
    ca = web["ca"] or (web["certificate"] if own else "")
    names = {name: web[name] for name in ("user", "password_file")}
    return {"port": prometheus["port"], "tls": bool(ca), "ca": ca, **names}


def client(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return by what Prometheus gets at the exporters, as entries of a job of its configuration."""
    exporter, prometheus = configuration["exporter"], configuration["prometheus"]
    tls, users = exporter["tls"], exporter["basic_auth"]
    if not secured(exporter):
        tls = {"ca": prometheus["ca"], "server_name": ""}
        users = {name: prometheus[name] for name in ("user", "password_file")}
    names = {"ca_file": tls["ca"], "server_name": tls["server_name"]}
    settings = {name: value for name, value in names.items() if value}
    own = "https" if exporter["tls"]["certificate"] else "http"
    return {
        "scheme": own if secured(exporter) else prometheus["scheme"],
        **({"tls_config": settings} if settings else {}),
        **(
            {"basic_auth": {"username": users["user"], "password_file": users["password_file"]}}
            if users["user"]
            else {}
        ),
    }


def errors(merged: dict[str, Any]) -> Iterator[str]:
    """Yield one sentence per contradiction of these keys."""
    exporter, prometheus = merged["exporter"], merged["prometheus"]
    yield from _halves(exporter["tls"], "dcgm:exporter:tls", {"certificate": "key", "key": "certificate"})
    yield from _halves(exporter["basic_auth"], "dcgm:exporter:basic_auth", {"user": "hash", "hash": "user"})
    yield from _halves(prometheus["web"], "dcgm:prometheus:web", {"certificate": "key", "key": "certificate"})
    yield from _halves(prometheus, "dcgm:prometheus", {"user": "password_file", "password_file": "user"})
    pairs: dict[str, Any] = {"user": ("password_file",), "password_file": ("user",)}
    if prometheus["mode"] == "own":
        pairs = {"user": ("hash", "password_file"), "hash": ("user",), "password_file": ("user",)}
    yield from _halves(prometheus["web"], "dcgm:prometheus:web", pairs)
    if not secured(exporter):
        yield from _needless(exporter)
        return
    if exporter["web_config"]:
        yield (
            f"dcgm:exporter:web_config: {exporter['web_config']} is the site's own, and dcgm:exporter:tls or "
            "basic_auth make one; give either the file or these keys"
        )
    for key in _OF_WEB_CONFIG:
        if prometheus[key]:
            yield (
                f"dcgm:prometheus:{key}: it goes with exporter:web_config; with dcgm:exporter:tls and basic_auth give "
                "tls:ca and basic_auth:password_file there"
            )
    used = prometheus["enabled"] and merged["hosts"]["monitoring"]
    if used and exporter["basic_auth"]["user"] and not exporter["basic_auth"]["password_file"]:
        yield (
            "dcgm:exporter:basic_auth:password_file: it is empty; give the file on the monitoring host from which "
            "Prometheus takes the password"
        )


def _needless(exporter: dict[str, Any]) -> Iterator[str]:
    for key, names in {"tls": ("ca", "server_name"), "basic_auth": ("password_file",)}.items():
        for name in names:
            if exporter[key][name] and not (exporter[key].get("key") or exporter[key].get("hash")):
                first = "certificate and key" if key == "tls" else "user and hash"
                yield f"dcgm:exporter:{key}:{name}: {exporter[key][name]!r} means nothing without {first}; give them"


def _halves(section: dict[str, Any], key: str, pairs: dict[str, Any]) -> Iterator[str]:
    for name, others in pairs.items():
        for other in [others] if isinstance(others, str) else others:
            if section[name] and not section[other]:
                yield f"{key}:{other}: it is empty, and {name} needs it; give both or none"
