"""Which ids reconciliation removes from the job map, and which it must not: tables of what Slurm says."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from superpod_dcgm.agent import job_map
from superpod_dcgm.agent import reconcile as reconciliation
from superpod_dcgm.agent.slurm import Answer

NODE = "dgx-01"
UNKNOWN = Answer(1, error="slurm_load_jobs error: Invalid job id specified\n")
NO_CONTROLLER = Answer(1, error="slurm_load_jobs error: Unable to contact slurm controller (connect failure)\n")
TIMEOUT = Answer(None, error="does not answer")


class Slurm:
    """Answers as squeue and scontrol do, and keeps what it was asked."""

    def __init__(self, answers: dict[str, Answer], hosts: dict[str, str]) -> None:
        self.answers, self.hosts, self.asked = answers, hosts, []

    def __call__(self, arguments: list[str]) -> Answer:
        self.asked.append(arguments)
        if arguments[:3] == ["scontrol", "show", "hostnames"]:
            text = self.hosts.get(arguments[3])
            return Answer(0, text) if text else Answer(1, error="Invalid hostlist")
        assert arguments[:3] == ["squeue", "-h", "-j"] and arguments[4:] == ["-o", "%A|%T|%N"]
        return self.answers[arguments[3]]


HOSTS = {"dgx-[01-02]": "dgx-01\ndgx-02\n", "dgx-[02-03]": "dgx-02\ndgx-03\n", "a-01,dgx-01": "a-01\ndgx-01\n"}


def _record(node: str = NODE) -> bytes:
    return b"v1\0alice\0research\0defq\0" + node.encode() + b"\x000\0"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    path.mkdir()
    return path


def put(directory: Path, name: str, data: bytes, age: float = 1000) -> None:
    (directory / name).write_bytes(data)
    os.utime(directory / name, (time.time() - age,) * 2)


def reconcile(directory: Path, slurm: Slurm, steps: set[str] = frozenset(), idle: str = "empty", **keywords):
    settings = {"directory": str(directory), "grace": "120", "idle": idle}
    return reconciliation.reconcile(settings, run=slurm, steps=set(steps), **keywords)


# name: (what Slurm says of job 12, removed, part of the reason)
VERDICTS = {
    "finished, still known": (Answer(0, ""), True, ""),
    "finished long ago": (UNKNOWN, True, ""),
    "an allocation without a step": (Answer(0, "12|RUNNING|dgx-01\n"), False, "RUNNING here"),
    "SUSPENDED": (Answer(0, "12|SUSPENDED|dgx-01\n"), False, "SUSPENDED here"),
    "COMPLETING, the epilog still runs": (Answer(0, "12|COMPLETING|dgx-01\n"), False, "COMPLETING here"),
    "COMPLETING, this node is done": (Answer(0, "12|COMPLETING|dgx-02\n"), True, ""),
    "CONFIGURING": (Answer(0, "12|CONFIGURING|dgx-01\n"), False, "CONFIGURING here"),
    "a state of a later Slurm": (Answer(0, "12|HIBERNATING|dgx-01\n"), False, "HIBERNATING here"),
    "printed although it is finished": (Answer(0, "12|COMPLETED|dgx-01\n"), True, ""),
    "several nodes, this one among them": (Answer(0, "12|RUNNING|dgx-[01-02]\n"), False, "RUNNING here"),
    "a list with commas": (Answer(0, "12|RUNNING|a-01,dgx-01\n"), False, "RUNNING here"),
    "several nodes, all others": (Answer(0, "12|RUNNING|dgx-[02-03]\n"), True, ""),
    "requeued, waiting": (Answer(0, "12|PENDING|\n"), True, ""),
    "requeued elsewhere": (Answer(0, "12|RUNNING|dgx-02\n"), True, ""),
    "a name that only begins as ours": (Answer(0, "12|RUNNING|dgx-011\n"), True, ""),
    "requeued and held": (Answer(0, "12|REQUEUE_HOLD|\n"), True, ""),
    "its own line after those of other array tasks": (
        *(Answer(0, "13|RUNNING|dgx-02\n14|RUNNING|dgx-01\n12|RUNNING|dgx-01\n"), False, "RUNNING here"),
    ),
    "array task, only others of the array are left": (Answer(0, "13|RUNNING|dgx-01\n"), True, ""),
    "het component here": (Answer(0, "12|RUNNING|dgx-01\n13|RUNNING|dgx-02\n"), False, "RUNNING here"),
    "het component elsewhere, another one here": (Answer(0, "12|RUNNING|dgx-02\n13|RUNNING|dgx-01\n"), True, ""),
    "slurmctld is down": (NO_CONTROLLER, False, "no answer"),
    "slurmctld hangs": (TIMEOUT, False, "no answer"),
    "no squeue": (Answer(None, error="there is no squeue on this node"), False, "no answer"),
    "access denied": (Answer(1, error="slurm_load_jobs error: Access/permission denied\n"), False, "no answer"),
    "killed": (Answer(-9, ""), False, "no answer"),
    "something unreadable": (Answer(0, "warning: see the manual\n"), False, "no answer"),
    "a list that nobody can expand": (Answer(0, "12|RUNNING|rack[1-\n"), False, "no answer"),
}


@pytest.mark.parametrize(("answer", "removed", "because"), VERDICTS.values(), ids=VERDICTS.keys())
def test_an_id_goes_only_when_slurm_says_that_its_job_is_not_here(directory, answer, removed, because) -> None:
    put(directory, "0", b"12\n")
    put(directory, "7", b"12\n")
    put(directory, ".job-12", _record())
    before = sorted(path.stat().st_mtime_ns for path in directory.iterdir())
    result = reconcile(directory, Slurm({"12": answer}, HOSTS))
    assert result.removed == ({"0": ["12"], "7": ["12"]} if removed else {})
    assert (directory / "0").read_bytes() == (b"" if removed else b"12\n")
    assert (directory / ".job-12").exists() is not removed
    assert because in result.kept.get("12", "")
    assert result.answered is ("no answer" not in because)
    assert bool(result.problem) is not result.answered
    if not removed:
        assert sorted(path.stat().st_mtime_ns for path in directory.iterdir()) == before


# name: (age of the record or None, age of the map file, jobs with a step, whether Slurm is asked)
QUESTIONS = {
    "old, no step": (1000, 5, (), True),
    "young record in an old file": (5, 1000, (), False),
    "no record, old file": (None, 1000, (), True),
    "no record, young file": (None, 5, (), False),
    "a step runs": (1000, 1000, ("12",), False),
    "a step of another job runs": (1000, 1000, ("112", "1"), True),
    "the clock was set back by a year": (-3e7, -3e7, (), True),
    "the clock was set back by a second": (-1, -1, (), False),
}


@pytest.mark.parametrize(("record", "file", "steps", "asked"), QUESTIONS.values(), ids=QUESTIONS.keys())
def test_slurm_is_asked_only_for_old_ids_without_a_step(directory, record, file, steps, asked) -> None:
    put(directory, "0", b"12\n", file)
    if record is not None:
        put(directory, ".job-12", _record(), record)
    slurm = Slurm({"12": UNKNOWN}, HOSTS)
    result = reconcile(directory, slurm, steps)
    assert bool(slurm.asked) is asked is bool(result.removed)
    assert result.answered is True


def test_every_id_is_asked_for_alone(directory) -> None:
    put(directory, "0", b"12\n13\n")
    put(directory, "1", b"12\n14\n")
    slurm = Slurm({job: UNKNOWN for job in ("12", "13", "14")}, HOSTS)
    reconcile(directory, slurm)
    assert sorted(arguments[3] for arguments in slurm.asked) == ["12", "13", "14"]


# name: (records, node of the job according to Slurm, whether its id stays)
NAMES = {
    "its record": ({"12": "slurm-a"}, "slurm-a", True),
    "its record says another": ({"12": "slurm-a"}, "dgx-01", False),
    "the record of another job": ({"99": "slurm-a"}, "slurm-a", True),
    "the record of another job says another": ({"99": "slurm-a"}, "slurm-b", False),
    "no record, as of an older release": ({}, "slurm-b", True),
    "an empty name in its record": ({"12": ""}, "slurm-b", True),
}


@pytest.mark.parametrize(("records", "where", "here"), NAMES.values(), ids=NAMES.keys())
def test_the_node_has_the_name_that_slurm_gives_it_and_unknown_means_stay(directory, records, where, here) -> None:
    put(directory, "0", b"12\n99\n")
    for job, node in records.items():
        put(directory, f".job-{job}", _record(node))
    answers = {"12": Answer(0, f"12|RUNNING|{where}\n"), "99": Answer(0, f"99|RUNNING|{where}\n")}
    assert ("12" in reconcile(directory, Slurm(answers, {})).kept) is here


def test_one_question_without_an_answer_keeps_everything_and_ends_the_asking(directory) -> None:
    jobs = [str(job) for job in range(100, 164)]
    put(directory, "0", "".join(f"{job}\n" for job in jobs).encode())
    slurm = Slurm({job: UNKNOWN for job in jobs[:10]} | {job: NO_CONTROLLER for job in jobs[10:]}, HOSTS)
    result = reconcile(directory, slurm)
    assert (result.removed, result.answered) == ({}, False)
    assert "Unable to contact slurm controller" in result.problem
    assert result.kept.keys() == set(jobs)
    assert len(slurm.asked) <= 10 + 2 * 4


def test_a_flood_of_ids_is_asked_for_in_several_runs(directory) -> None:
    jobs = [str(job) for job in range(1000, 1300)]
    put(directory, "0", "".join(f"{job}\n" for job in jobs).encode())
    slurm = Slurm({job: UNKNOWN for job in jobs}, HOSTS)
    assert [len(reconcile(directory, slurm).removed.get("0", [])) for _ in range(2)] == [128, 0]
    put(directory, "0", (directory / "0").read_bytes())
    assert len(reconcile(directory, slurm).removed["0"]) == 128


@pytest.mark.parametrize("idle", ["empty", "unlink"])
def test_living_ids_stay_in_their_files_and_idle_files_are_as_the_exporter_wants_them(directory, idle) -> None:
    for name, text in {
        "0": b"12\n13\n",
        "1": b"12\n",
        "1.3": b"112\n123\n",
        "2": b"",
        "10": b"12\r\n12\n\nx\n",
    }.items():
        put(directory, name, text)
    slurm = Slurm({"12": UNKNOWN} | {job: Answer(0, f"{job}|RUNNING|dgx-01") for job in ("13", "112", "123")}, HOSTS)
    put(directory, ".job-13", _record())
    old = os.umask(0o077)
    try:
        result = reconcile(directory, slurm, idle=idle)
    finally:
        os.umask(old)
    assert result.removed == {"0": ["12"], "1": ["12"], "10": ["12"]}
    assert (directory / "0").read_bytes() == b"13\n"
    assert (directory / "1.3").read_bytes() == b"112\n123\n"
    assert (directory / "2").exists()
    assert [(directory / name).exists() for name in ("1", "10")] == [idle == "empty"] * 2
    assert {path.stat().st_mode & 0o7777 for path in directory.glob("[0-9]*")} == {0o644}
    assert os.listdir(directory / ".new") == []


def test_with_test_it_only_says_what_it_would_remove(directory) -> None:
    put(directory, "0", b"12\n13\n")
    put(directory, ".job-5", _record())
    slurm = Slurm({"5": UNKNOWN, "12": UNKNOWN, "13": Answer(0, "13|RUNNING|dgx-01")}, HOSTS)
    result = reconcile(directory, slurm, test=True)
    assert (result.removed, list(result.kept)) == ({"0": ["12"]}, ["13"])
    assert sorted(path.name for path in directory.iterdir()) == [".job-5", "0"]
    assert (directory / "0").read_bytes() == b"12\n13\n"


@pytest.mark.parametrize("idle", ["empty", "unlink"])
def test_files_that_another_program_made_are_replaced_and_keep_their_ids(directory, tmp_path, idle) -> None:
    for name, data in {"0": b"12\n", "1": b"", "2": b"13\n14\n", "3": b"15\n"}.items():
        put(directory, name, data, age=1)
        (directory / name).chmod(0o600)
    # Prolog and epilog write an empty file in place, wherever else it has a name.
    os.link(directory / "1", tmp_path / "outside")
    (directory / "3").chmod(0o644)
    before = (directory / "3").stat()
    dry = reconcile(directory, Slurm({}, {}), idle=idle, test=True)
    assert (directory / "0").stat().st_mode & 0o777 == 0o600
    result = reconcile(directory, Slurm({}, {}), idle=idle)
    assert result.removed == dry.removed == {}
    found = {name: entry.ids for name, entry in job_map.look(str(directory)).files.items()}
    empty = {"1": []} if idle == "empty" else {}
    assert found == {"0": ["12"], "2": ["13", "14"], "3": ["15"], **empty}
    assert {(directory / name).stat().st_mode & 0o777 for name in found} == {0o644}
    assert {(directory / name).stat().st_nlink for name in found} == {1}
    assert (directory / "3").stat().st_ino == before.st_ino


def test_records_go_when_they_serve_no_more(directory) -> None:
    put(directory, "0", b"12\n14\n", 5)
    records = {"1": (b"", 1000), "2": (b"", 5), "3": (_record(), 1000), "4": (_record(), 5), "12": (_record(), 1000)}
    for job, (data, age) in {**records, "14": (b"", 1000)}.items():
        put(directory, f".job-{job}", data, age)
    put(directory, ".job-x", b"", 1000)
    slurm = Slurm(
        {job: UNKNOWN for job in "34"} | {job: Answer(0, f"{job}|RUNNING|dgx-01") for job in ("12", "14")}, {}
    )
    assert reconcile(directory, slurm).removed == {}
    left = sorted(path.name for path in directory.glob(".job-*"))
    assert left == [".job-12", ".job-2", ".job-4", ".job-x"]


def test_nothing_that_is_no_plain_file_is_read_or_waited_for(directory, tmp_path) -> None:
    os.mkfifo(directory / "0")
    (directory / "1").mkdir()
    (tmp_path / "elsewhere").write_text("12\n")
    (directory / "2").symlink_to(tmp_path / "elsewhere")
    put(directory, "3", b"7\n" * 40000)
    os.mkfifo(directory / ".job-7")
    view = job_map.look(str(directory))
    assert (list(view.files), view.files["3"].ids, view.records) == (["3"], ["7"], {})


def test_a_map_that_cannot_be_read_is_an_error_and_no_empty_map(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "fifo")
    for name, words in {"file": "a file, no directory", "fifo": "a FIFO, no directory", "link": "nowhere"}.items():
        for test in (True, False):
            with pytest.raises(OSError, match=words):
                reconcile(tmp_path / name, Slurm({}, {}), test=test)


# name: (bytes of the record, what is read)
RECORDS = {
    "complete": (_record(), ("alice", "research", "defq", "dgx-01")),
    "no account": (b"v1\0alice\0\0defq\0dgx-01\x000,1\0", ("alice", "", "defq", "dgx-01")),
    "more than we know": (_record() + b"later\0", ("alice", "research", "defq", "dgx-01")),
    "bytes that are no text": (b'v1\0\xff"\n\0a\0b\0c\x000\0', ('\ufffd"\n', "a", "b", "c")),
    "emptied": (b"", None),
    "another version": (b"v2" + _record()[2:], None),
    "cut off": (b"v1\0alice\0res", None),
}


@pytest.mark.parametrize(("data", "expected"), RECORDS.values(), ids=RECORDS.keys())
def test_a_record_is_read_whole_or_not_at_all(data, expected) -> None:
    found = job_map.parse_record(data)
    assert (found and (found.user, found.account, found.partition, found.node)) == expected
