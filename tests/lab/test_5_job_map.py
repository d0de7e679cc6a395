"""The right job on the right GPU, in Prometheus, for every kind of allocation of Slurm, and no job is disturbed."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from product import Cluster
from spared import MEANT

from superpod.lab.deployment import up

REPOSITORY = Path(__file__).resolve().parents[2]
NODE, OTHER = "dgx-02", "dgx-01"
DISPATCHER = "/etc/lab/dispatcher.env"
BY_USER = re.compile(r"^sum by \(user\) .*$", re.MULTILINE)
PROLOGS, EPILOGS = "/cm/local/apps/slurm/var/prologs", "/cm/local/apps/slurm/var/epilogs"


@pytest.fixture(autouse=True)
def undisturbed(deployed: object, cluster: Cluster) -> Iterator[None]:
    """After every test no job is left, no GPU carries an id, and Slurm trusts its nodes."""
    yield
    cluster.shell("head", "scancel --user alice")
    cluster.wait("no job is left", lambda: not cluster.shell("head", "squeue -h"))
    cluster.wait("no GPU carries an id", lambda: not cluster.ids(NODE) and not cluster.ids(OTHER))
    cluster.wait("nor in Prometheus", lambda: not cluster.lab.prometheus('DCGM_FI_DEV_GPU_UTIL{hpc_job!=""}'))
    states = cluster.shell("head", "sinfo -h -N -o %T").split()
    assert states and not [state for state in states if "drain" in state or "down" in state]


def submit(cluster: Cluster, *options: str, seconds: int = 300, node: str = NODE) -> int:
    """Submit a job as an ordinary user and return its id."""
    where = [f"--nodelist={node}"] if node else []
    fixed = ["--parsable", "--chdir=/tmp", "--output=/dev/null", *where]
    argv = ["runuser", "-u", "alice", "--", "sbatch", *fixed, *options, "--wrap", f"sleep {seconds}"]
    return int(cluster.lab.exec("head", argv, check=True).stdout.strip().split(";")[0])


def started(cluster: Cluster, *options: str, **others: Any) -> int:
    job = submit(cluster, *options, **others)
    cluster.wait(f"job {job} runs", lambda: cluster.running(job))
    return job


def gpus(cluster: Cluster, node: str = NODE) -> list[dict[str, Any]]:
    return json.loads(cluster.shell(node, "lab-gpus show --json"))["gpus"]


def places(cluster: Cluster, job: int) -> set[tuple[str, str]]:
    """Return (host, GPU) of a job's GPUs: position N of gres.conf is /dev/nvidiaN, the GPU with that minor number."""
    found = set()
    for host, position in cluster.allocated(job):
        found |= {(host, str(gpu["index"])) for gpu in gpus(cluster, host) if str(gpu["minor"]) == position}
    return found


def instances(cluster: Cluster, job: int) -> set[tuple[str, str]]:
    """Return (GPU, GPU instance) that carry a job id in Prometheus."""
    found = cluster.lab.prometheus(f'DCGM_FI_DEV_FB_USED{{hpc_job="{job}"}}')
    return {(series["metric"]["gpu"], series["metric"].get("GPU_I_ID", "")) for series in found}


def in_prometheus(cluster: Cluster, job: int, wanted: set[tuple[str, str]]) -> None:
    assert wanted
    cluster.wait(f"job {job} in Prometheus on {sorted(wanted)}", lambda: cluster.labelled(job) == wanted, 20)


def users(cluster: Cluster) -> set[str]:
    """Ask for the GPU utilisation by user, as the documentation says."""
    text = (REPOSITORY / "docs/job-map.md").read_text()
    found = BY_USER.search(text)
    assert found
    return {series["metric"]["user"] for series in cluster.lab.prometheus(found[0])}


def ended(cluster: Cluster, *jobs: int) -> None:
    cluster.shell("head", f"scancel {' '.join(map(str, jobs))}")
    for job in jobs:
        cluster.wait(f"job {job} is gone from Prometheus", lambda job=job: not cluster.labelled(job), 20)


@pytest.fixture
def profile(cluster: Cluster) -> Iterator[Callable[[str], None]]:
    """Return a function that changes the node's GPUs; nothing else is done: the table must follow by itself."""

    def change(name: str) -> None:
        cluster.shell(NODE, f"lab-gpus profile {name}")
        table = "cat /run/superpod-dcgm/devices"
        known = [gpu["uuid"] for gpu in gpus(cluster)]
        minors = [f"gpu {gpu['index']} {gpu['uuid']} {gpu['minor']} " for gpu in gpus(cluster)]
        assert known
        cluster.wait("the device table follows", lambda: all(row in cluster.shell(NODE, table) for row in minors))
        divided = sum(bool(gpu["mig"]) for gpu in gpus(cluster))
        cluster.wait("MIG too", lambda: ("uuid MIG-" in cluster.shell(NODE, table)) == bool(divided))
        cluster.wait("metrics again", lambda: cluster.lab.http(f"http://{NODE}:9400/metrics")[0] == 200)

    yield change
    change("identity")


@pytest.fixture
def environment(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Return a function that makes the dispatcher give scripts what another Slurm release would give them."""

    def give(**values: str) -> None:
        text = "".join(f"{name}='{value}'\n" for name, value in values.items())
        cluster.lab.exec(NODE, ["tee", DISPATCHER], check=True, input=text)

    yield give
    cluster.shell(NODE, f"rm -f {DISPATCHER}")


@pytest.fixture
def configured(cluster: Cluster) -> Iterator[Callable[..., None]]:
    """Return a function that applies `dcgm` to the node with other settings; they are taken back after the test."""

    def configure(**sections: dict[str, Any]) -> None:
        cluster.apply(NODE, "dcgm", pillar={"dcgm": sections}).succeeded()

    yield configure
    cluster.apply(NODE, "dcgm").succeeded()


@pytest.mark.parametrize("name", ["identity", "minor-order"])
def test_a_job_is_on_its_gpus_whatever_their_minor_numbers_are(
    cluster: Cluster, profile: Callable[[str], None], name: str
) -> None:
    profile(name)
    for count in (1, 2, 8):
        job = started(cluster, f"--gpus-per-node={count}")
        wanted = places(cluster, job)
        assert len(wanted) == count
        in_prometheus(cluster, job, wanted)
        ended(cluster, job)


def test_the_tasks_of_an_array_have_ids_of_their_own(cluster: Cluster) -> None:
    submit(cluster, "--gpus-per-node=1", "--array=1-3")
    listed = "squeue -h -t R -r -o %A"
    cluster.wait("three tasks run", lambda: len(cluster.shell("head", listed).split()) == 3)
    jobs = [int(job) for job in cluster.shell("head", listed).split()]
    for job in jobs:
        in_prometheus(cluster, job, places(cluster, job))
    assert len(set(map(str, (cluster.ids(NODE))))) == 3
    ended(cluster, *jobs)


def test_the_components_of_a_heterogeneous_job_have_ids_of_their_own_and_keep_them(cluster: Cluster) -> None:
    argv = "sbatch --parsable --chdir=/tmp --output=/dev/null --gpus-per-node=1 : --gpus-per-node=2 --wrap 'sleep 300'"
    first = int(cluster.shell("head", f"runuser -u alice -- {argv}").split(";")[0])
    # All components start together, when the backfill scheduler looks next.
    cluster.wait("both run", lambda: cluster.running(first) and cluster.running(first + 1), 90)
    components = {first: places(cluster, first), first + 1: places(cluster, first + 1)}
    assert [len(wanted) for wanted in components.values()] == [1, 2]
    for job, wanted in components.items():
        in_prometheus(cluster, job, wanted)
    time.sleep(6)
    answers, _ = cluster.lab.salt("dgx-*", "job_map.reconcile")
    assert [answer["removed"] for answer in answers.values()] == [{}, {}]
    assert {job: cluster.labelled(job) for job in components} == components
    ended(cluster, first)
    cluster.wait("the whole job is gone", lambda: not cluster.labelled(first + 1))


def test_an_exclusive_job_is_only_on_the_gpus_that_it_asked_for(cluster: Cluster) -> None:
    job = started(cluster, "--exclusive", "--gpus-per-node=3")
    in_prometheus(cluster, job, places(cluster, job))
    ended(cluster, job)


def test_two_jobs_in_shards_of_one_gpu_are_both_on_it_until_each_ends(
    cluster: Cluster, configured: Callable[..., None]
) -> None:
    configured(slurm={"gres": ["gpu", "shard"]})
    jobs = [started(cluster, "--gres=shard:1") for _ in range(2)]
    cluster.wait("both in the map", lambda: sorted(cluster.ids(NODE).get("0", [])) == sorted(map(str, jobs)))
    for job in jobs:
        in_prometheus(cluster, job, {(NODE, "0")})
    cluster.wait("the info of both", lambda: len(cluster.lab.prometheus("slurm_gpu_job_info")) == 2, 30)
    assert users(cluster) == {"alice"}
    ended(cluster, jobs[0])
    in_prometheus(cluster, jobs[1], {(NODE, "0")})
    ended(cluster, jobs[1])


def test_a_requeued_job_is_there_once(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=2", "--requeue")
    wanted = places(cluster, job)
    in_prometheus(cluster, job, wanted)
    cluster.shell("head", f"scontrol requeue {job}")
    cluster.wait("it left its GPUs", lambda: not cluster.ids(NODE))
    # Slurm lets a requeued job wait for two minutes, counted from the end of its epilogs.
    cluster.wait("it waits", lambda: cluster.shell("head", f"squeue -h -j {job} -o %T,%r") == "PENDING,BeginTime")
    # slurmd refuses a job that begins again in the second in which its credential was revoked.
    time.sleep(3)
    cluster.shell("head", f"scontrol update jobid={job} starttime=now")
    cluster.wait("it runs again", lambda: cluster.running(job), 90)
    in_prometheus(cluster, job, places(cluster, job))
    assert set(map(tuple, cluster.ids(NODE).values())) == {(str(job),)}
    ended(cluster, job)


def test_a_suspended_job_keeps_its_gpus_through_a_reconciliation(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=2")
    wanted = places(cluster, job)
    in_prometheus(cluster, job, wanted)
    cluster.shell("head", f"scontrol suspend {job}")
    time.sleep(6)
    answers, code = cluster.lab.salt(NODE, "job_map.reconcile")
    assert (code, answers[NODE]["removed"]) == (0, {})
    assert cluster.labelled(job) == wanted
    cluster.shell("head", f"scontrol resume {job}")
    ended(cluster, job)


def test_a_node_that_lost_power_comes_back_with_an_empty_map_and_a_table(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=2", "--no-requeue")
    in_prometheus(cluster, job, places(cluster, job))
    cluster.lab.kill(NODE)
    # What slurmctld does by itself after SlurmdTimeout; without it, it may take minutes to ask the node for its jobs.
    cluster.shell("head", f"scontrol update nodename={NODE} state=down reason=power")
    up(cluster.lab, deploy=False)
    assert cluster.ids(NODE) == {}
    assert "position 0 0" in cluster.shell(NODE, "cat /run/superpod-dcgm/devices")
    cluster.wait("Slurm trusts it again", lambda: cluster.shell("head", f"sinfo -h -n {NODE} -o %T") == "idle")
    job = started(cluster, "--gpus-per-node=1")
    in_prometheus(cluster, job, places(cluster, job))
    ended(cluster, job)


def test_a_job_survives_the_death_of_slurmd_with_its_label(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=2")
    wanted = places(cluster, job)
    in_prometheus(cluster, job, wanted)
    cluster.shell(
        NODE,
        f"{MEANT}; systemctl kill --signal=KILL --kill-whom=main slurmd; sleep 1; systemctl reset-failed slurmd; "
        "systemctl start slurmd",
    )
    time.sleep(6)
    answers, _ = cluster.lab.salt(NODE, "job_map.reconcile")
    assert answers[NODE]["removed"] == {}
    assert cluster.running(job) and cluster.labelled(job) == wanted
    ended(cluster, job)


def test_a_job_cancelled_in_its_prolog_leaves_nothing(cluster: Cluster) -> None:
    slow = f"{PROLOGS}/70-slow"
    cluster.shell(NODE, f"printf '#!/bin/sh\nsleep 4\n' > {slow}; chmod 755 {slow}")
    try:
        job = submit(cluster, "--gpus-per-node=2")
        cluster.wait("its prolog runs", lambda: cluster.ids(NODE))
        cluster.shell("head", f"scancel {job}")
        cluster.wait("it is gone", lambda: cluster.gone(job))
    finally:
        cluster.shell(NODE, f"rm {slow}")
    cluster.wait("nothing is left", lambda: not cluster.ids(NODE))


def test_what_a_lost_epilog_left_is_removed_and_a_live_job_is_not(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=1")
    before = cluster.ids(NODE)
    cluster.shell(NODE, "echo 999999 > /run/dcgm-job-map/7; touch -d '1 hour ago' /run/dcgm-job-map/7")
    cluster.shell("head", "systemctl stop slurmctld")
    try:
        answers, _ = cluster.lab.salt(NODE, "job_map.reconcile")
        assert answers[NODE]["removed"] == {} and answers[NODE]["problem"], "no answer: nothing is removed"
    finally:
        cluster.shell("head", "systemctl start slurmctld")
    cluster.wait("the timer removed it by itself", lambda: cluster.ids(NODE) == before, 60)
    count = "dcgm_job_map_reconcile_removed_total"
    cluster.wait("and counted it", lambda: f"{count} 0" not in cluster.own_metrics(NODE))
    assert count in cluster.own_metrics(NODE)
    ended(cluster, job)


def test_a_stale_map_is_reported_by_a_state_before_it_is_removed(cluster: Cluster) -> None:
    cluster.shell(NODE, "systemctl stop dcgm-job-map.timer")
    try:
        cluster.shell(NODE, "echo 999998 > /run/dcgm-job-map/6; touch -d '1 hour ago' /run/dcgm-job-map/6")
        state = "Remove finished jobs from the job map"
        dry = cluster.apply(NODE, "dcgm.slurm.reconcile", test=True)
        assert dry.states(NODE)[state]["changes"] == {"removed": {"6": ["999998"]}}
        assert cluster.ids(NODE) == {"6": ["999998"]}
        cluster.apply(NODE, "dcgm.slurm.reconcile").succeeded()
        assert cluster.ids(NODE) == {}
        assert state not in cluster.apply(NODE, "dcgm.slurm.reconcile").changed(NODE)
    finally:
        cluster.shell(NODE, "systemctl start dcgm-job-map.timer")


def test_prometheus_knows_who_uses_which_gpu_and_how_the_scripts_do(cluster: Cluster) -> None:
    job = started(cluster, "--gpus-per-node=2")
    query = f'slurm_gpu_job_info{{hpc_job="{job}"}}'
    found = cluster.wait("the job's info", lambda: cluster.lab.prometheus(query), 30)
    uuids = {str(gpu["index"]): gpu["uuid"] for gpu in gpus(cluster)}
    assert {(s["metric"]["host"], s["metric"]["gpu"]) for s in found} == places(cluster, job)
    for series in found:
        metric = series["metric"]
        assert (metric["user"], metric["partition"], metric["UUID"]) == ("alice", "defq", uuids[metric["gpu"]])
    assert users(cluster) == {"alice"}
    runs = f'dcgm_job_map_runs_total{{host="{NODE}",script="prolog"}}'
    assert float(cluster.lab.prometheus(runs)[0]["value"][1]) > 0
    assert cluster.lab.prometheus(f'time() - dcgm_job_map_device_table_timestamp_seconds{{host="{NODE}"}}')
    ended(cluster, job)
    cluster.wait("the info goes too", lambda: not cluster.lab.prometheus(query), 30)


def test_without_the_label_the_info_still_tells_the_job(cluster: Cluster, configured: Callable[..., None]) -> None:
    configured(job_map={"label": False})
    job = started(cluster, "--gpus-per-node=1")
    query = f'slurm_gpu_job_info{{hpc_job="{job}"}}'
    cluster.wait("the job's info", lambda: cluster.lab.prometheus(query), 30)
    assert cluster.labelled(job) == set()
    assert users(cluster) == {"alice"}
    cluster.shell("head", f"scancel {job}")


def test_a_node_exporter_of_others_gets_the_file_and_ours_stops(
    cluster: Cluster, configured: Callable[..., None]
) -> None:
    cluster.shell(NODE, "mkdir -p /var/lib/node_exporter")
    configured(metrics={"textfile_directory": "/var/lib/node_exporter"})
    cluster.wait(
        "the file",
        lambda: cluster.lab.exec(NODE, ["test", "-s", "/var/lib/node_exporter/superpod-dcgm.prom"]).returncode == 0,
    )
    assert cluster.lab.exec(NODE, ["systemctl", "is-active", "dcgm-textfile"]).stdout.strip() == "inactive"
    assert cluster.lab.http(f"http://{NODE}:9401/metrics")[0] == 0


def test_uuids_as_slurm_25_11_gives_them_simulated(cluster: Cluster, environment: Callable[..., None]) -> None:
    """They win over the positions, which here name other GPUs."""
    uuids = [gpu["uuid"] for gpu in gpus(cluster)]
    environment(CUDA_VISIBLE_DEVICES=f"{uuids[6]},{uuids[3]}")
    job = started(cluster, "--gpus-per-node=2")
    in_prometheus(cluster, job, {(NODE, "6"), (NODE, "3")})
    ended(cluster, job)


def test_positions_in_nvml_order_simulated(
    cluster: Cluster, profile: Callable[[str], None], configured: Callable[..., None]
) -> None:
    """As with AutoDetect=nvml: the position is the index, although the minor numbers differ."""
    profile("minor-order")
    configured(slurm={"positions": "index"})
    job = started(cluster, "--gpus-per-node=2")
    in_prometheus(cluster, job, cluster.allocated(job))
    ended(cluster, job)


def test_mig_instances_simulated(
    cluster: Cluster, profile: Callable[[str], None], environment: Callable[..., None]
) -> None:
    """Two jobs in compute instances of one GPU instance, and a third one elsewhere."""
    profile("mig")
    (whole,) = [gpu for gpu in gpus(cluster) if gpu["index"] == 1]
    first, second = [device["uuid"] for device in whole["mig"] if device["gi"] == 3]
    third = next(device["uuid"] for device in whole["mig"] if device["gi"] == 13)
    jobs = []
    for uuid in (first, second, third):
        environment(CUDA_VISIBLE_DEVICES=uuid)
        jobs.append(started(cluster, "--gpus-per-node=1"))
    for job, instance in zip(jobs, ("3", "3", "13"), strict=True):
        cluster.wait(f"job {job} on 1.{instance}", lambda j=job, i=instance: instances(cluster, j) == {("1", i)}, 20)
    cluster.shell("head", f"scancel {jobs[0]}")
    cluster.wait("the first is gone", lambda: not instances(cluster, jobs[0]), 20)
    assert instances(cluster, jobs[1]) == {("1", "3")}
    cluster.shell("head", f"scancel {jobs[1]} {jobs[2]}")


def test_a_driver_that_hangs_costs_no_job_anything_and_the_last_table_stays(cluster: Cluster) -> None:
    before = cluster.shell(NODE, "grep -v ^made /run/superpod-dcgm/devices")
    cluster.shell(NODE, "lab-gpus fault hang")
    try:
        answers, code = cluster.lab.salt(NODE, "dcgm_devices.refresh")
        assert code != 0 and "nvidia-smi" in str(answers[NODE])
        job = started(cluster, "--gpus-per-node=1")
        in_prometheus(cluster, job, places(cluster, job))
        assert cluster.shell(NODE, "grep -v ^made /run/superpod-dcgm/devices") == before
        cluster.wait("told", lambda: "dcgm_job_map_device_table_ok 0" in cluster.own_metrics(NODE), 30)
    finally:
        cluster.shell(NODE, "lab-gpus fault off")
    cluster.lab.salt(NODE, "dcgm_devices.refresh")
    ended(cluster, job)


def test_the_start_of_a_job_is_not_delayed(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Prints what our scripts cost; how long a start takes is Slurm's affair."""

    def median() -> float:
        seconds = []
        for _ in range(12):
            begin = time.monotonic()
            argv = f"timeout 60 srun -Q -w {NODE} --gpus-per-node=1 --chdir=/tmp true"
            cluster.shell("head", f"runuser -u alice -- {argv}")
            seconds.append(time.monotonic() - begin)
        # The last epilog may still run, and must not lose its script.
        cluster.wait("all epilogs have run", lambda: not cluster.shell("head", "squeue -h"))
        return statistics.median(seconds)

    ours = [f"{PROLOGS}/60-prolog-dcgm.sh", f"{EPILOGS}/60-epilog-dcgm.sh"]
    with_scripts = median()
    cluster.shell(NODE, f"mkdir -p /tmp/aside && mv {' '.join(ours)} /tmp/aside/")
    try:
        without = median()
    finally:
        for path in ours:
            cluster.shell(NODE, f"mv /tmp/aside/{path.rpartition('/')[2]} {path}")
    say(f"srun of one GPU, median of 12: {with_scripts:.3f} s with our scripts, {without:.3f} s without")
    assert with_scripts > 0 and without > 0
