"""What prolog and epilog leave besides the map: who the job is, how the run went, a line in a log file."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest
from slurm_node import RUNTIME, SETTINGS
from superpod_dcgm.base import paths

JOB = {"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0,3", "SLURMD_NODENAME": "dgx-01"}

# name: (user, account, partition, what is recorded of them)
PEOPLE = {
    "as usual": ("alice", "research", "batch", ["alice", "research", "batch"]),
    "no accounting": ("alice", None, None, ["alice", "", ""]),
    "a quote": ('al"ice', "re'search", "batch", ['al"ice', "re'search", "batch"]),
    "a backslash": ("al\\ice", "re\\nsearch\\", "\\0", ["al\\ice", "re\\nsearch\\", "\\0"]),
    "a newline": ("al\nice", "research\n", "\n", ["al\nice", "research\n", "\n"]),
    "a percent sign": ("%s%n%%", "%d", "100%", ["%s%n%%", "%d", "100%"]),
    "a command": ("$(reboot)", "`reboot`", "${x}", ["$(reboot)", "`reboot`", "${x}"]),
    "a glob": ("*", "?", "[a-z]", ["*", "?", "[a-z]"]),
    "an option": ("-v", "--", "-e x", ["-v", "--", "-e x"]),
    "other letters": ("zoë", "日本", "größe", ["zoë", "日本", "größe"]),
    "bytes that are no text": ("\udcff\udc80", "a\udcfeb", "\x01\x1b", ["\udcff\udc80", "a\udcfeb", "\x01\x1b"]),
    "too much": ("u" * 300, "a" * 256, "p" * 257, ["u" * 256, "a" * 256, "p" * 256]),
}


@pytest.mark.parametrize(("user", "account", "partition", "recorded"), PEOPLE.values(), ids=PEOPLE.keys())
def test_the_record_says_who_the_job_is_whatever_the_names_are(node, user, account, partition, recorded) -> None:
    given = {"SLURM_JOB_USER": user, "SLURM_JOB_ACCOUNT": account, "SLURM_JOB_PARTITION": partition}
    assert node.run("prolog", **JOB, **{key: text for key, text in given.items() if text is not None}) == 0
    assert node.record(12) == ["v1", *recorded, "dgx-01", "0,3"]
    assert node.spool() == [("prolog", "ok")]


def test_the_epilog_empties_its_own_record_only(node) -> None:
    for job in ("1", "12", "123"):
        node.prolog(job, job[-1])
    node.epilog(12)
    assert (node.directory / ".job-12").read_bytes() == b""
    assert node.record(1) and node.record(123)


def test_who_the_job_is_can_be_read_as_soon_as_its_id_is_there(node) -> None:
    # The id of a GPU that has a stale one is published by mv.
    node.put("0", "11\n")
    node.helper("mv", f'#!/bin/sh\ncat "{node.directory}/.job-12" >"{node.root}/was"\nexec /usr/bin/mv "$@"\n')
    node.prolog(12, "0")
    assert node.map() == {"0": ["12"]}
    assert (node.root / "was").read_bytes() == (node.directory / ".job-12").read_bytes() != b""


def test_a_job_without_gpus_has_no_record(node) -> None:
    node.prolog(12)
    node.prolog(13, "x")
    assert not list(node.directory.glob(".job-*"))
    assert node.spool() == [("prolog", "ok"), ("prolog", "gpu")]


def test_a_job_that_starts_again_has_its_new_record(node) -> None:
    node.prolog(12, "0")
    node.epilog(12)
    node.prolog(12, "5")
    assert node.record(12) == ["v1", "", "", "", "", "5"]


def _symlink(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")
    (path.parent.parent / "elsewhere").write_text("as it was")


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _symlink], ids=["FIFO", "directory", "symlink"])
def test_what_is_no_plain_file_in_the_place_of_a_record_harms_nothing(node, make) -> None:
    make(node.directory / ".job-12")
    node.epilog(12)
    node.prolog(12, "0")
    assert node.map() == {"0": ["12"]}
    assert node.record(12) == ["v1", "", "", "", "", "0"]
    assert node.spool() == [("epilog", "ok"), ("prolog", "ok")]
    assert not (node.root / "elsewhere").exists() or (node.root / "elsewhere").read_text() == "as it was"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _symlink], ids=["FIFO", "directory", "symlink"])
def test_what_is_no_plain_file_in_the_place_of_the_spool_is_left_alone(node, make) -> None:
    make(node.runtime / "spool")
    node.prolog(12, "0")
    assert node.map() == {"0": ["12"]}
    assert not (node.root / "elsewhere").exists() or (node.root / "elsewhere").read_text() == "as it was"


def test_the_time_of_a_run_is_counted_from_its_start(node) -> None:
    node.prolog(12, "0")
    node.settings(directory=node.directory, time_limit=700)
    with open(node.directory / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node.prolog(13, "0")
    quick, slow = (int(line.split()[1]) for line in (node.runtime / "spool").read_text().splitlines())
    assert 300_000 <= slow < 1_500_000
    assert 0 < quick < slow


def test_bash_before_version_5_takes_the_time_from_the_kernel(node) -> None:
    search_path = f"PATH={node.helpers}:/usr/bin:/usr/sbin:/bin:/sbin"
    node.install(search_path, EPOCHREALTIME="NO_SUCH_VARIABLE")
    node.prolog(12, "0")
    node.settings(directory=node.directory, time_limit=700)
    with open(node.directory / ".lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        node.prolog(13, "0")
    assert node.spool() == [("prolog", "ok"), ("prolog", "lock")]
    times = [int(line.split()[1]) for line in (node.runtime / "spool").read_text().splitlines()]
    assert 290_000 <= times[1] < 1_500_000
    assert all(microseconds % 10_000 == 0 for microseconds in times)


def test_a_spool_that_nobody_reads_ends_at_64_kib(node) -> None:
    (node.runtime / "spool").write_text("prolog 4000 ok\n" * 4369)
    for job in range(1, 5):
        node.prolog(job, "0")
    assert (node.runtime / "spool").stat().st_size == 65536
    assert node.map() == {"0": ["4"]}
    assert node.log() == ""


def test_a_full_spool_does_not_limit_the_log_file(node) -> None:
    (node.runtime / "spool").write_text("x" * 65536)
    log = node.root / "prolog.log"
    log.write_text("x" * 70000 + "\n")
    node.settings(directory=node.directory, log=log)
    node.prolog(12, "0")
    assert "GPUs 0: ok" in log.read_text().splitlines()[-1]


@pytest.mark.parametrize("kind", ["prolog", "epilog"])
def test_without_a_runtime_directory_the_map_is_right_all_the_same(node, kind) -> None:
    node.prolog(11, "0")
    shutil.rmtree(node.runtime)
    node.run(kind, SLURM_JOB_ID="11", SLURM_JOB_GPUS="0")
    assert node.map() == {"0": {"prolog": ["11"], "epilog": []}[kind]}
    assert node.log() == ""


def test_the_log_file_has_a_line_for_each_run(node) -> None:
    log = node.root / "prolog.log"
    node.settings(directory=node.directory, log=log)
    node.prolog(12, "0,3")
    node.epilog(12)
    node.prolog("1\n2", "0")
    node.prolog(13)
    lines = [re.sub(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", "", line) for line in log.read_text().splitlines()]
    assert lines == [
        "60-prolog-dcgm.sh, job '12', GPUs 0,3: ok",
        "60-epilog-dcgm.sh, job '12', GPUs 0,3: ok",
        "60-prolog-dcgm.sh, job $'1\\n2', GPUs none: SLURM_JOB_ID is no job id",
        "60-prolog-dcgm.sh, job '13', GPUs none: ok",
    ]


def _full(path: Path) -> None:
    path.symlink_to("/dev/full")


def _dangling(path: Path) -> None:
    path.symlink_to(path.parent / "elsewhere")


NO_LOG = {
    "a FIFO that nobody reads": (os.mkfifo, "log.d"),
    "a directory": (os.mkdir, "log.d"),
    "a full device": (_full, "log.d"),
    "a link to nothing": (_dangling, "log.d"),
    "in a directory that is missing": (lambda path: None, "log.d/prolog.log"),
    "below a file": (Path.touch, "log.d/prolog.log"),
    "in a file system that takes no files": (lambda path: path.symlink_to("/proc"), "log.d/prolog.log"),
}


@pytest.mark.parametrize(("make", "name"), NO_LOG.values(), ids=NO_LOG.keys())
def test_a_log_file_that_cannot_be_written_changes_nothing(node, make, name) -> None:
    make(node.root / "log.d")
    node.settings(directory=node.directory, log=node.root / name)
    began = time.monotonic()
    node.prolog(12, "0")
    node.epilog(12)
    assert time.monotonic() - began < 5
    assert node.map() == {"0": []}
    assert node.spool() == [("prolog", "ok"), ("epilog", "ok")]
    assert node.log() == ""
    assert not (node.root / "elsewhere").exists()


def test_a_log_file_that_is_no_absolute_path_is_not_written(node) -> None:
    node.settings(directory=node.directory, log="prolog.log")
    node.prolog(12, "0")
    assert node.map() == {"0": ["12"]}
    assert not Path("/prolog.log").exists()


def test_a_signal_at_any_time_ends_it_with_0_and_each_run_that_got_going_is_counted(node, started) -> None:
    for job in range(1, 40):
        process = node.start("prolog", SLURM_JOB_ID=str(job), SLURM_JOB_GPUS="0,1,2,3")
        started.append(process)
        time.sleep(job * 0.0003)
        os.killpg(process.pid, signal.SIGTERM)
        # Before bash has read its first line it dies of the signal like every program.
        assert process.wait(timeout=10) in (0, -signal.SIGTERM)
        assert {line for lines in node.map().values() for line in lines} <= {str(known) for known in range(1, job + 1)}
    assert {outcome for _, outcome in node.spool()} <= {"ok", "signal"}
    assert len(node.spool()) > 5


def test_the_script_and_the_programs_of_the_node_mean_the_same_files() -> None:
    assert f"settings={paths.JOB_MAP_CONFIG}" == SETTINGS
    assert f"runtime={paths.NODE_RUNTIME}" == RUNTIME
    assert f"{paths.NODE_RUNTIME}/devices" == paths.DEVICES
    assert f"{paths.NODE_RUNTIME}/spool" == paths.SPOOL
