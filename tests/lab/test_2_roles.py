"""Roles decide where the exporter runs: added, removed, unknown, and across reboots."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from product import NODES, Cluster

from superpod.lab.deployment import wait_answering

pytestmark = pytest.mark.usefixtures("deployed")


def with_the_role(cluster: Cluster) -> set[str]:
    """Return whom Salt means by the role: master and minions match by the grain, each by its own copy."""
    return set(cluster.lab.salt("-G", "bcm:roles:slurmclient", "test.ping")[0])


def test_a_removed_role_stops_the_service_on_that_node_only_and_an_added_one_brings_it_back(
    cluster: Cluster, say: Callable[[str], None]
) -> None:
    other = cluster.started("dgx-02")
    started = time.monotonic()
    cluster.lab.roles("dgx-01", "-slurmclient")
    cluster.wait("dgx-01 stopped", lambda: not cluster.active("dgx-01"))
    stopped = time.monotonic() - started
    cluster.wait("its target is gone", lambda: cluster.targets() == {"dgx-02"})
    cluster.wait("the grain no longer means it", lambda: with_the_role(cluster) == {"dgx-02"})
    assert not cluster.enabled("dgx-01")
    assert cluster.started("dgx-02") == other

    started = time.monotonic()
    cluster.lab.roles("dgx-01", "+slurmclient")
    cluster.wait("dgx-01 runs", lambda: cluster.active("dgx-01"))
    running = time.monotonic() - started
    cluster.wait("its target is back", lambda: cluster.targets() == set(NODES))
    cluster.wait("it is scraped", lambda: cluster.up("dgx-01"))
    assert cluster.enabled("dgx-01")
    say(f"role removed -> service stopped: {stopped:.1f} s; role added -> service runs: {running:.1f} s")


def test_the_grain_has_the_roles_and_targets_minions(cluster: Cluster) -> None:
    roles = set(cluster.lab.roles("dgx-01"))
    answers, _ = cluster.lab.salt("dgx-01", "grains.get", "bcm")
    assert answers["dgx-01"]["known"] is True
    assert set(answers["dgx-01"]["roles"]) == roles
    cluster.wait("the grain means both", lambda: with_the_role(cluster) == set(NODES))


def failures(cluster: Cluster) -> int:
    """Return how many polls in a row gave no answer that counts; each of them has its reason."""
    snapshot = json.loads(cluster.shell("head", "cat /var/lib/superpod-dcgm/snapshot.json"))
    assert bool(snapshot["failures"]) == bool(snapshot["error"])
    return snapshot["failures"]


@pytest.mark.parametrize("fault", ["down", "http-401", "http-500", "not-json", "empty", "half", "slow"])
def test_an_answer_of_bcm_that_cannot_be_believed_changes_nothing(cluster: Cluster, fault: str) -> None:
    """For four polls, more than the three after which a missing node is forgotten."""
    before = {node: cluster.started(node) for node in NODES}
    cluster.wait("the last answer was good", lambda: failures(cluster) == 0)
    cluster.lab.fault(fault, True)
    try:
        cluster.wait("the watcher met the fault four times", lambda: failures(cluster) >= 4, 90)
        assert {node: cluster.started(node) for node in NODES} == before
        assert cluster.targets() == set(NODES)
    finally:
        cluster.lab.fault(fault, False)


def test_a_passive_head_is_left_for_the_active_one(cluster: Cluster) -> None:
    """`master` answers as a passive head does; bcm-02, the next in the list, is the active one now."""
    cluster.lab.fault("passive", True)
    try:
        cluster.lab.roles("dgx-02", "-slurmclient")
        cluster.wait("the role went all the same", lambda: not cluster.active("dgx-02"))
    finally:
        cluster.lab.roles("dgx-02", "+slurmclient")
        cluster.wait("and came back", lambda: cluster.active("dgx-02"))
        cluster.lab.fault("passive", False)


def test_a_node_that_reboots_comes_back_by_itself(cluster: Cluster) -> None:
    cluster.lab.reboot("dgx-01")
    cluster.wait("the exporter runs", lambda: cluster.active("dgx-01"))
    cluster.wait("it is scraped", lambda: cluster.up("dgx-01"))
    assert "/run/dcgm-job-map" in cluster.places("dgx-01")


def test_a_node_that_is_provisioned_anew_comes_back_by_itself(cluster: Cluster) -> None:
    # Go and the build's user are only where the artifact was built, and that is not built again.
    of_the_build = {"/opt/superpod-dcgm", "/etc/sysusers.d/superpod-build.conf"}
    wanted = {*cluster.places("dgx-01"), "/run/superpod-dcgm"} - of_the_build
    cluster.lab.reboot("dgx-01", provision=True)
    cluster.wait("the exporter runs", lambda: cluster.active("dgx-01"), 120)
    cluster.wait("everything is there", lambda: set(cluster.places("dgx-01")) == wanted)
    cluster.wait("it is scraped", lambda: cluster.up("dgx-01"))
    assert cluster.targets() == set(NODES)


@pytest.mark.parametrize("provision", [False, True])
def test_a_node_whose_role_went_away_while_it_was_off_does_not_start_the_service(
    cluster: Cluster, provision: bool
) -> None:
    cluster.lab.kill("dgx-02")
    cluster.lab.roles("dgx-02", "-slurmclient")
    try:
        cluster.wait("its target is gone while it is off", lambda: cluster.targets() == {"dgx-01"})
        cluster.lab.reboot("dgx-02", provision=provision)
        record = "grep -q slurmclient /var/lib/superpod-dcgm/roles.json"
        there = "test -s /var/lib/superpod-dcgm/roles.json"
        cluster.wait(
            "the new roles are delivered",
            lambda: cluster.lab.exec("dgx-02", ["bash", "-c", f"{there} && ! {record}"]).returncode == 0,
            120,
        )
        cluster.wait("it is disabled", lambda: not cluster.enabled("dgx-02"))
        assert not cluster.active("dgx-02")
        # Not once in this boot.
        assert "Starting dcgm-exporter version" not in cluster.shell(
            "dgx-02", "journalctl -b -u dcgm-exporter --no-pager"
        )
    finally:
        cluster.lab.roles("dgx-02", "+slurmclient")
    cluster.wait("the exporter runs again", lambda: cluster.active("dgx-02"), 120)
    cluster.wait("its target is back", lambda: cluster.targets() == set(NODES))


def test_a_node_that_boots_without_its_master_goes_by_the_roles_it_knows(cluster: Cluster) -> None:
    cluster.shell("head", "systemctl stop salt-master")
    try:
        cluster.shell("dgx-01", "sed -i 's/seq [0-9]*/seq 3/' /etc/systemd/system/dcgm-exporter.service")
        cluster.lab.reboot("dgx-01")
        cluster.wait("the exporter runs", lambda: cluster.active("dgx-01"), 30)
    finally:
        cluster.shell("head", "systemctl start salt-master")
        wait_answering(cluster.lab)
        cluster.apply("dgx-01").succeeded()


def test_a_restarted_master_changes_nothing(cluster: Cluster) -> None:
    def polled() -> str:
        return json.loads(cluster.shell("head", "cat /var/lib/superpod-dcgm/snapshot.json"))["updated"]

    before = {node: cluster.started(node) for node in NODES}
    last = polled()
    cluster.shell("head", "systemctl restart salt-master")
    cluster.wait("the watcher polls again", lambda: polled() > last)
    time.sleep(6)
    assert {node: cluster.started(node) for node in NODES} == before
    assert cluster.targets() == set(NODES)
