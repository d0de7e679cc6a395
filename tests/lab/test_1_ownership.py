"""What others have on a node stays theirs, what an environment says decides nothing, and a failure says why."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest
from product import UNIT, Applied, Cluster

from superpod.lab import Lab
from superpod.lab.layout import HEAD

NODE = "dgx-02"
CHECK = "Check that no other exporter is in the way"
BINARY, COUNTERS = "/usr/bin/dcgm-exporter", "/etc/dcgm-exporter/default-counters.csv"
PACKAGE = "vendor-dcgm-exporter"
# As NVIDIA's and other vendors' packages have them; the counters are a file that administrators edit.
BUILD = f"""set -e; cd $(mktemp -d)
mkdir -p p/DEBIAN p/usr/bin p/etc/dcgm-exporter
printf 'Package: {PACKAGE}\\nVersion: 1\\nArchitecture: all\\nMaintainer: V\\nDescription: V\\n' > p/DEBIAN/control
echo {COUNTERS} > p/DEBIAN/conffiles
printf '#!/bin/sh\\n' > p{BINARY}; chmod 755 p{BINARY}; echo '# default' > p{COUNTERS}
dpkg-deb --build p {PACKAGE}.deb > /dev/null; dpkg -i {PACKAGE}.deb > /dev/null
echo '# edited by the site' >> {COUNTERS}
"""
# All that is there of an exporter, with kind, mode, time and content.
PLACES = "/usr/bin/dcgm-exporter* /etc/dcgm-exporter /opt/dcgm-exporter /etc/systemd/system/dcgm-exporter*"
PICTURE = f"""for place in {PLACES}; do
[ -e $place ] && find $place ! -name job-map.conf -printf '%p %y %m %l ' -type f -exec md5sum {{}} +; done
getent passwd | grep dcgm; true"""


def changed(**exporter: Any) -> dict[str, Any]:
    return {"dcgm": {"exporter": exporter}}


def apply(cluster: Cluster, **exporter: Any) -> Applied:
    return cluster.apply(NODE, "dcgm.exporter", pillar=changed(**exporter) if exporter else None)


@pytest.fixture(scope="module", autouse=True)
def whole(cluster: Cluster, deployed: Lab) -> Iterator[None]:
    """Whatever the tests did, the node is afterwards as the lab deployed it."""
    yield
    cluster.shell(NODE, f"dpkg --purge {PACKAGE}; systemctl enable --now nvidia-dcgm; true")
    # Clean takes the node's roles with it, and nobody delivers the same ones again by himself.
    cluster.lab.exec("head", ["salt-run", "bcm.sync"], check=True)
    cluster.apply(NODE).succeeded()
    cluster.wait("the exporter runs", lambda: cluster.active(NODE))


def test_nothing_of_the_callers_environment_decides(cluster: Cluster) -> None:
    before = cluster.started(NODE)
    leaks = {name: "http://198.18.0.1:3128" for name in ("http_proxy", "https_proxy", "all_proxy")}
    leaks.update(BASH_ENV="/nonexistent", LC_ALL="de_DE.UTF-8", SYSTEMD_PAGER="false", GOFLAGS="-broken", GIT_DIR="/x")
    pillar = shlex.quote('{"dcgm": {"exporter": {"interval": 3000}, "prometheus": {"scrape_interval": "3s"}}}')
    words = " ".join(f"{name}={value}" for name, value in leaks.items())
    cluster.shell(NODE, f"env {words} salt-call --retcode-passthrough state.apply dcgm.exporter pillar={pillar}")
    assert cluster.started(NODE) != before
    assert 'INTERVAL="3000"' in cluster.shell(NODE, "cat /etc/dcgm-exporter/exporter.env")
    apply(cluster).succeeded()


def test_an_address_without_an_engine_is_named_before_anything_is_changed(cluster: Cluster) -> None:
    before = cluster.shell(NODE, PICTURE), cluster.started(NODE)
    failed = apply(cluster, port=9500, engine_address="localhost:5999", start_timeout=5).failed(NODE)
    (reason,) = failed.values()
    assert "nvidia-dcgm.service runs, but nothing listens on localhost:5999" in reason
    assert (cluster.shell(NODE, PICTURE), cluster.started(NODE)) == before
    assert cluster.metrics(NODE)


def test_a_vendors_service_is_named_before_anything_is_changed(cluster: Cluster) -> None:
    unit = "/etc/systemd/system/nvidia-dcgm-exporter.service"
    cluster.shell(
        NODE, f"printf '[Service]\\nExecStart=/bin/sleep 600\\n' > {unit}; systemctl start nvidia-dcgm-exporter"
    )
    try:
        before = cluster.shell(NODE, PICTURE), cluster.started(NODE)
        failed = apply(cluster, start_timeout=31, environment={"X": "y"}).failed(NODE)
        assert failed.keys() == {CHECK}
        assert "nvidia-dcgm-exporter.service runs on this node: `systemctl disable --now" in failed[CHECK]
        assert (cluster.shell(NODE, PICTURE), cluster.started(NODE)) == before
    finally:
        cluster.shell(NODE, f"systemctl stop nvidia-dcgm-exporter; rm {unit}; systemctl daemon-reload")
    assert cluster.shell(NODE, f"systemctl is-active {UNIT}") == "active"


def test_what_a_package_owns_is_neither_replaced_nor_removed(cluster: Cluster) -> None:
    cluster.apply(NODE, "dcgm.clean").succeeded()
    cluster.shell(NODE, BUILD)
    before = cluster.shell(NODE, PICTURE)
    for test in (True, False):
        failed = cluster.apply(NODE, "dcgm.exporter", test=test).failed(NODE)
        assert failed.keys() == {CHECK}
        assert f"{BINARY} and {COUNTERS} belong to the package {PACKAGE}: remove the package" in failed[CHECK]
    cleaned = cluster.apply(NODE, "dcgm.clean")
    cleaned.succeeded()
    assert f"{BINARY} stays: it belongs to the package {PACKAGE}" in str(cleaned.answers)
    assert cluster.shell(NODE, PICTURE) == before
    # Its configuration stays when it is removed, and is still the site's.
    cluster.shell(NODE, f"dpkg --remove {PACKAGE}")
    assert f"dpkg --purge {PACKAGE}" in cluster.apply(NODE, "dcgm.exporter").failed(NODE)[CHECK]
    cluster.shell(NODE, f"dpkg --purge {PACKAGE}")
    assert cluster.apply(NODE, "dcgm.exporter").failed(NODE) == {}


def test_clean_twice_and_on_a_head_is_harmless_and_told(cluster: Cluster) -> None:
    snapshot = cluster.shell("head", "stat -c %i /var/lib/superpod-dcgm; ls /var/lib/superpod-dcgm")
    cluster.apply(NODE, "dcgm.clean").succeeded()
    for minion in (NODE, HEAD):
        again = cluster.apply(minion, "dcgm.clean")
        again.succeeded()
        assert again.changed(minion) == set()
    assert "snapshot.json" in snapshot
    assert cluster.shell("head", "stat -c %i /var/lib/superpod-dcgm; ls /var/lib/superpod-dcgm") == snapshot
