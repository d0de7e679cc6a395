"""Prolog and epilog under real Slurm: a GPU is labelled while a job holds it, and no trouble of ours reaches a job."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from superpod.lab import Lab
from superpod.lab.deployment import apply_when_free
from superpod.lab.layout import HEAD

NODE = "dgx-02"
MAP = "/run/dcgm-job-map"
KINDS = ("prolog", "epilog")
LAYOUTS = {
    "one copy for all nodes": {"scripts": "shared"},
    "directories of BCM 11": {"layout": "bcm11", "scripts": "shared"},
    "other names of the links": {
        kind + "_link": f"/cm/local/apps/slurm/var/{kind}s/70-{kind}-gpu.sh" for kind in KINDS
    },
}


@pytest.fixture(autouse=True)
def never_drained(deployed: Lab, wait_until: Callable[..., Any]) -> Iterator[None]:
    """Whatever a test does to the map: afterwards no job is left, its epilogs have run, and Slurm trusts its nodes."""
    yield
    deployed.exec("head", ["scancel", "--user", "alice"], check=True)
    wait_until("No job left", lambda: not deployed.exec("head", ["squeue", "--noheader"], check=True).stdout.strip())
    states = deployed.exec("head", ["sinfo", "--noheader", "--Node", "--format=%T"], check=True).stdout.split()
    assert states
    assert not [state for state in states if "drain" in state or "down" in state]


def job_map(lab: Lab) -> dict[str, list[str]]:
    answer, code = lab.salt(NODE, "job_map.show")
    assert code == 0, answer
    return {gpu: ids for gpu, ids in answer[NODE].items() if ids}


def apply(lab: Lab, target: str, state: str, **slurm: str) -> None:
    pillar = f"pillar={json.dumps({'dcgm': {'slurm': slurm}})}"
    answer, code = apply_when_free(lab, target, "state.apply", state, pillar)
    assert code == 0, answer


def finished(lab: Lab, job: int) -> bool:
    return not lab.exec("head", ["squeue", "--noheader", f"--jobs={job}"]).stdout.strip()


@pytest.mark.parametrize("gpus", [1, 2, 8])
def test_each_gpu_of_a_job_has_its_id_and_only_while_it_runs(
    deployed: Lab, wait_until: Callable[..., Any], gpus: int
) -> None:
    job = deployed.run_job(gpus, 300, NODE)
    expected = {str(gpu): [str(job)] for gpu in range(gpus)}
    wait_until(f"Map of a job with {gpus} GPUs", lambda: job_map(deployed) == expected)
    deployed.exec("head", ["scancel", str(job)], check=True)
    wait_until("Map empty after scancel", lambda: job_map(deployed) == {})


def test_two_jobs_on_a_node_have_their_own_gpus(deployed: Lab, wait_until: Callable[..., Any]) -> None:
    first, second = deployed.run_job(3, 300, NODE), deployed.run_job(2, 300, NODE)
    expected = {gpu: [str(first if gpu in "012" else second)] for gpu in "01234"}
    wait_until("Map of two jobs", lambda: job_map(deployed) == expected)
    deployed.exec("head", ["scancel", str(first)], check=True)
    wait_until("Map of the second job", lambda: job_map(deployed) == {"3": [str(second)], "4": [str(second)]})


TROUBLE = {
    "a full file system": (
        f"mount -t tmpfs -o size=4k,mode=0755 tmpfs {MAP}; head -c 4096 /dev/zero >{MAP}/fill",
        f"umount {MAP}",
        "cannot write",
    ),
    "a read-only file system": (f"mount -t tmpfs -o ro tmpfs {MAP}", f"umount {MAP}", "cannot write in"),
    "a lock that is never given back": (
        f"systemd-run --quiet --unit=hold flock {MAP}/.lock sleep infinity",
        "systemctl stop hold",
        "lock not free",
    ),
    "no settings": (
        "mv /etc/dcgm-exporter/job-map.conf /tmp",
        "mv /tmp/job-map.conf /etc/dcgm-exporter",
        "no settings",
    ),
}


@pytest.mark.parametrize(("make", "mend", "message"), TROUBLE.values(), ids=TROUBLE.keys())
def test_a_job_runs_whatever_is_wrong_with_the_map(
    deployed: Lab, wait_until: Callable[..., Any], make: str, mend: str, message: str
) -> None:
    deployed.exec(NODE, ["sh", "-c", make], check=True)
    try:
        job = deployed.run_job(2, 1, NODE)
        wait_until("The job has run", lambda: finished(deployed, job))
        log = deployed.exec(NODE, ["journalctl", "-t", "dcgm-job-map", "-o", "cat"], check=True).stdout
        assert [line for line in log.splitlines() if f"job '{job}'" in line and message in line]
    finally:
        deployed.exec(NODE, ["sh", "-c", mend], check=True)


@pytest.mark.parametrize("slurm", LAYOUTS.values(), ids=LAYOUTS.keys())
def test_other_places_for_the_scripts_are_a_pillar_key_away(
    deployed: Lab, wait_until: Callable[..., Any], slurm: dict[str, str]
) -> None:
    try:
        if "scripts" in slurm:
            apply(deployed, HEAD, "dcgm.slurm.shared", **slurm)
        apply(deployed, NODE, "dcgm.slurm", **slurm)
        job = deployed.run_job(1, 300, NODE)
        wait_until("Map of the job", lambda: job_map(deployed) == {"0": [str(job)]})
        # A former link would run the script a second time, and fail jobs once its target is gone.
        found = deployed.exec(NODE, ["sh", "-c", "ls /cm/local/apps/slurm/var/*/[67]0-*"], check=True).stdout.split()
        assert len(found) == 2, found
    finally:
        apply(deployed, NODE, "dcgm.slurm")
        if "scripts" in slurm:
            apply(deployed, HEAD, "dcgm.slurm.shared_clean", **slurm)


def test_cleaning_a_node_while_a_job_runs_does_not_disturb_it(deployed: Lab, wait_until: Callable[..., Any]) -> None:
    job = deployed.run_job(2, 300, NODE)
    wait_until("Map of the job", lambda: job_map(deployed) == {"0": [str(job)], "1": [str(job)]})
    try:
        apply(deployed, NODE, "dcgm.agent.clean")
        left = ["sh", "-c", f"ls -d {MAP} /etc/tmpfiles.d/superpod-dcgm.conf /cm/local/apps/slurm/var/*/60-*"]
        assert deployed.exec(NODE, left).stdout == ""
        assert not finished(deployed, job)
        deployed.exec("head", ["scancel", str(job)], check=True)
        wait_until("The job has gone", lambda: finished(deployed, job))
    finally:
        apply(deployed, NODE, "dcgm.slurm")


def test_slurms_configuration_is_found_to_run_both_links(deployed: Lab) -> None:
    answer, code = deployed.salt(NODE, "job_map.wiring")
    assert (code, answer[NODE]["fits"]) == (0, True)


def test_slurm_without_bcm_is_one_key_away_and_the_check_says_when_slurm_conf_does_not_fit(
    deployed: Lab, wait_until: Callable[..., Any]
) -> None:
    plain = {"layout": "plain"}
    pillar = f"pillar={json.dumps({'dcgm': {'slurm': plain}})}"
    lines = {"Prolog": "/etc/slurm/prolog.d/*", "Epilog": "/etc/slurm/epilog.d/*"}
    for node in deployed.nodes:
        deployed.exec(node, ["mkdir", "-p", "/etc/slurm/prolog.d", "/etc/slurm/epilog.d"], check=True)
    try:
        apply(deployed, "dgx-*", "dcgm.slurm", **plain)
        answer, code = deployed.salt(HEAD, "state.apply", "dcgm.slurm.wiring", pillar)
        (state,) = answer[HEAD].values()
        assert (code, state["result"]) == (1, False)
        assert "does not run /etc/slurm/prolog.d/60-prolog-dcgm.sh" in state["comment"]
        for name in deployed.machines:
            script = "; ".join(
                f"sed -i 's|^{key}=.*|{key}={value}|' /etc/slurm/slurm.conf" for key, value in lines.items()
            )
            deployed.exec(name, ["sh", "-c", f"cp /etc/slurm/slurm.conf /tmp/slurm.conf; {script}"], check=True)
        deployed.exec("head", ["scontrol", "reconfigure"], check=True)
        answer, code = deployed.salt(HEAD, "state.apply", "dcgm.slurm.wiring", pillar)
        assert code == 0, answer
        job = deployed.run_job(1, 300, NODE)
        wait_until("Map of the job", lambda: job_map(deployed) == {"0": [str(job)]})
        deployed.exec("head", ["scancel", str(job)], check=True)
        wait_until("Map empty", lambda: job_map(deployed) == {})
    finally:
        for name in deployed.machines:
            deployed.exec(
                name, ["sh", "-c", "test ! -e /tmp/slurm.conf || cat /tmp/slurm.conf > /etc/slurm/slurm.conf"]
            )
        deployed.exec("head", ["scontrol", "reconfigure"], check=True)
        apply(deployed, "dgx-*", "dcgm.slurm")
