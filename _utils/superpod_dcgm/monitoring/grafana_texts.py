"""The files that our own Grafana reads, as text, and the data source as its API takes it."""

from __future__ import annotations

from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring import grafana_boards, texts

# First words of every file of ours; grafana.ini knows # for a comment, too.
MARK = "# Managed by Salt (dcgm.grafana)"
_FIRST = f"{MARK}: edit the pillar, not this file.\n"
# Ours ask once a minute at most often. Who asks every few seconds would load Prometheus for all.
MIN_REFRESH = "30s"
# Seconds between two looks at the folder of the dashboards.
_LOOK = 30
_SECURE: dict[str, dict[str, Any]] = {
    "users": {"allow_sign_up": False},
    "auth.anonymous": {"enabled": False},
    "analytics": {
        **{"reporting_enabled": False, "check_for_updates": False, "check_for_plugin_updates": False},
        "feedback_links_enabled": False,
    },
    "snapshots": {"external_enabled": False},
    "news": {"news_feed_enabled": False},
    "plugins": {"preinstall_disabled": True},
    "dashboards": {"min_refresh_interval": MIN_REFRESH},
}


def all_of_own(grafana: dict[str, Any], source: dict[str, Any]) -> dict[str, str]:
    """
    Return the files of our own Grafana by path, dashboards apart.

    :param grafana: that section of the configuration.
    :param source: the data source, with what was left empty filled in; ``interval``: how often Prometheus scrapes.
    """
    return {
        paths.GRAFANA_INI: ini(grafana),
        paths.GRAFANA_SOURCES_FILE: _FIRST + texts.plain(_sources(source)),
        paths.GRAFANA_PROVIDER_FILE: _FIRST + texts.plain(_provider(grafana["folder"])),
    }


def ini(grafana: dict[str, Any]) -> str:
    """Return grafana.ini. Secrets are in files of their own; what is not in it stands in the package's defaults."""
    tls = grafana["tls"]
    certificate = {"cert_file": tls["certificate"], "cert_key": tls["key"], "min_tls_version": "TLS1.2"}
    server = {
        **{"protocol": "https" if tls["certificate"] else "http", "http_addr": grafana["address"]},
        "http_port": grafana["port"],
        **({"root_url": grafana["root_url"]} if grafana["root_url"] else {}),
        "serve_from_sub_path": bool(grafana["root_url"]) and grafana["serve_from_sub_path"],
        **(certificate if tls["certificate"] else {}),
    }
    security = {
        **{"admin_user": "admin", "admin_password": _file(paths.GRAFANA_PASSWORD)},
        "secret_key": _file(paths.GRAFANA_SECRET_KEY),
        "cookie_secure": bool(tls["certificate"]) or grafana["root_url"].startswith("https:"),
        "disable_gravatar": True,
    }
    sections: dict[str, dict[str, Any]] = {"server": server, "security": security, **_SECURE}
    for section, names in grafana["settings"].items():
        sections[section] = {**sections.get(section, {}), **names}
    return _FIRST + "".join(_section(name, values) for name, values in sections.items())


def _section(name: str, values: dict[str, Any]) -> str:
    lines = (f"{key} = {_value(value)}\n" for key, value in values.items())
    return f"\n[{name}]\n{''.join(lines)}"


def _value(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _file(path: str) -> str:
    return f"$__file{{{path}}}"


def _literal(text: str) -> str:
    """What stands in a provisioning file is searched for variables."""
    return text.replace("$", "$$")


def _sources(source: dict[str, Any]) -> dict[str, Any]:
    found = {**_plain(source, _literal), "isDefault": True, "editable": False}
    secrets = {"basicAuthPassword": source["password_file"], "tlsCACert": source["ca"]}
    given = {name: _file(path) for name, path in secrets.items() if path}
    return {
        "apiVersion": 1,
        "prune": True,
        "datasources": [{**found, "orgId": 1, **({"secureJsonData": given} if given else {})}],
    }


def by_api(source: dict[str, Any]) -> dict[str, Any]:
    """Return the data source as Grafana's API takes it, without secrets and uid, with our mark."""
    found = _plain(source, str)
    del found["uid"]
    return {**found, "jsonData": {**found["jsonData"], "managedBy": grafana_boards.MARK}}


def _plain(source: dict[str, Any], text: Any) -> dict[str, Any]:
    settings = {
        **{"httpMethod": "POST", "timeInterval": source["interval"], "prometheusType": "Prometheus"},
        **({"tlsAuthWithCACert": True} if source["ca"] else {}),
        **({"serverName": text(source["server_name"])} if source["server_name"] else {}),
    }
    user = {"basicAuth": True, "basicAuthUser": text(source["user"])} if source["user"] else {"basicAuth": False}
    names = {"name": text(source["name"]), "type": "prometheus", "uid": source["uid"], "access": "proxy"}
    return {**names, "url": text(source["url"]), **user, "jsonData": settings}


def _provider(folder: dict[str, str]) -> dict[str, Any]:
    options = {"path": paths.GRAFANA_DASHBOARDS, "foldersFromFilesStructure": False}
    provider = {
        **{"name": grafana_boards.MARK, "orgId": 1, "folder": _literal(folder["title"]), "folderUid": folder["uid"]},
        **{"type": "file", "disableDeletion": False, "allowUiUpdates": False, "updateIntervalSeconds": _LOOK},
        "options": options,
    }
    return {"apiVersion": 1, "providers": [provider]}
