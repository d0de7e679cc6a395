"""TLS and a password of the exporters, by one set of keys: nodes and Prometheus take them, nobody else gets a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from own_prometheus import Pillar, apply, failed
from product import FOLLOWING, NODES, Cluster

pytestmark = pytest.mark.usefixtures("deployed")
SHARED = "/cm/shared/lab-tls"
CERTIFICATE, KEY = "/etc/lab-tls/node.crt", "/etc/lab-tls/node.key"
WEB = "/etc/dcgm-exporter/web-config.yml"
WRITING = "Write the web configuration of dcgm-exporter"
# The password "secret" under bcrypt.
HASH = "$2b$04$jRj.wlutGJbsgD4Q1JpHEezoRGycE3rEMJ7ezLBuz3Kt9qIe3AQga"
# A site's authority, and one certificate for all nodes.
AUTHORITY = f"""
umask 022; mkdir -p {SHARED}; cd {SHARED}
openssl req -x509 -newkey rsa:2048 -nodes -days 9 -subj /CN=authority -keyout ca.key -out ca.crt 2>&1
openssl req -newkey rsa:2048 -nodes -subj /CN=gpu.pod -keyout node.key -out node.csr 2>&1
echo subjectAltName=DNS:gpu.pod > names
openssl x509 -req -in node.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 9 -extfile names -out node.crt 2>&1
printf 'secret\\n' > /etc/prometheus/lab-password
chgrp superpod-prometheus /etc/prometheus/lab-password; chmod 640 /etc/prometheus/lab-password
"""
PUT = f"""
umask 077; mkdir -p /etc/lab-tls; chmod 755 /etc/lab-tls; cp {SHARED}/node.crt {SHARED}/node.key /etc/lab-tls/
chmod 644 {CERTIFICATE}; chmod 640 {KEY}; chgrp dcgm-exporter {KEY}
"""
TLS = {"certificate": CERTIFICATE, "key": KEY, "ca": f"{SHARED}/ca.crt", "server_name": "gpu.pod"}
USERS = {"user": "prometheus", "hash": HASH, "password_file": "/etc/prometheus/lab-password"}


@pytest.fixture(scope="module")
def pillar(cluster: Cluster) -> Iterator[Pillar]:
    """The lab's pillar; nodes and head are as it says before and after."""
    of_lab = Pillar(cluster)
    cluster.shell("head", AUTHORITY)
    for node in NODES:
        cluster.shell(node, PUT)
    yield of_lab
    of_lab.restore()
    everywhere(cluster)
    for node in NODES:
        cluster.shell(node, "rm -r /etc/lab-tls")
    cluster.shell("head", f"rm -r {SHARED} /etc/prometheus/lab-password")
    cluster.wait("Prometheus scrapes the nodes", lambda: all(cluster.up(node) for node in NODES))


def everywhere(cluster: Cluster) -> None:
    """Apply to nodes and head."""
    cluster.apply("dgx-*").succeeded()
    assert failed(apply(cluster)[0]) == []


def page(cluster: Cluster, scheme: str, user: str = "") -> int:
    options = ["--cacert", f"{SHARED}/ca.crt", "--connect-to", "gpu.pod:9400:dgx-01:9400"]
    return cluster.lab.http(f"{scheme}://gpu.pod:9400/metrics", *options, *(["-u", user] if user else []))[0]


def said(applied: Any, node: str, state: str) -> str:
    found: str = applied.states(node)[state]["comment"]
    return found


def test_a_key_that_everybody_can_read_stops_it_before_anything_is_changed(cluster: Cluster, pillar: Pillar) -> None:
    pillar.set(exporter={"tls": TLS, "basic_auth": USERS})
    before = cluster.started("dgx-01")
    cluster.shell("dgx-01", f"chmod 644 {KEY}")
    applied = cluster.apply("dgx-01")
    assert said(applied, "dgx-01", WRITING) == (
        f"dcgm:exporter:tls:key: {KEY} can be read by everybody; take that right away (chmod o-r)"
    )
    cluster.shell("dgx-01", f"chmod 600 {KEY}")
    applied = cluster.apply("dgx-01")
    assert "cannot be read by the user dcgm-exporter" in said(applied, "dgx-01", WRITING)
    cluster.shell("dgx-01", f"chmod 640 {KEY}")
    assert cluster.started("dgx-01") == before
    assert cluster.shell("dgx-01", f"ls {WEB} 2>/dev/null || true") == ""


def test_nodes_and_prometheus_take_tls_and_password_by_the_same_keys(cluster: Cluster, pillar: Pillar) -> None:
    pillar.set(exporter={"tls": TLS, "basic_auth": USERS})
    applied = cluster.apply("dgx-*")
    applied.succeeded()
    assert HASH not in json.dumps(applied.answers)
    assert failed(apply(cluster)[0]) == []
    assert page(cluster, "https") == 401
    assert page(cluster, "https", "prometheus:wrong") == 401
    assert page(cluster, "https", "prometheus:secret") == 200
    assert page(cluster, "http", "prometheus:secret") == 400
    assert cluster.shell("dgx-01", f"stat -c '%U:%G %a' {WEB}") == "root:dcgm-exporter 640"
    assert HASH not in cluster.shell("dgx-01", "cat /var/lib/superpod-dcgm/applied.json")

    def scraped() -> bool:
        status, body = cluster.lab.http("http://head:9090/api/v1/targets?state=active")
        targets = json.loads(body)["data"]["activeTargets"] if status == 200 else []
        ours = [target for target in targets if target["labels"]["job"] == "dcgm-exporter"]
        return len(ours) == 2 and all(t["health"] == "up" and t["scrapeUrl"].startswith("https:") for t in ours)

    cluster.wait("Prometheus scrapes the nodes by TLS", scraped)
    # The certificate is one of nine days.
    left = "superpod_dcgm_exporter_certificate_expiry_timestamp_seconds / 86400 - time() / 86400"
    cluster.wait("nodes tell when it expires", lambda: len(cluster.lab.prometheus(f"8.9 < {left} < 9")) == 2)
    alert = 'ALERTS{alertname="SuperpodExporterCertificateExpires", alertstate="pending"}'
    cluster.wait("which is soon", lambda: len(cluster.lab.prometheus(alert)) == 2)
    again = cluster.apply("dgx-*")
    assert {node: again.changed(node) for node in NODES} == {node: set() for node in NODES}


def test_a_repair_brings_the_web_configuration_back_with_the_hash_of_the_pillar(
    cluster: Cluster, pillar: Pillar
) -> None:
    cluster.shell("dgx-02", f"rm {WEB}")
    cluster.shell("head", "salt-run bcm.sync dgx-02 >/dev/null 2>&1 || true")
    there = f"grep -c {HASH[-20:]} {WEB} 2>/dev/null || true"
    cluster.wait("dgx-02 is repaired", lambda: cluster.shell("dgx-02", there) == "1", 180)
    cluster.wait("Prometheus scrapes dgx-02", lambda: cluster.up("dgx-02"), 120)


def test_a_certificate_that_is_cut_off_stops_it(cluster: Cluster, pillar: Pillar) -> None:
    before = cluster.shell("dgx-01", f"sha256sum {WEB}")
    cluster.shell("dgx-01", f"cp -p {CERTIFICATE} /root/node.crt; head -c 300 /root/node.crt > {CERTIFICATE}")
    pillar.set(exporter={"tls": TLS, "basic_auth": {**USERS, "user": "other"}})
    applied = cluster.apply("dgx-01")
    assert "are no pair of a certificate and its key" in said(applied, "dgx-01", WRITING)
    cluster.shell("dgx-01", f"cp -p /root/node.crt {CERTIFICATE}; rm /root/node.crt")
    assert cluster.shell("dgx-01", f"sha256sum {WEB}") == before


def test_without_the_keys_all_is_plain_again_and_the_file_gone(cluster: Cluster, pillar: Pillar) -> None:
    pillar.restore()
    applied = cluster.apply("dgx-*")
    applied.succeeded()
    assert FOLLOWING in applied.changed("dgx-01")
    assert cluster.shell("dgx-01", f"ls {WEB} 2>/dev/null || true") == ""
    assert failed(apply(cluster)[0]) == []
    assert page(cluster, "http") == 200
    cluster.wait("Prometheus scrapes the nodes", lambda: all(cluster.up(node) for node in NODES))
