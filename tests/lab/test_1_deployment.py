"""From nothing to labelled metrics, twice applied, dry-run first; and everything away again."""

from __future__ import annotations

import pytest
from product import FOLLOWING, NODES, Cluster

from superpod.lab.deployment import up, wait_delivered
from superpod.lab.layout import HEAD

pytestmark = pytest.mark.usefixtures("from_nothing")


@pytest.fixture(scope="module")
def from_nothing(cluster: Cluster) -> None:
    """A lab whose machines run and have nothing of the product on them."""
    cluster.lab.down()
    up(cluster.lab, deploy=False)


@pytest.fixture(scope="module")
def head(cluster: Cluster, from_nothing: None) -> None:
    cluster.apply(HEAD).succeeded()


@pytest.fixture(scope="module")
def dry_run(cluster: Cluster, head: None) -> dict[str, set[str]]:
    # Salt syncs the modules also for a dry run. As soon as they are there the watcher's role calls leave the roles.
    cluster.lab.salt("dgx-*", "saltutil.sync_all")
    cluster.shell("head", "salt-run bcm.sync >/dev/null 2>&1")
    wait_delivered(cluster.lab)
    before = {node: cluster.places(node) for node in NODES}
    applied = cluster.apply("dgx-*", test=True)
    assert applied.code == 0
    assert {node: cluster.places(node) for node in NODES} == before
    return {node: applied.changed(node) for node in NODES}


@pytest.fixture(scope="module")
def first(cluster: Cluster, dry_run: dict[str, set[str]]) -> dict[str, set[str]]:
    applied = cluster.apply("dgx-*")
    applied.succeeded()
    for node in NODES:
        cluster.wait(f"{node} serves", lambda node=node: cluster.lab.http(f"http://{node}:9400/metrics")[0] == 200)
    return {node: applied.changed(node) for node in NODES}


def test_a_dry_run_names_what_the_apply_then_changes_and_changes_nothing(
    dry_run: dict[str, set[str]], first: dict[str, set[str]]
) -> None:
    # Both nodes say that they would build; the one that comes second finds the artifact of the other.
    build = {name for name in dry_run["dgx-01"] if name.startswith("Build ")}
    for node in NODES:
        assert FOLLOWING in dry_run[node]
        assert dry_run[node] - build == first[node] - build


@pytest.mark.usefixtures("first")
class TestAfterTheFirstApply:
    def test_the_exporter_serves_metrics_of_all_gpus_on_every_node(self, cluster: Cluster) -> None:
        for node in NODES:
            lines = [line for line in cluster.metrics(node).splitlines() if line.startswith("DCGM_FI_DEV_GPU_UTIL{")]
            assert len(lines) == 8

    def test_a_second_apply_changes_nothing(self, cluster: Cluster) -> None:
        before = {node: cluster.started(node) for node in NODES}
        applied = cluster.apply("dgx-*")
        applied.succeeded()
        assert {node: applied.changed(node) for node in NODES} == {node: set() for node in NODES}
        assert {node: cluster.started(node) for node in NODES} == before

    def test_the_head_applied_again_changes_nothing(self, cluster: Cluster) -> None:
        # It compiles the code, which is no change of it.
        cluster.shell("head", "salt-run -d bcm > /dev/null")
        applied = cluster.apply(HEAD)
        applied.succeeded()
        assert applied.changed(HEAD) == set()

    def test_one_node_built_and_both_run_the_same_binary(self, cluster: Cluster, first: dict[str, set[str]]) -> None:
        built = [node for node in NODES if any(name.startswith("Build dcgm-exporter") for name in first[node])]
        assert len(built) == 1
        sums = {cluster.shell(node, "sha256sum < /usr/bin/dcgm-exporter") for node in NODES}
        stored = cluster.shell(
            "head", "cd /cm/shared/apps/dcgm-exporter/artifacts/*/linux-*/ && sha256sum -c SHA256SUMS"
        )
        assert len(sums) == 1
        assert "dcgm-exporter: OK" in stored

    def test_the_build_directory_is_gone(self, cluster: Cluster) -> None:
        for node in NODES:
            assert "/opt/dcgm-exporter-deployment" not in cluster.places(node)

    def test_the_service_is_unprivileged_and_uses_the_nodes_own_engine(self, cluster: Cluster) -> None:
        for node in NODES:
            assert cluster.shell(node, "ps -o user= -C dcgm-exporter") != "root"
            assert "localhost:5555" in cluster.shell(node, "cat /etc/dcgm-exporter/exporter.env")

    def test_prometheus_scrapes_both_and_names_the_host_although_the_engine_says_localhost(
        self, cluster: Cluster
    ) -> None:
        for node in NODES:
            assert 'Hostname="localhost"' in cluster.metrics(node)
            cluster.wait(f"{node} is up in Prometheus", lambda node=node: cluster.up(node))
        query = "count by (Hostname, host) (DCGM_FI_DEV_GPU_UTIL)"
        found = cluster.wait(
            "two hosts", lambda: len(cluster.lab.prometheus(query)) == 2 and cluster.lab.prometheus(query)
        )
        assert {(series["metric"]["Hostname"], series["metric"]["host"]) for series in found} == {(n, n) for n in NODES}

    @pytest.mark.parametrize("gpus", [1, 2, 8])
    def test_a_job_is_in_prometheus_on_exactly_its_gpus_and_gone_after_it(self, cluster: Cluster, gpus: int) -> None:
        job = cluster.lab.run_job(gpus, 300)
        cluster.wait(f"job {job} runs", lambda: cluster.shell("head", f"squeue -h -j {job} -o %T") == "RUNNING")
        wanted = cluster.allocated(job)
        assert len(wanted) == gpus
        cluster.wait(f"job {job} in Prometheus", lambda: cluster.labelled(job) == wanted, 20)
        cluster.shell("head", f"scancel {job}")
        cluster.wait(f"job {job} is gone from Prometheus", lambda: not cluster.labelled(job), 20)

    def test_two_jobs_of_one_node_keep_their_own_gpus(self, cluster: Cluster) -> None:
        jobs = [cluster.lab.run_job(gpus, 300, node="dgx-01") for gpus in (2, 3)]
        for job in jobs:
            cluster.wait(
                f"job {job} runs", lambda job=job: cluster.shell("head", f"squeue -h -j {job} -o %T") == "RUNNING"
            )
        wanted = {job: cluster.allocated(job) for job in jobs}
        for job in jobs:
            cluster.wait(f"job {job} in Prometheus", lambda job=job: cluster.labelled(job) == wanted[job], 20)
        cluster.shell("head", f"scancel {jobs[0]}")
        cluster.wait("the first is gone", lambda: not cluster.labelled(jobs[0]), 20)
        assert cluster.labelled(jobs[1]) == wanted[jobs[1]]
        cluster.shell("head", f"scancel {jobs[1]}")

    def test_no_node_was_drained(self, cluster: Cluster) -> None:
        assert "drain" not in cluster.shell("head", "sinfo -h -o %T")

    def test_clean_leaves_the_node_as_it_was_and_an_apply_brings_everything_back(self, cluster: Cluster) -> None:
        users = set(cluster.shell("dgx-02", "cut -d: -f1 /etc/passwd").split())
        cluster.apply("dgx-02", "dcgm.clean").succeeded()
        assert cluster.places("dgx-02") == []
        left = set(cluster.shell("dgx-02", "cut -d: -f1 /etc/passwd").split())
        assert users - left == {"dcgm-exporter", "superpod-build", "superpod-dcgm"}
        again = cluster.apply("dgx-02", "dcgm.clean")
        again.succeeded()
        assert again.changed("dgx-02") == set()
        cluster.lab.exec("head", ["salt-run", "bcm.sync"], check=True)
        cluster.apply("dgx-02").succeeded()
        assert cluster.active("dgx-02")
