"""GPUs that are free for maintenance stay so, and a job map that somebody spoiled is right again within a tick."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from product import UNIT, Cluster

NODE = "dgx-02"
UNITS = (UNIT, "dcgm-job-map.timer", "dcgm-job-map.service", "dcgm-devices.service")
TABLE = "/run/superpod-dcgm/devices"
MAP = "/run/dcgm-job-map"
# The timer's interval, what it may come later, and what a scrape and Prometheus take.
TICK = 60


@pytest.fixture(autouse=True)
def undisturbed(deployed: object, cluster: Cluster) -> Iterator[None]:
    """After every test our units run, no job is left, and Slurm trusts its nodes."""
    yield
    cluster.shell(NODE, "systemctl stop lab-holder.service 2>/dev/null; rm -f /dev/nvidia-lab")
    ask(cluster, "resume")
    cluster.shell("head", "scancel --user alice")
    cluster.wait("no job is left", lambda: not cluster.shell("head", "squeue -h"))
    cluster.wait("no GPU carries an id", lambda: not cluster.ids(NODE))
    states = cluster.shell("head", "sinfo -h -N -o %T").split()
    assert states and not [state for state in states if "drain" in state or "down" in state]


def ask(cluster: Cluster, function: str) -> tuple[bool, dict[str, Any]]:
    """Run a function of dcgm_gpu on the node; return whether the exit code of `salt` is 0, and the answer."""
    answers, code = cluster.lab.salt(NODE, f"dcgm_gpu.{function}")
    return code == 0, answers[NODE]


def started(cluster: Cluster, gpus: int) -> int:
    fixed = ["--parsable", "--chdir=/tmp", "--output=/dev/null", f"--nodelist={NODE}", f"--gpus-per-node={gpus}"]
    argv = ["runuser", "-u", "alice", "--", "sbatch", *fixed, "--wrap", "sleep 300"]
    job = int(cluster.lab.exec("head", argv, check=True).stdout.strip())
    cluster.wait(f"job {job} runs", lambda: cluster.running(job))
    return job


def up(cluster: Cluster) -> list[str]:
    """Return which of our units that use GPUs run."""
    script = "systemctl is-active " + " ".join(UNITS) + " || true"
    states = cluster.shell(NODE, script).split()
    return [unit for unit, state in zip(UNITS, states, strict=True) if state not in ("inactive", "failed")]


def test_freed_gpus_stay_free_whoever_starts_what(cluster: Cluster) -> None:
    job = started(cluster, 2)
    cluster.shell(NODE, "touch /dev/nvidia-lab")
    holder = "exec 3</dev/nvidia-lab; exec sleep 600"
    cluster.shell(NODE, f"systemd-run --quiet --unit=lab-holder sh -c '{holder}'")
    good, found = ask(cluster, "free")
    assert (good, found["free"]) == (False, False)
    assert found["jobs"][str(job)] == {"user": "alice", "gpus": ["0", "1"]}
    assert [user["unit"] for user in found["users"]] == ["lab-holder.service"]
    assert any("systemctl stop lab-holder.service" in line for line in found["comment"])
    assert up(cluster) == []
    table = cluster.shell(NODE, f"cat {TABLE}")
    cluster.shell(NODE, "systemctl restart slurmd nvidia-dcgm")
    cluster.shell(NODE, f"systemctl start {' '.join(UNITS)}")
    cluster.apply(NODE, "dcgm").succeeded()
    cluster.apply(NODE, "dcgm.exporter.service").succeeded()
    assert (up(cluster), cluster.running(job)) == ([], True)
    assert cluster.shell(NODE, f"cat {TABLE}") == table
    assert "superpod_dcgm_gpus_freed 1" in cluster.own_metrics(NODE)
    cluster.shell(NODE, "systemctl stop lab-holder.service; rm /dev/nvidia-lab")
    cluster.shell("head", f"scancel {job}")
    cluster.wait("the job is gone", lambda: cluster.gone(job))
    good, again = ask(cluster, "free")
    assert (good, again["free"], again["freed"], again["stopped"]) == (True, True, found["freed"], [])


def test_what_came_back_different_is_told_and_in_the_table(cluster: Cluster) -> None:
    assert ask(cluster, "free")[0]
    cluster.shell(NODE, "lab-gpus profile mig")
    assert "uuid MIG-" not in cluster.shell(NODE, f"cat {TABLE}")
    good, found = ask(cluster, "resume")
    assert (good, found["problems"]) == (True, [])
    assert found["instances"]["before"] == {} and found["instances"]["after"]
    assert UNIT in found["started"] and "dcgm-job-map.timer" in found["started"]
    assert "uuid MIG-" in cluster.shell(NODE, f"cat {TABLE}")
    assert "DCGM_FI_DEV_FB_USED" in cluster.metrics(NODE)
    assert ask(cluster, "free")[0]
    cluster.shell(NODE, "lab-gpus profile identity")
    assert ask(cluster, "resume")[1]["instances"]["after"] == {}
    assert ask(cluster, "resume") == (True, {**found, "was": None, "gpus": {}, "instances": {}, "started": []})


def test_a_spoiled_map_is_right_again_within_a_tick(cluster: Cluster) -> None:
    job = started(cluster, 4)
    whole = {gpu: [str(job)] for gpu in "0123"}
    cluster.wait("four labels", lambda: cluster.ids(NODE) == whole)
    spoil = "rm 0; mkfifo 0; echo garbage one >1; : >2; rm 3; mkfifo 5; ln -s 2 6; echo 12 >+1"
    cluster.shell(NODE, f"cd {MAP} && {spoil}")
    # Not by cluster.ids: to read a FIFO is to wait for it.
    exact = f"cd {MAP} && ! [ -e +1 -o -L 6 -o -p 5 -o -p 0 ] && cat 0 1 2 3 | sort | uniq -c"
    whole_again = ["4", str(job)]
    # Looked at in the middle of a tick, a part of it may be right already.
    cluster.wait(
        "the map is right",
        lambda: cluster.lab.exec(NODE, ["bash", "-c", exact]).stdout.split() == whole_again,
        TICK,
    )
    metrics = cluster.metrics(NODE)
    assert f'hpc_job="{job}"' in metrics and "garbage" not in metrics
    labelled = {(NODE, gpu) for gpu in "0123"}
    cluster.wait("in Prometheus too", lambda: cluster.labelled(job) == labelled, TICK)
    assert 'dcgm_job_map_repaired_total{reason="kind"}' in cluster.own_metrics(NODE)
