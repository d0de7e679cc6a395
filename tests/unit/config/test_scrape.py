"""What Prometheus is told follows from the same keys as what the exporters are told."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import access, applied, derive, resolve, scrape
from superpod_dcgm.monitoring import texts

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)
HASH = f"$2y$05${'a' * 53}"
TLS = {"certificate": "/c.pem", "key": "/k.pem", "ca": "/ca.pem", "server_name": "gpu.pod"}
USERS = {"user": "prom", "hash": HASH, "password_file": "/password"}


def configuration(pillar: dict[str, Any]) -> dict[str, Any]:
    return resolve.configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)


def job(pillar: dict[str, Any]) -> dict[str, Any]:
    return scrape.configs(configuration(pillar))[0]


def test_the_list_of_a_job_is_never_empty_and_nobody_is_scraped() -> None:
    """Prometheus 2.53 would keep the last target for ever (prometheus/prometheus#12007)."""
    for found in scrape.configs(configuration({})):
        (group,) = found["static_configs"]
        rule = found["relabel_configs"][0]
        assert (rule["action"], group["labels"]) == ("drop", {rule["source_labels"][0]: rule["regex"]})


def test_a_job_has_a_name_that_no_site_uses_and_the_label_that_rules_know() -> None:
    found = job({})
    assert found["job_name"] == "superpod-dcgm-exporter"
    assert {"target_label": "job", "replacement": "dcgm-exporter"} in found["relabel_configs"]


@pytest.mark.parametrize(("interval", "timeout"), [("30s", "25000ms"), ("2s", "1666ms"), ("1m", "50000ms")])
def test_a_scrape_may_take_almost_until_the_next(interval: str, timeout: str) -> None:
    assert job({"prometheus": {"scrape_interval": interval}})["scrape_timeout"] == timeout


def test_the_files_for_prometheus_carry_our_mark_and_no_anchors() -> None:
    # As Salt reads a pillar.
    more = OrderedDict({"job_name": "site"})
    files = scrape.files(configuration({"prometheus": {"scrape_configs": [more]}}))
    for name, jobs in {"config": 3, "scrape_config": 2}.items():
        assert files[name].startswith("# Managed by Salt (dcgm.prometheus)")
        assert "&id" not in files[name]
        assert len(yaml.safe_load(files[name])["scrape_configs"]) == jobs


def test_labels_and_remote_write_of_the_site_are_in_our_configuration_only() -> None:
    write = [{"url": "http://far/api/v1/write"}]
    pillar = {"prometheus": {"external_labels": {"site": "a"}, "remote_write": write}}
    files = scrape.files(configuration(pillar))
    found = yaml.safe_load(files["config"])
    assert (found["global"]["external_labels"], found["remote_write"]) == ({"site": "a"}, write)
    assert list(yaml.safe_load(files["scrape_config"])) == ["scrape_configs"]
    assert "remote_write" not in yaml.safe_load(scrape.files(configuration({}))["config"])


# name: (section exporter, the exporters' web configuration, entries of the job)
ALIKE: dict[str, tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "nothing": ({}, {}, {"scheme": "http"}),
    "TLS": (
        {"tls": TLS},
        {"tls_server_config": {"cert_file": "/c.pem", "key_file": "/k.pem"}},
        {"scheme": "https", "tls_config": {"ca_file": "/ca.pem", "server_name": "gpu.pod"}},
    ),
    "TLS by an authority of the system": (
        {"tls": {"certificate": "/c.pem", "key": "/k.pem"}},
        {"tls_server_config": {"cert_file": "/c.pem", "key_file": "/k.pem"}},
        {"scheme": "https"},
    ),
    "a user": (
        {"basic_auth": USERS},
        {"basic_auth_users": {"prom": HASH}},
        {"scheme": "http", "basic_auth": {"username": "prom", "password_file": "/password"}},
    ),
}


@pytest.mark.parametrize(("exporter", "server", "client"), ALIKE.values(), ids=ALIKE.keys())
def test_exporter_and_prometheus_agree(
    exporter: dict[str, Any], server: dict[str, Any], client: dict[str, Any]
) -> None:
    found = configuration({"exporter": exporter})
    assert (yaml.safe_load(access.exporter_text(found["exporter"]) or "{}") or {}) == server
    there = job({"exporter": exporter})
    assert {key: there[key] for key in ("scheme", "tls_config", "basic_auth") if key in there} == client
    scheme = client["scheme"]
    assert derive.metrics_url(found["exporter"]) == f"{scheme}://127.0.0.1:9400/metrics"
    environment = derive.environment(found["exporter"], "", "remote")
    assert environment.get("DCGM_EXPORTER_WEB_CONFIG_FILE", "") == (
        "/etc/dcgm-exporter/web-config.yml" if server else ""
    )


def test_a_site_that_brings_its_own_web_configuration_says_how_prometheus_gets_in() -> None:
    keys = {"scheme": "https", "ca": "/ca", "user": "p", "password_file": "/p"}
    found = job({"exporter": {"web_config": "/etc/site.yml"}, "prometheus": keys})
    assert (found["scheme"], found["tls_config"]) == ("https", {"ca_file": "/ca"})
    assert found["basic_auth"] == {"username": "p", "password_file": "/p"}


def test_our_own_metrics_get_no_password_of_the_exporters() -> None:
    own = scrape.configs(configuration({"exporter": {"tls": TLS, "basic_auth": USERS}}))[1]
    assert not {"scheme", "tls_config", "basic_auth"} & own.keys()


@pytest.mark.parametrize(("version", "there"), [((), False), ((2, 55, 1), False), ((3, 0, 0), True), ((3, 14), True)])
def test_only_prometheus_3_is_told_of_a_fallback_protocol(version: tuple[int, ...], there: bool) -> None:
    more = {"job_name": "site"}
    found = texts.fit(scrape.whole(configuration({"prometheus": {"scrape_configs": [more]}})), version)
    ours, own, theirs = found["scrape_configs"]
    assert ["fallback_scrape_protocol" in each for each in (ours, own, theirs)] == [there, there, False]


def test_what_prometheus_must_read_is_looked_at() -> None:
    web = {"certificate": "/w.pem", "key": "/w.key"}
    found = scrape.files(configuration({"exporter": {"tls": TLS, "basic_auth": USERS}, "prometheus": {"web": web}}))
    assert found["places"][1:] == ["/ca.pem", "/password", "/w.pem", "/w.key"]
    assert found["secrets"] == ["/password", "/w.key"]


# name: (section prometheus, whether TLS is spoken, by which file the certificate is known)
PAGES: dict[str, tuple[dict[str, Any], bool, str]] = {
    "plain": ({}, False, ""),
    "our own certificate": ({"web": {"certificate": "/w.pem", "key": "/w.key"}}, True, "/w.pem"),
    "an authority": ({"web": {"certificate": "/w.pem", "key": "/w.key", "ca": "/ca"}}, True, "/ca"),
    "of others, with TLS": ({"mode": "existing", "web": {"ca": "/ca"}}, True, "/ca"),
    "of others, plain": ({"mode": "existing"}, False, ""),
}


@pytest.mark.parametrize(("prometheus", "tls", "ca"), PAGES.values(), ids=PAGES.keys())
def test_these_states_ask_prometheus_as_it_listens(prometheus: dict[str, Any], tls: bool, ca: str) -> None:
    found = access.page(configuration({"prometheus": prometheus})["prometheus"])
    assert (found["tls"], found["ca"]) == (tls, ca)


def test_the_hash_of_a_password_is_not_kept_with_the_last_apply() -> None:
    found = configuration({"exporter": {"basic_auth": USERS}})
    record = applied.record(found, DEFAULTS)
    assert HASH not in str(record)
    assert record["secrets"] == ["dcgm:exporter:basic_auth:hash"]
    assert record["configuration"]["exporter"]["basic_auth"]["user"] == "prom"
    assert applied.record(configuration({}), DEFAULTS)["secrets"] == []


def test_a_repair_is_no_contradiction_to_what_prometheus_became() -> None:
    hosts = {"monitoring": "m"}
    then = {"hosts": hosts, "exporter": {"interval": 10000}, "prometheus": {"scrape_interval": "10s"}}
    kept = applied.record(configuration(then), DEFAULTS)["configuration"]
    assert configuration(applied.whole(kept, {"hosts": hosts}))["exporter"]["interval"] == 10000


def test_a_node_that_lacks_our_web_configuration_is_repaired() -> None:
    path = "/etc/dcgm-exporter/web-config.yml"
    assert path in derive.places(configuration({"exporter": {"tls": TLS}}))
    assert path not in derive.places(configuration({"exporter": {"web_config": path}}))


def test_alerts_go_to_the_alertmanagers_and_the_rule_files_have_them() -> None:
    found = configuration({"alerts": {"alertmanagers": ["http://mon-01:9093"]}})
    targets = {"scheme": "http", "static_configs": [{"targets": ["mon-01:9093"]}]}
    assert scrape.whole(found)["alerting"] == {"alertmanagers": [targets]}
    assert "alerting" not in scrape.whole(configuration({}))
    assert "alert: SuperpodGpuIdle" in scrape.files(found)["rules"]["superpod-dcgm-alerts.yml"]
