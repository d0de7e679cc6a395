"""The watcher follows roles and repairs; it never rolls out what the administrator did not apply."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from product import NODES, Cluster

from superpod.lab.deployment import wait_answering

pytestmark = pytest.mark.usefixtures("deployed")
PILLAR = "/srv/pillar/dcgm.sls"
SNAPSHOT = "/var/lib/superpod-dcgm/snapshot.json"


def snapshot(cluster: Cluster) -> dict[str, Any]:
    return json.loads(cluster.shell("head", f"cat {SNAPSHOT}"))


def settled(cluster: Cluster) -> bool:
    found = snapshot(cluster)
    return not (found["tries"] or found["repairs"] or found["started"])


def interval(cluster: Cluster, node: str) -> str:
    return cluster.shell(node, "grep -o 'INTERVAL=.*' /etc/dcgm-exporter/exporter.env")


@pytest.fixture
def edited(cluster: Cluster) -> Iterator[str]:
    """A pillar that was edited and not applied; gives what the nodes had before."""
    cluster.wait("all is quiet", lambda: settled(cluster))
    cluster.wait("the configurations are kept", lambda: snapshot(cluster)["applied"].keys() >= set(NODES))
    before = interval(cluster, NODES[0])
    # Prometheus scrapes as often as the exporter samples.
    edit = "s/ interval: 2000$/ interval: 7000/; s/scrape_interval: 2s/scrape_interval: 7s/"
    cluster.shell("head", f"cp -p {PILLAR} /root/pillar.before; sed -i '{edit}' {PILLAR}")
    yield before
    cluster.shell("head", f"cp -p /root/pillar.before {PILLAR}; rm /root/pillar.before")
    cluster.lab.salt("dgx-*", "saltutil.refresh_pillar")


def test_no_event_rolls_an_edited_pillar_out(cluster: Cluster, edited: str) -> None:
    started = {node: cluster.started(node) for node in NODES}
    cluster.shell("head", "systemctl restart salt-master")
    wait_answering(cluster.lab)
    cluster.wait("the minions that came back are served", lambda: settled(cluster))
    assert {node: cluster.started(node) for node in NODES} == started
    try:
        cluster.lab.roles("dgx-01", "-slurmclient")
        cluster.wait("dgx-01 stopped", lambda: not cluster.active("dgx-01"))
    finally:
        cluster.lab.roles("dgx-01", "+slurmclient")
    cluster.wait("dgx-01 runs", lambda: cluster.active("dgx-01"))
    cluster.lab.reboot("dgx-02", provision=True)
    cluster.wait("dgx-02 runs again", lambda: cluster.active("dgx-02"), 180)
    cluster.wait("all is quiet", lambda: settled(cluster))
    assert [interval(cluster, node) for node in NODES] == [edited] * 2
    assert "re-provisioned" in snapshot(cluster)["repaired"]["dgx-02"]["why"]
    status = json.loads(cluster.shell("head", "salt-run bcm.status --out=json 2>/dev/null"))
    assert "re-provisioned" in status["nodes"]["dgx-02"]["repaired"]
    assert all("roll-out pending" in status["nodes"][node]["problem"] for node in NODES)


def test_what_is_missing_on_a_node_comes_back_and_is_told(cluster: Cluster) -> None:
    cluster.wait("all is quiet", lambda: settled(cluster))
    cluster.shell("dgx-01", "rm /usr/bin/dcgm-exporter")
    cluster.shell("head", "salt-run bcm.sync dgx-01 >/dev/null 2>&1 || true")
    repaired = lambda: cluster.lab.exec("dgx-01", ["test", "-e", "/usr/bin/dcgm-exporter"]).returncode == 0  # noqa: E731
    cluster.wait("it is repaired", repaired, 120)
    cluster.wait("all is quiet", lambda: settled(cluster))
    assert snapshot(cluster)["repaired"]["dgx-01"]["why"] == "/usr/bin/dcgm-exporter is missing"


def test_a_held_node_keeps_its_service_until_it_is_let_go(cluster: Cluster) -> None:
    cluster.shell("head", "salt-run dcgm.hold dgx-02 1 2>/dev/null")
    try:
        cluster.lab.roles("dgx-02", "-slurmclient")
        cluster.wait("the watcher knows", lambda: "dgx-02" not in cluster.targets())
        assert cluster.active("dgx-02")
        assert "held since" in cluster.shell("head", "salt-run bcm.status 2>/dev/null")
        report = cluster.lab.exec("head", ["salt-run", "dcgm.apply", "dcgm", "tgt=dgx-02", "--out=json"])
        assert "left alone" in report.stdout and cluster.active("dgx-02")
    finally:
        cluster.shell("head", "salt-run dcgm.unhold dgx-02 2>/dev/null")
    cluster.wait("what was owed comes", lambda: not cluster.active("dgx-02"))
    cluster.lab.roles("dgx-02", "+slurmclient")
    cluster.wait("it runs again", lambda: cluster.active("dgx-02"))


def test_an_administrators_apply_comes_first(cluster: Cluster, say: Callable[[str], None]) -> None:
    """A second apply right after the first is not refused because of the watcher, and its role calls are owed."""
    for _ in range(2):
        done = cluster.lab.exec("head", ["salt", "dgx-01", "state.apply", "--out=json"])
        assert done.returncode == 0, done.stdout[-500:]
    cluster.shell("head", "salt dgx-01 --async state.single cmd.run name='sleep 12'")
    try:
        cluster.lab.roles("dgx-01", "-slurmclient")
        cluster.wait("it is owed", lambda: "state.single" in str(snapshot(cluster)["tries"].get("dgx-01")))
        assert cluster.active("dgx-01")
        cluster.wait("it comes afterwards", lambda: not cluster.active("dgx-01"))
    finally:
        cluster.lab.roles("dgx-01", "+slurmclient")
    cluster.wait("it runs again", lambda: cluster.active("dgx-01"))


def test_a_node_with_older_modules_is_listed_and_left_as_it_is(cluster: Cluster) -> None:
    module = "/var/cache/salt/minion/extmods/modules/bcm.py"
    script = f"cp -p {module} /root/bcm.py; sed -i 's/^def role_call(/def deliver(/' {module}"
    cluster.shell("dgx-01", script)
    before = cluster.started("dgx-01")
    try:
        cluster.lab.roles("dgx-01", "-slurmclient")
        problem = lambda: (snapshot(cluster)["tries"].get("dgx-01") or {}).get("problem") or ""  # noqa: E731
        cluster.wait("it is listed", lambda: "needs the roll-out" in problem())
        assert cluster.started("dgx-01") == before and snapshot(cluster)["repairs"] == {}
    finally:
        cluster.lab.roles("dgx-01", "+slurmclient")
        cluster.shell("dgx-01", f"mv /root/bcm.py {module}")
    cluster.shell("head", "salt-run bcm.sync dgx-01 2>/dev/null")
    cluster.wait("all is quiet", lambda: settled(cluster))
