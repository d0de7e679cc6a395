"""`superpod job` and `report` of an ordinary user beside real Slurm: without accounting, and with slurmdbd."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import accounting
import pytest
from product import Cluster

pytestmark = pytest.mark.usefixtures("deployed")
PYTHON = "/cm/shared/lab/reports"
# What the command line needs beside Python; of a distribution, or of the checkout's own environment.
PACKAGES = ("click", "rich", "yaml", "pygments", "markdown_it", "mdurl")
NAME = "train me|now"
SBATCH = "sbatch --parsable --chdir=/tmp --output=/dev/null"
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def superpod(cluster: Cluster) -> Iterator[Run]:
    """Return a function that runs the command as an ordinary user of the head."""
    target = cluster.lab.layout.shared / "lab/reports"
    for name in PACKAGES:
        found = importlib.util.find_spec(name)
        assert found and found.origin, f"{name} is not there"
        shutil.copytree(Path(found.origin).parent, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    cluster.shell("head", f"chmod -R a+rX {PYTHON}")
    variables = [f"PYTHONPATH={PYTHON}:/srv/superpod-dcgm-exporter:/srv/superpod-dcgm-exporter/_utils"]
    variables += ["PYTHONDONTWRITEBYTECODE=1", "SUPERPOD_PROMETHEUS=http://bcm-01:9090"]

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = ["runuser", "-u", "alice", "--", "env", "-C", "/tmp", *variables, "python3", "-m", "superpod"]
        return cluster.lab.exec("head", [*command, *words])

    yield run
    shutil.rmtree(target)


@pytest.fixture(scope="module", autouse=True)
def no_jobs(cluster: Cluster, deployed: object) -> Iterator[None]:
    end_jobs(cluster)
    yield
    end_jobs(cluster)


def end_jobs(cluster: Cluster) -> None:
    cluster.shell("head", "scancel --user alice")
    cluster.wait("no job is left", lambda: not cluster.shell("head", "squeue --noheader"), 120)


def submit(cluster: Cluster, words: str) -> str:
    """Submit a job as an ordinary user; its id."""
    return cluster.shell("head", f"runuser -u alice -- {SBATCH} {words}").partition(";")[0]


def raw(cluster: Cluster, job: str) -> str:
    """Return the id that the metrics have, as Slurm's controller knows it while the job runs."""
    return cluster.shell("head", f"scontrol -o show job '{job}' | sed -En 's/^JobId=([0-9]+) .*/\\1/p'")


def minutes(cluster: Cluster, job: str) -> int:
    """Return of how many minutes there is a record."""
    rows = cluster.lab.prometheus(f'count_over_time(job:gpus_allocated:sum{{hpc_job="{job}"}}[1h])')
    return int(rows[0]["value"][1]) if rows else 0


def recorded(cluster: Cluster, job: str, least: int) -> None:
    cluster.wait(f"{least} minutes of job {job} are recorded", lambda: minutes(cluster, job) >= least, 60 * least + 120)


def report(run: Run, *words: str, codes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    answer = run(*words, "--json")
    assert answer.returncode in codes, answer.stdout + answer.stderr
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_without_accounting_the_controller_is_asked(cluster: Cluster, superpod: Run) -> None:
    # A server that has just come up has no record yet, and says that instead.
    cluster.wait("there are records", lambda: cluster.lab.prometheus("cluster:gpus:count"), 180)
    array = submit(cluster, f"--array=3 --gpus-per-node=1 --job-name='{NAME}' --wrap 'sleep 600'")
    cluster.wait("the task runs", lambda: cluster.running(int(array)))
    waiting = superpod("job", f"{array}_3", "--json")
    assert waiting.returncode == 3 and "Slurm says: RUNNING, 1 GPUs, started" in waiting.stderr, waiting.stderr
    recorded(cluster, raw(cluster, f"{array}_3"), 2)
    found = report(superpod, "job", f"{array}_3", codes=(0, 3))
    assert (found["job"], found["asked"]) == (raw(cluster, f"{array}_3"), f"{array}_3")
    assert (found["name"], found["state"], found["running"], found["user"]) == (NAME, "RUNNING", True, "alice")
    assert (found["gpus"]["held"], found["gpus"]["slurm"]) == (1, 1)
    begin = cluster.shell("head", f"SLURM_TIME_FORMAT=%s squeue -h -j {array}_3 -O StartTime")
    assert found["begin"] == float(begin)
    end_jobs(cluster)
    assert superpod("job", "999_1").returncode == 2


@pytest.fixture(scope="module")
def accounted(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Jobs that slurmdbd has: a task of an array, both parts of a het job, and one that is requeued."""
    try:
        accounting.start(cluster, tmp_path_factory.mktemp("accounting") / "log")
        array = submit(cluster, f"--array=3-4 --gpus-per-node=1 --job-name='{NAME}' --wrap 'sleep 900'")
        first, second = "--gpus-per-node=1 --nodelist=dgx-01", "--gpus-per-node=2 --nodelist=dgx-02"
        het = submit(cluster, f"--job-name=het {first} --wrap 'sleep 900' : --job-name=het {second}")
        again = submit(cluster, "--requeue --gpus-per-node=1 --job-name=again --nodelist=dgx-02 --wrap 'sleep 900'")
        found = {"task": f"{array}_3", "leader": f"{het}+0", "second": f"{het}+1", "again": again}
        for job in (array, het, again):
            cluster.wait(f"job {job} runs", lambda job=job: cluster.running(int(job)), 120)
        found |= {f"{name} raw": raw(cluster, found[name]) for name in ("task", "leader", "second")}
        recorded(cluster, again, 3)
        cluster.shell("head", f"scontrol requeue {again}")
        recorded(cluster, found["second raw"], 4)
        cluster.shell("head", f"scancel {found['task']} {het}")
        cluster.wait("the job runs again", lambda: cluster.running(int(again)), 240)
        recorded(cluster, again, 6)
        yield found
    finally:
        end_jobs(cluster)
        accounting.stop(cluster)


def sacct(cluster: Cluster, job: str, fields: str) -> list[list[str]]:
    """Return what sacct says of a job, each try for itself."""
    command = f"SLURM_TIME_FORMAT=%s sacct -n -P -X -D --delimiter=@ -j '{job}' -o {fields}"
    return [line.split("@") for line in cluster.shell("head", command).splitlines()]


def test_a_task_of_an_array_is_known_by_slurms_name_for_it(
    cluster: Cluster, superpod: Run, accounted: dict[str, str]
) -> None:
    job = accounted["task"]
    found = report(superpod, "job", job)
    ((state, begin, end, account, name, number),) = sacct(cluster, job, "State,Start,End,Account,JobName,JobIDRaw")
    assert (found["job"], found["asked"], found["job"]) == (accounted["task raw"], job, number)
    assert (found["name"], found["account"], found["user"]) == (name, account, "alice") == (NAME, "physics", "alice")
    assert found["state"] == state.split()[0] == "CANCELLED" and not found["running"]
    assert (found["begin"], found["end"]) == (float(begin), float(end))
    assert (found["gpus"]["held"], found["gpus"]["slurm"], found["coverage"]) == (1, 1, pytest.approx(1, abs=0.05))
    text = superpod("job", job).stdout
    assert f"Job {number}  {NAME}" in text and "alice (account physics, partition defq)" in text
    assert f"{job} is job {number}." in text and "CANCELLED (holds no GPU now)" in text


@pytest.mark.parametrize(("part", "gpus", "node"), [("leader", 1, "dgx-01"), ("second", 2, "dgx-02")])
def test_each_part_of_a_het_job_is_a_job(
    superpod: Run, accounted: dict[str, str], part: str, gpus: int, node: str
) -> None:
    found = report(superpod, "job", accounted[part])
    assert (found["job"], found["name"]) == (accounted[f"{part} raw"], "het")
    assert (found["gpus"]["held"], found["gpus"]["slurm"], found["tries"][0]["hosts"]) == (gpus, gpus, [node])
    assert report(superpod, "job", accounted[f"{part} raw"])["gpus"] == found["gpus"]


def test_a_requeued_job_has_two_tries_and_no_idle_time_between(
    cluster: Cluster, superpod: Run, accounted: dict[str, str]
) -> None:
    found = report(superpod, "job", accounted["again"])
    known = sacct(cluster, accounted["again"], "State,Start,End,NodeList")
    assert [row[0] for row in known] == ["REQUEUED", "RUNNING"]
    assert [(one["state"], one["begin"], one["hosts"]) for one in found["tries"]] == [
        (state, float(begin), [node]) for state, begin, _, node in known
    ]
    first, second = found["tries"]
    assert first["end"] == float(known[0][2]) and second["begin"] - first["end"] > 60
    # Its second GPU may be another one.
    assert found["running"] and (found["gpus"]["at_once"], found["gpus"]["slurm"]) == (1, 1)
    # What it held is what it ran, to a minute at each end: the wait is none of it.
    assert found["gpu_hours"]["held"] * 3600 == pytest.approx(found["seconds"], abs=180)
    assert found["all_idle_seconds"] < second["begin"] - first["end"]


def test_the_user_sees_what_was_used_and_nothing_of_it_depends_on_slurm(
    superpod: Run, accounted: dict[str, str]
) -> None:
    rows = report(superpod, "report", "--since", "2h", "--user", "alice", codes=(0, 3))["rows"]
    mine = {one["job"]: one for one in rows}
    for name in ("task raw", "leader raw", "second raw"):
        job = report(superpod, "job", accounted[name])
        assert mine[accounted[name]]["gpu_hours_held"] == pytest.approx(job["gpu_hours"]["held"])
        assert mine[accounted[name]]["energy_joules"] == pytest.approx(job["energy_joules"])
        alone = report(superpod, "job", accounted[name], "--no-slurm")
        assert (alone["name"], alone["state"]) == (None, None)
        assert alone["gpu_hours"] == job["gpu_hours"] and alone["energy_joules"] == job["energy_joules"]
    assert superpod("job", accounted["task"], "--no-slurm").returncode == 2
