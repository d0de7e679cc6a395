"""
NVIDIA's own dcgm-exporter, built by this product's states: it is deployed, labelled, switched and taken back as the
stand-in is, and answers the questions of tests/upstream by their table.

SUPERPOD_UPSTREAM names its repository, an address or a path. SUPERPOD_ANSWERS names a folder for the answers.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from product import FOLLOWING, Applied, Cluster

from superpod.lab import Lab, deployment
from tests import standin

QUESTIONS = standin.REPOSITORY / "tests/upstream"
sys.path.insert(0, str(QUESTIONS))

import comparison  # noqa: E402
import questions  # noqa: E402
from subject import Program  # noqa: E402

NODE = "dgx-01"
NEWER, OLDER = RELEASES = ("4.5.3-4.8.2", "4.4.2-4.7.1")
OLDER_COMMIT, NO_COMMIT = "b921c57eb70015d779d1e8237d609925614d7965", "9" * 40
# On the shared storage, as the node sees it.
PLACE = Path("/cm/shared/lab/questions")
# A mount namespace of its own, in which the loader's cache is empty.
WITHOUT_DCGM = ["unshare", "-m", "sh", "-c", 'mount -n --bind /dev/null /etc/ld.so.cache && exec "$@"', "sh"]
EXPLAINED: dict[str, str] = {}


@pytest.fixture(scope="module")
def lab(new_lab: Callable[[str], Lab]) -> Lab:
    """A lab of one node in which two releases of the true exporter can be built."""
    found = new_lab("true")
    deployment.up(found, nodes=1, source=os.environ["SUPERPOD_UPSTREAM"], releases=RELEASES)
    return found


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Cluster:
    return Cluster(lab)


def shown(cluster: Cluster) -> set[str]:
    """Return the GPUs that have rows; none where /metrics does not answer."""
    status, text = cluster.lab.http(f"http://{NODE}:9400/metrics")
    return set(re.findall(r'UUID="(GPU-[^"]+)"', text)) if status == 200 else set()


def whole(cluster: Cluster) -> set[str]:
    """Wait for rows of all GPUs, profiling rows among them, and return the UUIDs."""
    cluster.wait("all GPUs have rows", lambda: len(shown(cluster)) == 8 and "\nDCGM_FI_PROF_" in cluster.metrics(NODE))
    return shown(cluster)


def apply(cluster: Cluster, release: str, commit: str) -> Applied:
    """Apply a release that lies in the store; the lab's pillar names the commit of another one."""
    exporter = {"start_timeout": 10, "method": "artifact", "release": release, "commit": commit}
    return cluster.apply(NODE, pillar={"dcgm": {"exporter": exporter}})


@contextmanager
def job_of(cluster: Cluster, gpus: int) -> Iterator[int]:
    """A job whose GPUs carry its id in Prometheus, until the end."""
    job = cluster.lab.run_job(gpus, 1200, NODE)
    try:
        cluster.wait(f"job {job} runs", lambda: cluster.running(job))
        cluster.wait("its label is there", lambda: cluster.labelled(job) == cluster.allocated(job))
        yield job
        cluster.wait("its label is still there", lambda: cluster.labelled(job) == cluster.allocated(job))
    finally:
        cluster.shell("head", f"scancel {job}")
    cluster.wait("its label is gone", lambda: not cluster.labelled(job))


def test_the_first_apply_deploys_the_true_program_and_a_job_has_its_label(cluster: Cluster) -> None:
    program = cluster.shell(NODE, "realpath /usr/bin/dcgm-exporter")
    assert cluster.shell(NODE, f"grep -c github.com/NVIDIA/go-dcgm {program} || true") != "0"
    assert cluster.release(NODE) == NEWER
    whole(cluster)
    assert cluster.apply(NODE).changed(NODE) == set()
    with job_of(cluster, 2):
        cluster.wait("it is scraped", lambda: cluster.up(NODE))


def test_a_divided_gpu_has_rows_of_its_instances_after_maintenance(cluster: Cluster) -> None:
    before = whole(cluster)
    for profile, divided in (("mig", True), ("identity", False)):
        assert cluster.lab.salt(NODE, "dcgm_gpu.free")[1] == 0
        cluster.shell(NODE, f"lab-gpus profile {profile}")
        assert cluster.lab.salt(NODE, "dcgm_gpu.resume")[1] == 0
        cluster.wait("rows are back", lambda: shown(cluster) == before)
        cluster.wait("instances", lambda has=divided: ('GPU_I_ID="' in cluster.metrics(NODE)) is has)


def test_a_role_change_stops_and_starts_it(cluster: Cluster) -> None:
    cluster.lab.roles(NODE, "-slurmclient")
    cluster.wait("it stops", lambda: not cluster.active(NODE))
    assert cluster.shell(NODE, "systemctl show -P Result dcgm-exporter") == "success"
    cluster.lab.roles(NODE, "+slurmclient")
    cluster.wait("it runs", lambda: cluster.active(NODE))
    whole(cluster)


def test_a_reboot_brings_it_back_by_itself(cluster: Cluster) -> None:
    before = whole(cluster)
    cluster.lab.reboot(NODE)
    cluster.wait("it runs", lambda: cluster.active(NODE), 120)
    assert whole(cluster) == before


def test_a_release_that_shows_fewer_gpus_is_taken_back_while_a_job_keeps_its_label(
    cluster: Cluster, offered: Callable[..., None]
) -> None:
    before = whole(cluster)
    offered("9.9.2-9.9.2", "export DCGM_EXPORTER_DEVICES_STR=g:0-6", NO_COMMIT)
    with job_of(cluster, 3):
        reason = apply(cluster, "9.9.2-9.9.2", NO_COMMIT).failed(NODE)[FOLLOWING]
        assert "/metrics has no row of GPU-" in reason and f"Release {NEWER} and its configuration" in reason
        assert (cluster.release(NODE), shown(cluster)) == (NEWER, before)


def test_an_upgrade_and_the_way_back_keep_the_rows_and_the_label_of_a_job(cluster: Cluster) -> None:
    before = whole(cluster)
    with job_of(cluster, 2):
        for release in (OLDER, NEWER):
            deployment.up(cluster.lab, releases=(release,))
            assert cluster.release(NODE) == release
            assert whole(cluster) == before


def test_a_release_that_this_node_cannot_run_is_refused_before_anything_is_changed(cluster: Cluster) -> None:
    before = whole(cluster)
    cluster.shell(NODE, "lab-gpus driver off")
    try:
        failed = apply(cluster, OLDER, OLDER_COMMIT).failed(NODE)
    finally:
        cluster.shell(NODE, "lab-gpus driver on")
    assert "needs NVML at every start" in failed[f"Check that this node can run dcgm-exporter {OLDER}"]
    assert cluster.release(NODE) == NEWER
    # The host engine starts again with the driver, and with it the exporter.
    assert whole(cluster) == before


@pytest.fixture(scope="module")
def true_answers(lab: Lab) -> Callable[[str], dict[str, Any]]:
    """A function that deploys a release and returns what the true program answers on a node."""
    folder = lab.layout.shared / "lab/questions"
    shutil.copytree(QUESTIONS, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    standin.write_profiles(folder / "gpus")

    @cache
    def ask(release: str) -> dict[str, Any]:
        deployment.up(lab, releases=(release,))
        installed = f"/opt/dcgm-exporter/{release}"
        program = Program(
            f"{installed}/dcgm-exporter",
            f"{installed}/default-counters.csv",
            "/usr/lib/lab/host-engine",
            f"{PLACE}/gpus",
            without_dcgm=WITHOUT_DCGM,
        )
        (folder / "program.json").write_text(json.dumps(asdict(program)))
        command = ["python3", "-B", f"{PLACE}/questions.py", f"{PLACE}/program.json"]
        found: dict[str, Any] = json.loads(lab.exec(NODE, command, check=True).stdout)
        if folder_of_answers := os.environ.get("SUPERPOD_ANSWERS"):
            (Path(folder_of_answers) / f"{release}.json").write_text(json.dumps(found, indent=1))
        return found

    return ask


@pytest.mark.parametrize("question", questions.QUESTIONS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_true_program_answers_by_the_table(
    true_answers: Callable[[str], dict[str, Any]], release: str, question: str
) -> None:
    expected = comparison.expected(comparison.table()[question], release)
    lines = comparison.differences(expected, true_answers(release)[question])
    unexplained = [line for line in lines if line.partition(":")[0] not in EXPLAINED]
    assert not unexplained, "\n".join(["table, the true program:", *unexplained])
