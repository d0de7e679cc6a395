"""Reconciliation while prologs and epilogs run, and its questions to commands that hang: real locks and processes."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest
from superpod_dcgm.agent import job_map, nvidia, reconcile, slurm
from superpod_dcgm.agent.slurm import Answer

from tests.fake_slurmd import FakeSlurmd

UNKNOWN = Answer(1, error="slurm_load_jobs error: Invalid job id specified\n")


def _settings(node) -> dict[str, str]:
    return {"directory": str(node.directory), "grace": "120", "idle": "empty"}


@pytest.fixture(autouse=True)
def several_jobs_on_a_gpu(node) -> None:
    """Where prologs take others' ids for stale, fewer races are left."""
    node.settings(directory=node.directory, time_limit=30000, shared="yes")


def _age(node, seconds: float = 1000) -> None:
    for path in node.directory.iterdir():
        if path.is_file():
            os.utime(path, (time.time() - seconds,) * 2)


def _rename_over(path: Path, text: str) -> None:
    new = path.with_name(".written")
    new.write_text(text)
    new.replace(path)


# name: what happens after Slurm was asked and before anything is removed; what is in the file afterwards
MEANWHILE = {
    "nothing": (lambda node: None, ["20"]),
    "the prolog of the same job, requeued": (lambda node: node.prolog(12, "0"), ["12", "20"]),
    "the prolog of another job on this GPU": (lambda node: node.prolog(13, "0"), ["12", "20", "13"]),
    "the prolog of another job on another GPU": (lambda node: node.prolog(13, "5"), ["20"]),
    "its epilog": (lambda node: node.epilog(12), ["20"]),
    "a new record for it": (lambda node: _rename_over(node.directory / ".job-12", "v1"), ["12", "20"]),
    "its file written in place": (lambda node: node.put("0", "12\n20\n"), ["12", "20"]),
}


@pytest.mark.parametrize(("meanwhile", "left"), MEANWHILE.values(), ids=MEANWHILE.keys())
def test_a_script_that_runs_between_decision_and_removal_wins(node, meanwhile, left) -> None:
    node.put("0", "12\n20\n")
    node.put(".job-12", "v1\0a\0b\0c\0dgx-01\x000\0")
    _age(node)

    def run(arguments: list[str]) -> Answer:
        if arguments[3] == "20":
            return Answer(0, "20|RUNNING|dgx-01")
        meanwhile(node)
        return UNKNOWN

    result = reconcile.reconcile(_settings(node), run=run, steps=set())
    assert node.map()["0"] == left
    assert ("12" in result.kept) is ("12" in left)
    assert result.answered is True


def test_a_lock_that_somebody_holds_is_waited_for_and_then_left(node, monkeypatch) -> None:
    monkeypatch.setattr(reconcile, "_LOCK_SECONDS", 0.1)
    node.put("0", "12\n")
    _age(node)
    with open(node.directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = reconcile.reconcile(_settings(node), run=lambda _: UNKNOWN, steps=set())
        assert (result.removed, node.map()["0"], result.answered) == ({}, ["12"], True)
        assert "was not free within 0.1 s" in result.problem
        assert result.problem == result.kept["12"]
        timer = threading.Timer(0.3, fcntl.flock, (lock, fcntl.LOCK_UN))
        monkeypatch.setattr(reconcile, "_LOCK_SECONDS", 10)
        timer.start()
        assert reconcile.reconcile(_settings(node), run=lambda _: UNKNOWN, steps=set()).removed == {"0": ["12"]}
        timer.join()


def test_what_cannot_be_written_stays_and_is_said(node, monkeypatch) -> None:
    node.put("0", "12\n")
    _age(node)

    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(job_map.os, "truncate", full)
    result = reconcile.reconcile(_settings(node), run=lambda _: UNKNOWN, steps=set())
    assert (result.removed, node.map()["0"]) == ({}, ["12"])
    assert "the job map cannot be changed" in result.problem


def test_prologs_and_epilogs_at_the_same_time_lose_no_living_id(node, started) -> None:
    stale = [str(job) for job in range(100, 120)]
    node.put("0", "".join(f"{job}\n" for job in stale))
    node.put("1", "".join(f"{job}\n" for job in stale))
    _age(node)
    living = range(500, 512)
    started += [node.start("prolog", SLURM_JOB_ID=str(job), SLURM_JOB_GPUS="0,1") for job in living]
    for _ in range(40):
        # Whatever is not one of the living jobs, Slurm does not know.
        reconcile.reconcile(
            {**_settings(node), "grace": "0"},
            run=lambda arguments: Answer(0, f"{arguments[3]}|RUNNING|x") if int(arguments[3]) >= 500 else UNKNOWN,
            steps={str(job) for job in living},
        )
        _age(node)
        if all(process.poll() is not None for process in started):
            break
    assert [process.wait(timeout=20) for process in started] == [0] * len(living)
    for name in ("0", "1"):
        assert sorted(set(node.map()[name]) - set(stale)) == [str(job) for job in living]
    reconcile.reconcile({**_settings(node), "grace": "0"}, run=lambda _: UNKNOWN, steps={str(job) for job in living})
    assert sorted(node.map()["0"]) == sorted(node.map()["1"]) == [str(job) for job in living]


SQUEUE = """#!/bin/sh
echo "$$ $*" >>{root}/asked
{body}
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurmd:
    monkeypatch.setattr(nvidia, "SEARCH_PATH", str(tmp_path / "none"))
    monkeypatch.setattr(slurm, "_SEARCH", ())
    return FakeSlurmd(tmp_path / "slurm", monkeypatch)


@pytest.fixture
def squeue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeSlurmd):
    """Put a program in the place of squeue and return a function that runs it as reconciliation does."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("SLURM_CONF", raising=False)

    def install(body: str) -> Answer:
        (folder / "squeue").write_text(SQUEUE.format(root=tmp_path, body=body))
        (folder / "squeue").chmod(0o755)
        return slurm.runner(conf={"limit_controller": "1"})(["squeue", "-h", "-j", "12", "-o", "%A|%T|%N"])

    return install


def test_a_command_that_answers_is_asked_with_its_arguments_untouched(squeue, tmp_path) -> None:
    assert squeue('echo "12|RUNNING|dgx-01"') == Answer(0, "12|RUNNING|dgx-01\n", "")
    assert (tmp_path / "asked").read_text().split()[1:] == ["-h", "-j", "12", "-o", "%A|%T|%N"]
    assert squeue("echo no >&2; exit 1") == Answer(1, "", "no\n")


def test_a_command_that_hangs_is_killed_with_all_its_processes(squeue, tmp_path) -> None:
    begin = time.monotonic()
    answer = squeue(f"sleep 100 & echo $! >{tmp_path}/child; trap '' TERM; wait; sleep 100")
    assert time.monotonic() - begin < 2.5
    assert answer == Answer(None, error="did not answer within 1 s (dcgm:limits:controller)", late=True)
    pids = [int((tmp_path / "asked").read_text().split()[0]), int((tmp_path / "child").read_text())]
    # The signal is sent to the group at once, but each process dies by itself.
    while any(_runs(pid) for pid in pids) and time.monotonic() - begin < 20:
        time.sleep(0.02)
    assert [_runs(pid) for pid in pids] == [False, False]


def test_a_process_that_left_the_group_and_keeps_the_pipe_holds_nobody_up(squeue, tmp_path) -> None:
    begin = time.monotonic()
    answer = squeue(f"setsid sh -c 'echo $$ >{tmp_path}/child; exec sleep 20' & sleep 100")
    assert time.monotonic() - begin < 3
    assert answer.code is None
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except FileNotFoundError:
        return False


def test_a_missing_command_is_no_answer_and_says_where_it_was_looked_for(monkeypatch, tmp_path, fake) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:relative")
    fake.start("-D", PATH=f"/opt/x:{tmp_path}")
    answer = slurm.runner(conf={})(["squeue"])
    places = f"{fake.root}/bin, {fake.root}/sbin, /opt/x, {tmp_path}"
    assert (answer.code, answer.missing) == (None, True)
    assert answer.error.startswith(f"there is no squeue on this node, in none of {places} (dcgm:slurm:commands")


WHERE = ("beside", "linked", "path", "unit", "key")


@pytest.mark.parametrize("where", WHERE)
def test_slurms_commands_are_those_of_its_slurmd(tmp_path, monkeypatch, fake, where) -> None:
    """Slurm below a prefix of its own, in nobody's PATH: beside slurmd, in its PATH, or where the pillar says."""
    prefix, elsewhere = tmp_path / "opt/slurm-24", tmp_path / "elsewhere"
    program = fake.script("exit 0", prefix / "sbin/slurmd")
    (tmp_path / "opt/slurm").symlink_to(prefix)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    place = {"path": elsewhere, "key": elsewhere}.get(where, prefix / "bin")
    fake.script("echo found", place / "squeue")
    conf = {"commands": str(elsewhere)} if where == "key" else {}
    if where == "unit":
        monkeypatch.setattr(nvidia, "SEARCH_PATH", str(tmp_path / "systemd"))
        unit = f"ExecStart={{ path={program} ; argv[]={program} -D ; }}"
        fake.script(f"echo '{unit}'", tmp_path / "systemd/systemctl")
    elif where != "key":
        program = tmp_path / "opt/slurm/sbin/slurmd" if where == "linked" else program
        fake.start("-D", program=program, PATH=str(elsewhere))
    assert slurm.runner(conf=conf)(["squeue"]).output == "found\n"


# name: (command line of slurmd, its environment, SLURM_CONF of ours, what squeue gets)
CONFIGURATIONS = {
    "nothing named": (["-D"], {"PATH": "/bin"}, "", "-"),
    "slurmd's environment": (["-D"], {"A": "1", "SLURM_CONF": "/cm/a.conf", "B": "2"}, "", "/cm/a.conf"),
    "slurmd's command line": (["-f", "/cm/b.conf", "-D"], {"SLURM_CONF": "/cm/a.conf"}, "", "/cm/b.conf"),
    "our own environment does not count": (["-D"], {"SLURM_CONF": "/cm/a.conf"}, "/cm/c.conf", "/cm/a.conf"),
    "our own where nobody else says": (["-D"], {}, "/cm/c.conf", "/cm/c.conf"),
}


@pytest.mark.parametrize("owner", ["a user", "root"])
def test_only_roots_slurmd_tells_which_configuration_root_reads(squeue, fake, owner) -> None:
    """Anybody may call a process slurmd, and a slurm.conf names what squeue loads."""
    process = fake.processes / str(fake.start("-f", "/dev/shm/own.conf"))
    if owner == "a user":
        (process / "of-a-user").touch()
    assert squeue('echo "${SLURM_CONF:--}"').output.split() == ["/dev/shm/own.conf" if owner == "root" else "-"]


@pytest.mark.parametrize(("words", "environ", "own", "expected"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_squeue_reads_the_configuration_of_slurmd_and_no_other_wishes(
    squeue, fake, monkeypatch, words, environ, own, expected
) -> None:
    fake.start(*words, **environ)
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    if own:
        monkeypatch.setenv("SLURM_CONF", own)
    assert squeue('echo "${SLURM_CONF:--} ${SQUEUE_STATES:-none}"').output.split() == [expected, "none"]


def test_only_sockets_on_which_somebody_listens_are_steps(tmp_path) -> None:
    open_sockets = []
    for name in ("dgx-01_12.4294967291", "a_b_13.0", "dgx-01_14.0.1", "dgx-01_15.0", "dgx-01_x.0", "other_16"):
        step = socket.socket(socket.AF_UNIX)
        step.bind(str(tmp_path / name))
        if "15" not in name:
            step.listen()
        open_sockets.append(step)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(tmp_path / "dgx-01_17.0"))
    stale.listen()
    stale.close()
    try:
        found = slurm.jobs_with_steps()
    finally:
        for step in open_sockets:
            step.close()
    assert found & {"12", "13", "14", "15", "16", "17"} == {"12", "13", "14"}
    assert slurm.jobs_with_steps(str(tmp_path / "missing")) == set()
