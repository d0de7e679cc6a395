"""Labels that were lost come back from the record of their job, if the controller says that it holds this node."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from superpod_dcgm.agent import reconcile, verdicts
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.base.process import Answer

TABLE = Table(gpus={str(number): f"GPU-{number}" for number in range(4)})
HERE, ELSEWHERE = "{job}|RUNNING|dgx-01\n", "{job}|RUNNING|dgx-02\n"
UNKNOWN = Answer(1, error="slurm_load_jobs error: Invalid job id specified\n")
NO_CONTROLLER = Answer(1, error="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
LATE = Answer(None, error="does not answer", late=True)


class Slurm:
    """Answers for each job as it is told."""

    def __init__(self, answers: dict[str, str | Answer]) -> None:
        self.answers, self.asked = answers, []

    def __call__(self, arguments: list[str]) -> Answer:
        job = arguments[3]
        self.asked.append(job)
        answer = self.answers.get(job, UNKNOWN)
        return Answer(0, answer.format(job=job)) if isinstance(answer, str) else answer


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    path.mkdir(mode=0o755)
    return path


def put(directory: Path, name: str, data: bytes, age: float = 1000) -> None:
    (directory / name).write_bytes(data)
    (directory / name).chmod(0o644)
    os.utime(directory / name, (time.time() - age,) * 2)


def record(directory: Path, job: str, gpus: str, age: float = 1000, node: str = "dgx-01") -> None:
    put(directory, f".job-{job}", b"\0".join((b"v1", b"alice", b"", b"defq", node.encode(), gpus.encode(), b"")), age)


def run(directory: Path, slurm: Slurm, steps: set[str] = frozenset(), **conf: str) -> reconcile.Result:
    settings = {"directory": str(directory), "grace": "120", "idle": "empty", "shared": "no", "mig": "no", **conf}
    return reconcile.reconcile(settings, run=slurm, steps=set(steps), table=TABLE)


def ids(directory: Path) -> dict[str, list[str]]:
    return {path.name: path.read_text().split() for path in sorted(directory.glob("[0-9]*")) if path.read_text()}


# name: (map files, records, what Slurm says, settings, the map afterwards)
CASES = {
    "deleted": ({}, {"12": "0,1"}, {"12": HERE}, {}, {"0": ["12"], "1": ["12"]}),
    "truncated": ({"0": b"", "1": b"12\n"}, {"12": "0,1"}, {"12": HERE}, {}, {"0": ["12"], "1": ["12"]}),
    "garbage": ({"0": b"garbage one\n"}, {"12": "0"}, {"12": HERE}, {}, {"0": ["12"]}),
    "rewritten without it": ({"0": b"99\n"}, {"12": "0"}, {"12": HERE, "99": UNKNOWN}, {}, {"0": ["12"]}),
    "beside another on a shared GPU": (
        *({"0": b"13\n"}, {"12": "0", "13": "0"}, {"12": HERE, "13": HERE}),
        *({"shared": "yes"}, {"0": ["13", "12"]}),
    ),
    "a GPU that another job holds alone": (
        *({"0": b"13\n"}, {"12": "0", "13": "0"}, {"12": HERE, "13": HERE}, {}, {"0": ["13"]}),
    ),
    "another is too young to be asked for": ({"0": b"13\n"}, {"12": "0"}, {"12": HERE, "13": HERE}, {}, {"0": ["13"]}),
    "two that want one GPU": ({}, {"12": "0", "13": "0"}, {"12": HERE, "13": HERE}, {}, {}),
    "elsewhere": ({}, {"12": "0"}, {"12": ELSEWHERE}, {}, {}),
    "ended": ({}, {"12": "0"}, {"12": UNKNOWN}, {}, {}),
    "waiting": ({}, {"12": "0"}, {"12": "{job}|PENDING|\n"}, {}, {}),
    "no answer": ({}, {"12": "0"}, {"12": NO_CONTROLLER}, {}, {}),
    "late": ({}, {"12": "0"}, {"12": LATE}, {}, {}),
    "one refused beside it": ({}, {"12": "0", "13": "1"}, {"12": HERE, "13": NO_CONTROLLER}, {}, {"0": ["12"]}),
    "a GPU that is there no more": ({}, {"12": "0,7"}, {"12": HERE}, {}, {"0": ["12"]}),
    "an instance that the exporter does not read": ({}, {"12": "0,1.3"}, {"12": HERE}, {}, {"0": ["12"]}),
    "a name that is none": ({}, {"12": "../0,+1,0"}, {"12": HERE}, {}, {"0": ["12"]}),
}


@pytest.mark.parametrize(("maps", "records", "answers", "conf", "after"), CASES.values(), ids=CASES.keys())
def test_a_lost_label_comes_back_only_if_slurm_says_so(directory, maps, records, answers, conf, after) -> None:
    for name, data in maps.items():
        put(directory, name, data)
    for job, gpus in records.items():
        record(directory, job, gpus)
    result = run(directory, Slurm(answers), **conf)
    assert ids(directory) == after
    known = {job for jobs in after.values() for job in jobs}
    assert {job for jobs in result.restored.values() for job in jobs} <= known
    assert run(directory, Slurm(answers), **conf).restored == {}


def test_what_the_epilog_removed_does_not_come_back(directory) -> None:
    put(directory, "0", b"")
    put(directory, ".job-12", b"", 5)
    slurm = Slurm({"12": HERE})
    assert (run(directory, slurm).restored, slurm.asked) == ({}, [])


def test_a_young_job_gets_its_label_back_and_never_loses_its_record(directory) -> None:
    record(directory, "12", "0", age=1)
    assert run(directory, Slurm({"12": UNKNOWN})).restored == {}
    assert (directory / ".job-12").exists()
    assert run(directory, Slurm({"12": HERE})).restored == {"0": ["12"]}


def test_the_record_of_a_job_that_ended_goes_with_its_label(directory) -> None:
    put(directory, "0", b"13\n")
    record(directory, "12", "0")
    record(directory, "13", "0")
    run(directory, Slurm({"12": UNKNOWN, "13": HERE}))
    assert not (directory / ".job-12").exists() and (directory / ".job-13").exists()


def test_a_job_without_an_answer_keeps_its_record(directory) -> None:
    record(directory, "12", "0")
    run(directory, Slurm({"12": NO_CONTROLLER}))
    assert (directory / ".job-12").exists()


def test_a_step_is_no_proof_that_a_gpu_is_its_jobs(directory) -> None:
    record(directory, "12", "0")
    assert run(directory, Slurm({"12": ELSEWHERE}), steps={"12"}).restored == {}


def test_an_epilog_that_runs_meanwhile_wins(directory) -> None:
    record(directory, "12", "0")

    class Slow(Slurm):
        def __call__(self, arguments: list[str]) -> Answer:
            (directory / ".job-12").write_bytes(b"")
            return super().__call__(arguments)

    assert (run(directory, Slow({"12": HERE})).restored, ids(directory)) == ({}, {})


def test_with_test_it_only_says_what_would_come_back(directory) -> None:
    record(directory, "12", "0")
    settings = {"directory": str(directory), "shared": "no"}
    result = reconcile.reconcile(settings, test=True, run=Slurm({"12": HERE}), steps=set(), table=TABLE)
    assert (result.restored, ids(directory)) == ({"0": ["12"]}, {})


def test_one_late_answer_keeps_its_own_id_only_and_names_the_limit(directory) -> None:
    put(directory, "0", b"12\n13\n")
    result = run(directory, Slurm({"12": LATE, "13": UNKNOWN}), shared="yes")
    assert (result.removed, ids(directory)) == ({"0": ["13"]}, {"0": ["12"]})
    assert result.kept == {"12": "the controller gave no answer"}
    assert result.problem == "squeue is slow: it does not answer (after 0.0 s); the next run asks again"
    assert result.answered is False


def test_all_questions_together_take_a_bounded_time_and_the_next_run_goes_on(directory, monkeypatch) -> None:
    monkeypatch.setattr(verdicts, "SECONDS", 0.3)
    jobs = [str(job) for job in range(100, 120)]
    put(directory, "0", "".join(f"{job}\n" for job in jobs).encode())
    first = Slurm({})

    def slow(arguments: list[str]) -> Answer:
        time.sleep(0.2)
        return first(arguments)

    began = time.monotonic()
    settings = {"directory": str(directory), "grace": "120"}
    result = reconcile.reconcile(settings, run=slow, steps=set())
    assert time.monotonic() - began < 2
    assert 0 < len(first.asked) < len(jobs)
    assert (result.answered, result.problem) == (True, "")
    assert set(result.kept.values()) == {"many others are asked for first"}
    put(directory, "0", (directory / "0").read_bytes())
    monkeypatch.setattr(verdicts, "SECONDS", 20)
    second = Slurm({})
    reconcile.reconcile(settings, run=second, steps=set(), after=result.after)
    assert not set(first.asked) & set(second.asked)
    assert ids(directory) == {}


def test_living_jobs_do_not_keep_the_others_from_being_asked_for() -> None:
    jobs = [str(job) for job in range(1, 301)]
    first = reconcile.in_turn(jobs, 0)
    second = reconcile.in_turn(jobs, int(first[-1]))
    third = reconcile.in_turn(jobs, int(second[-1]))
    assert [len(first), second[0], third[0], third[-1]] == [128, "129", "257", "84"]


# name: what squeue says of a job that it does not know; the first is that of all releases since 22.05
SPELLINGS = {
    "of all releases": ("slurm_load_jobs error: Invalid job id specified", True),
    "with a warning before it": ("squeue: warning: x\nslurm_load_jobs error: Invalid job id specified\n", True),
    "in another case": ("slurm_load_jobs error: invalid job ID specified", True),
    "a number that is no id": ("squeue: error: Invalid job id: 12", True),
    "the same of another number": ("squeue: error: Invalid job id: 123", False),
    "of a partition": ("squeue: error: Invalid partition specified: x", False),
    "no right": ("slurm_load_jobs error: Access/permission denied", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("error", "gone"), SPELLINGS.values(), ids=SPELLINGS.keys())
def test_what_says_that_a_job_is_unknown(error, gone) -> None:
    assert verdicts.judge("12", lambda _: Answer(1, error=error), {"dgx-01"}).gone is (True if gone else None)


WARNED = {
    "a warning beside the answer": ("squeue: warning: something\n12|RUNNING|dgx-01\n", False),
    "the name of a cluster": ("CLUSTER: main\n12|RUNNING|dgx-01\n", False),
    "colours": ("\x1b[31m12|RUNNING|dgx-01\x1b[0m\r\n", False),
    "a warning and no answer": ("squeue: warning: something\n", None),
    "a warning and another job": ("warning\n13|RUNNING|dgx-01\n", None),
    "another job": ("13|RUNNING|dgx-01\n", True),
}


@pytest.mark.parametrize(("output", "gone"), WARNED.values(), ids=WARNED.keys())
def test_an_odd_line_of_squeue_costs_no_answer_and_gives_none(output, gone) -> None:
    assert verdicts.judge("12", lambda _: Answer(0, output), {"dgx-01"}).gone is gone
