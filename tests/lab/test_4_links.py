"""Links of prolog and epilog under real Slurm: made only where slurmd can run them, and no node is ever drained."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from product import Applied, Cluster

from superpod.lab.layout import HEAD

NODE, OTHER = "dgx-02", "dgx-01"
KINDS = ("prolog", "epilog")
LINKS = {kind: f"/cm/local/apps/slurm/var/{kind}s/60-{kind}-dcgm.sh" for kind in KINDS}
LOCAL = "/usr/local/libexec/superpod-dcgm"
SHARED = "/cm/shared/apps/slurm/var/cm"
ONE_COPY = {"dcgm": {"slurm": {"scripts": "shared"}}}
SITE = "/cm/shared/sched"


@pytest.fixture(autouse=True)
def never_drained(deployed: object, cluster: Cluster) -> Iterator[None]:
    """After every test Slurm trusts its nodes, no job is left, and all is as the lab's pillar wants it."""
    yield
    states = cluster.shell("head", "sinfo -h -N -o %T").split()
    cluster.shell("head", "scancel --user alice")
    cluster.wait("no job is left", lambda: not cluster.shell("head", "squeue -h"))
    cluster.apply("dgx-*", "dcgm.slurm").succeeded()
    cluster.apply(HEAD, "dcgm.slurm.shared_clean").succeeded()
    assert states and not [state for state in states if "drain" in state or "down" in state]


def leads(cluster: Cluster, node: str) -> dict[str, str]:
    """Return where the links of a node lead."""
    return {kind: cluster.shell(node, f"readlink {link} || true") for kind, link in LINKS.items()}


def job_has_run(cluster: Cluster, node: str) -> None:
    job = cluster.lab.run_job(1, 1, node)
    cluster.wait(f"job {job} on {node} has run", lambda: cluster.gone(job))


def said(applied: Applied, node: str) -> str:
    """Return what the states say that failed, one of which has to."""
    failed = applied.failed(node)
    assert failed
    return "\n".join(failed.values())


def test_each_node_has_its_own_scripts_and_moves_there_from_shared_ones(cluster: Cluster) -> None:
    own = {kind: f"{LOCAL}/{kind}-dcgm.sh" for kind in KINDS}
    assert leads(cluster, NODE) == leads(cluster, OTHER) == own
    cluster.apply(HEAD, "dcgm.slurm.shared", pillar=ONE_COPY).succeeded()
    cluster.apply(NODE, "dcgm.slurm", pillar=ONE_COPY).succeeded()
    assert leads(cluster, NODE) == {kind: f"{SHARED}/{kind}-dcgm.sh" for kind in KINDS}
    job_has_run(cluster, NODE)
    foretold = cluster.apply(NODE, "dcgm.slurm", test=True)
    moved = cluster.apply(NODE, "dcgm.slurm")
    assert moved.changed(NODE) == foretold.changed(NODE) == {f"Link the {kind} where slurmd runs it" for kind in KINDS}
    assert leads(cluster, NODE) == own
    # For nodes that were down.
    assert cluster.shell(NODE, f"ls {SHARED}").split() == ["epilog-dcgm.sh", "prolog-dcgm.sh"]
    job_has_run(cluster, NODE)


def test_no_link_leads_to_a_mount_without_exec_and_one_that_does_goes(cluster: Cluster) -> None:
    cluster.apply(HEAD, "dcgm.slurm.shared", pillar=ONE_COPY).succeeded()
    cluster.apply(NODE, "dcgm.slurm", pillar=ONE_COPY).succeeded()
    cluster.shell(NODE, "mount -o remount,bind,noexec /cm/shared")
    try:
        words = said(cluster.apply(NODE, "dcgm.slurm", pillar=ONE_COPY), NODE)
        assert "slurmd cannot run it there: /cm/shared is mounted noexec" in words
        assert leads(cluster, NODE) == {"prolog": "", "epilog": ""}
        job_has_run(cluster, NODE)
    finally:
        cluster.shell(NODE, "mount -o remount,bind,exec /cm/shared")


@pytest.fixture
def one_directory_for_all(cluster: Cluster) -> Iterator[None]:
    """Have slurm.conf run directories that are on shared storage under another name, as CycleCloud does."""
    lines = "; ".join(f"s#^{kind.title()}=.*#{kind.title()}=/etc/slurm/{kind}.d/*#" for kind in KINDS)
    site = f"mkdir -p {SITE}/prolog.d {SITE}/epilog.d"
    for kind in KINDS:
        site += f"; printf '#!/bin/sh\\nexit 0\\n' >{SITE}/{kind}.d/10-site; chmod 755 {SITE}/{kind}.d/10-site"
    cluster.shell("head", site)
    try:
        for name in cluster.lab.machines:
            for kind in KINDS:
                cluster.shell(name, f"ln -sfn {SITE}/{kind}.d /etc/slurm/{kind}.d")
            cluster.shell(name, f"cp /etc/slurm/slurm.conf /tmp/slurm.conf; sed -i '{lines}' /etc/slurm/slurm.conf")
        cluster.shell("head", "scontrol reconfigure")
        yield
    finally:
        for name in cluster.lab.machines:
            cluster.shell(name, "test ! -e /tmp/slurm.conf || cat /tmp/slurm.conf >/etc/slurm/slurm.conf")
        cluster.shell("head", "scontrol reconfigure")
        for name in cluster.lab.machines:
            cluster.shell(name, "rm -f /etc/slurm/prolog.d /etc/slurm/epilog.d /tmp/slurm.conf")
        cluster.shell("head", f"rm -rf {SITE}")


def plain(**slurm: Any) -> dict[str, Any]:
    return {"dcgm": {"slurm": {"layout": "plain", **slurm}}}


@pytest.mark.usefixtures("one_directory_for_all")
def test_a_directory_of_links_that_nodes_share_is_refused_or_served_as_a_whole(cluster: Cluster) -> None:
    listing = f"ls {SITE}/*.d | grep dcgm || true"
    words = said(cluster.apply(NODE, "dcgm.slurm", pillar=plain()), NODE)
    assert "/etc/slurm/epilog.d is shared with other nodes" in words and "slurm:scripts: shared" in words
    assert cluster.shell("head", listing) == ""
    job_has_run(cluster, OTHER)
    whole = plain(scripts="shared")
    cluster.apply(HEAD, "dcgm.slurm.shared", pillar=whole).succeeded()
    cluster.apply("dgx-*", "dcgm.slurm", pillar=whole).succeeded()
    found = json.loads(cluster.shell("head", f"salt --out=json {NODE} job_map.wiring"))[NODE]
    assert found["fits"] is True, found
    kept = cluster.apply(NODE, "dcgm.slurm.clean", pillar=whole)
    kept.succeeded()
    assert "dcgm.slurm.shared_clean" in kept.states(NODE)["Remove the prolog link"]["comment"]
    assert cluster.shell("head", listing).split() == ["60-epilog-dcgm.sh", "60-prolog-dcgm.sh"]
    for node in (NODE, OTHER):
        job_has_run(cluster, node)
    cluster.apply(HEAD, "dcgm.slurm.shared_clean", pillar=whole).succeeded()
    assert cluster.shell("head", f"{listing}; ls {SHARED}") == ""
    job_has_run(cluster, OTHER)
