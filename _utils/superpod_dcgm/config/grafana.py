"""What Grafana is told, by either way: texts of our own one, and what is put into one of others."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from superpod_dcgm.config import access, scrape
from superpod_dcgm.monitoring import grafana_boards, grafana_existing, grafana_own, grafana_repository, grafana_texts


def wanted(configuration: dict[str, Any], named: bool) -> bool:
    """
    Return whether this machine has to do with Grafana.

    :param named: whether ``hosts:monitoring`` matches it.
    """
    return bool(named and configuration["grafana"]["enabled"])


def states(configuration: dict[str, Any], named: bool) -> list[str]:
    """Return the states that `dcgm.grafana` means on this machine."""
    if not wanted(configuration, named):
        return ["dcgm.grafana.clean" if left() else "dcgm.grafana.unnamed"]
    parts = ("install", "config", "service", "superseded")
    return [f"dcgm.grafana.{part}" for part in (parts if configuration["grafana"]["mode"] == "own" else ("existing",))]


def beside_prometheus(configuration: dict[str, Any], named: bool) -> list[str]:
    """Return the states of Grafana that go with those of Prometheus: what is wanted, or the removal of what is left."""
    return states(configuration, named) if wanted(configuration, named) or left() else []


def monitoring(configuration: dict[str, Any], named: bool) -> dict[str, Any]:
    """Return the states of Prometheus and Grafana here, and those that remove what is left where nobody wants it."""
    first, beside = scrape.states(configuration, named), beside_prometheus(configuration, named)
    is_left = {
        "dcgm.prometheus.clean": scrape.left(configuration, named),
        "dcgm.grafana.clean": not wanted(configuration, named) and left(),
    }
    return {
        # Where only Grafana is wanted, nobody misses Prometheus.
        "prometheus": [*([] if beside and named and first == [scrape.UNNAMED] else first), *beside],
        "grafana": states(configuration, named),
        "left": [name for name, there in is_left.items() if there],
    }


def left() -> bool:
    """Return whether something of ours is on this machine, or noted here of a Grafana of others."""
    return bool(grafana_own.present() or grafana_repository.present() or grafana_existing.record())


def files(configuration: dict[str, Any]) -> dict[str, Any]:
    """
    Return what the states for Grafana write and ask.

    ``texts``: the files of our own Grafana by path; ``page``: how it is asked; ``places`` and ``secrets``: what its
    user must be able to read, and what not everybody may; ``access``, ``settings``: of one of others.
    """
    grafana = configuration["grafana"]
    source = data_source(configuration)
    certificate = grafana["tls"]["certificate"]
    secrets = [path for path in (grafana["data_source"]["password_file"], grafana["tls"]["key"]) if path]
    return {
        "texts": grafana_texts.all_of_own(grafana, source),
        "page": {
            "port": grafana["port"],
            "host": grafana["address"] if grafana["address"] not in ("", "0.0.0.0", "::") else "127.0.0.1",
            "tls": bool(certificate),
            "ca": certificate,
            "prefix": prefix(grafana),
        },
        "places": [path for path in (*secrets, certificate, source["ca"]) if path],
        "secrets": secrets,
        "certificates": [path for path in (certificate, grafana["tls"]["key"]) if path],
        "source_secrets": [path for path in (source["password_file"], source["ca"]) if path],
        "boards": [*grafana_boards.SOURCES, *grafana["dashboards"]],
        "access": {key: grafana[key] for key in ("url", "token_file", "ca", "timeout")},
        "settings": grafana_texts.by_api(source),
        "ca": source["ca"],
        "asks_for": source["uid"] if source["url"] else "",
    }


def prefix(grafana: dict[str, Any]) -> str:
    """Return what the paths of our own Grafana begin with."""
    found = urlsplit(grafana["root_url"]).path.rstrip("/")
    return found if grafana["serve_from_sub_path"] else ""


def data_source(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the data source with what is left empty filled in: our own Grafana has the Prometheus of its host."""
    grafana, prometheus = configuration["grafana"], configuration["prometheus"]
    found = {**grafana["data_source"], "interval": prometheus["scrape_interval"]}
    if not found["url"] and grafana["mode"] == "own":
        page = access.page(prometheus)
        found["url"] = f"http{'s' if page['tls'] else ''}://127.0.0.1:{page['port']}"
        found["ca"] = found["ca"] or page["ca"]
    return found
