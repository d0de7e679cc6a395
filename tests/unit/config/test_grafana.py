"""What Grafana is told follows from the pillar: closed, quiet, with the scrape interval; contradictions are "
"sentences."""

from __future__ import annotations

import configparser
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.base import paths
from superpod_dcgm.config import grafana, resolve, scrape

OWN = {"enabled": True}
EXISTING = {"enabled": True, "mode": "existing", "url": "https://grafana", "token_file": "/root/token"}


@pytest.fixture(scope="module")
def configured(repository: Path) -> Any:
    names = ("defaults", "schema", "compatibility")
    parts = [yaml.safe_load((repository / f"salt/dcgm/{name}.yaml").read_text()) for name in names]

    def configure(keys: dict[str, Any], **more: Any) -> Any:
        return resolve.configuration(*parts, {"hosts": {"monitoring": "mon"}, "grafana": keys, **more})

    return configure


def ini(text: str) -> configparser.ConfigParser:
    found = configparser.ConfigParser(interpolation=None)
    found.read_string(text)
    return found


def test_our_own_grafana_is_closed_and_quiet(configured: Any) -> None:
    files = grafana.files(configured(OWN))
    found = ini(files["texts"][paths.GRAFANA_INI])
    assert found["security"]["admin_password"] == "$__file{/etc/superpod-grafana/admin-password}"
    assert found["security"]["secret_key"] == "$__file{/etc/superpod-grafana/secret-key}"
    off = {
        "auth.anonymous": ["enabled"],
        "users": ["allow_sign_up"],
        "analytics": ["reporting_enabled", "check_for_updates", "check_for_plugin_updates"],
        "snapshots": ["external_enabled"],
        "news": ["news_feed_enabled"],
    }
    assert {found[section][name] for section, names in off.items() for name in names} == {"false"}
    assert found["security"]["disable_gravatar"] == "true"
    assert (found["server"]["http_addr"], found["server"]["http_port"]) == ("127.0.0.1", "3000")
    assert found["dashboards"]["min_refresh_interval"] == "30s"


def test_data_source_and_folder_are_provided(configured: Any) -> None:
    texts = grafana.files(configured(OWN))["texts"]
    source = yaml.safe_load(texts[paths.GRAFANA_SOURCES_FILE])
    (one,) = source["datasources"]
    assert (one["url"], one["jsonData"]["timeInterval"], one["editable"]) == ("http://127.0.0.1:9090", "30s", False)
    assert source["prune"] is True
    (provider,) = yaml.safe_load(texts[paths.GRAFANA_PROVIDER_FILE])["providers"]
    assert (provider["folderUid"], provider["options"]["path"]) == ("superpod-dcgm", paths.GRAFANA_DASHBOARDS)


def test_a_password_of_prometheus_comes_from_a_file(configured: Any) -> None:
    source = {"url": "https://mon:9090", "user": "grafana", "password_file": "/etc/p", "ca": "/etc/ca", "name": "a b"}
    files = grafana.files(configured({**OWN, "data_source": source}))
    (one,) = yaml.safe_load(files["texts"][paths.GRAFANA_SOURCES_FILE])["datasources"]
    assert one["secureJsonData"] == {"basicAuthPassword": "$__file{/etc/p}", "tlsCACert": "$__file{/etc/ca}"}
    assert (one["basicAuth"], one["basicAuthUser"], one["jsonData"]["tlsAuthWithCACert"]) == (True, "grafana", True)
    assert (files["places"], files["secrets"]) == (["/etc/p", "/etc/ca"], ["/etc/p"])


def test_by_the_api_the_data_source_has_our_mark_and_no_secret(configured: Any) -> None:
    files = grafana.files(configured({**EXISTING, "data_source": {"url": "https://mon:9090"}}))
    assert files["settings"]["jsonData"]["managedBy"] == "superpod-dcgm"
    assert {"uid", "secureJsonData", "isDefault"} & files["settings"].keys() == set()


def test_tls_and_sub_path_are_set_and_asked_by(configured: Any) -> None:
    tls = {"certificate": "/etc/crt", "key": "/etc/key"}
    files = grafana.files(configured({**OWN, "address": "", "tls": tls, "root_url": "https://mon/grafana/"}))
    server = ini(files["texts"][paths.GRAFANA_INI])["server"]
    assert (server["protocol"], server["cert_key"], server["serve_from_sub_path"]) == ("https", "/etc/key", "true")
    assert files["page"] == {"port": 3000, "host": "127.0.0.1", "tls": True, "ca": "/etc/crt", "prefix": "/grafana"}
    stripped = configured({**OWN, "root_url": "https://mon/grafana/", "serve_from_sub_path": False})
    assert grafana.files(stripped)["page"]["prefix"] == ""


def test_settings_of_the_site_go_in(configured: Any) -> None:
    settings = {"auth.ldap": {"enabled": True}, "smtp": {"password": "$__file{/etc/smtp}", "port": 25}}
    found = ini(grafana.files(configured({**OWN, "settings": settings}))["texts"][paths.GRAFANA_INI])
    assert (found["auth.ldap"]["enabled"], found["smtp"]["password"]) == ("true", "$__file{/etc/smtp}")


# keys: words of the one sentence
WRONG = {
    "no address": ({**EXISTING, "url": ""}, "dcgm:grafana:url: it is empty"),
    "no token": ({**EXISTING, "token_file": ""}, "dcgm:grafana:token_file: it is empty"),
    "a token in clear": ({**EXISTING, "url": "http://grafana:3000"}, "would send the token in clear"),
    "a password in an address": ({**EXISTING, "url": "https://a:b@grafana"}, "without user or password"),
    "half of TLS": ({**OWN, "tls": {"certificate": "/x"}}, "dcgm:grafana:tls:key: it is empty"),
    "a file without checksum": ({**OWN, "package_file": "/g.deb"}, "dcgm:grafana:package_sha256: it is empty"),
    "a repository without key": ({**OWN, "repository": {"url": "https://x"}}, "dcgm:grafana:repository:key"),
    "half of a user": ({**OWN, "data_source": {"user": "x"}}, "dcgm:grafana:data_source:password_file"),
    "https by nobody": ({**OWN, "root_url": "https://mon/", "address": ""}, "dcgm:grafana:root_url: people shall"),
    "a secret": ({**OWN, "settings": {"smtp": {"password": "x"}}}, "the pillar is no place for a secret"),
    "a key of ours": ({**OWN, "settings": {"server": {"http_port": 1}}}, "use dcgm:grafana:port"),
    "our password": ({**OWN, "settings": {"security": {"admin_password": "$__file{/x}"}}}, "it is set by this project"),
    "two lines": ({**OWN, "settings": {"smtp": {"host": "a\nb"}}}, "it must be text of one line"),
    "a port that is taken": ({**OWN, "port": 9090}, "9090 belongs to our Prometheus"),
    "a uid that is too long": ({**OWN, "folder": {"uid": "x" * 41}}, "at most 40 letters"),
}


@pytest.mark.parametrize(("keys", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_contradiction_is_one_sentence(configured: Any, keys: dict[str, Any], words: str) -> None:
    with pytest.raises(resolve.ConfigurationError) as caught:
        configured(keys)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value).replace("a\\nb", "")


def test_a_password_of_our_prometheus_asks_for_one_of_grafana(configured: Any) -> None:
    web = {"user": "a", "hash": f"$2y$10${'x' * 53}", "password_file": "/root/p"}
    with pytest.raises(resolve.ConfigurationError, match="dcgm:grafana:data_source:user"):
        configured(OWN, prometheus={"web": web})


def test_nothing_is_judged_where_grafana_is_off(configured: Any) -> None:
    assert configured({"mode": "existing", "tls": {"certificate": "/x"}})["grafana"]["enabled"] is False


# what: (keys, prometheus:enabled, whether this host is named, whether ours is there), (states of Grafana, what is left)
OWN_STATES = [f"dcgm.grafana.{part}" for part in ("install", "config", "service", "superseded")]
MONITORING = {
    "off and nothing there": (({}, True, True, False), ([], [])),
    "own": ((OWN, True, True, True), (OWN_STATES, [])),
    "existing": ((EXISTING, True, True, True), (["dcgm.grafana.existing"], [])),
    "off and left": (({}, True, True, True), (["dcgm.grafana.clean"], ["dcgm.grafana.clean"])),
    "wanted elsewhere": ((OWN, True, False, True), (["dcgm.grafana.clean"], ["dcgm.grafana.clean"])),
    "wanted elsewhere, not there": ((OWN, True, False, False), ([], [])),
    "without Prometheus": ((OWN, False, True, False), (OWN_STATES, [])),
}


@pytest.mark.parametrize(("case", "expected"), MONITORING.values(), ids=MONITORING.keys())
def test_states_of_a_machine_follow_from_what_is_wanted_and_left(
    configured: Any, monkeypatch: pytest.MonkeyPatch, case: Any, expected: Any
) -> None:
    keys, enabled, named, there = case
    monkeypatch.setattr(grafana, "left", lambda: there)
    monkeypatch.setattr(scrape, "left", lambda *_: False)
    found = grafana.monitoring(configured(keys, prometheus={"enabled": enabled}), named)
    of_grafana = [name for name in found["prometheus"] if name.startswith("dcgm.grafana")]
    assert (of_grafana, found["left"]) == expected
    assert ("dcgm.prometheus.unnamed" in found["prometheus"]) is not named
    assert found["grafana"] == (expected[0] or ["dcgm.grafana.unnamed"])
