"""What prolog and epilog make of each environment and of each state of the map: one table for each."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

GARBAGE = "x" * (1 << 20)
WRITES_NOTHING: dict[str, list[str]] = {}

# name: (environment of the prolog, map after it, a word of its message or None for silence)
PROLOG = {
    "one GPU": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "3"}, {"3": ["12"]}, None),
    "several GPUs": (
        {"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0,1,7"},
        {"0": ["12"], "1": ["12"], "7": ["12"]},
        None,
    ),
    "positions of two digits": ({"SLURM_JOB_ID": "9", "SLURM_JOB_GPUS": "10,11"}, {"10": ["9"], "11": ["9"]}, None),
    "a position named twice": ({"SLURM_JOB_ID": "9", "SLURM_JOB_GPUS": "1,1"}, {"1": ["9"]}, None),
    "no GPUs": ({"SLURM_JOB_ID": "12"}, WRITES_NOTHING, None),
    "an empty list": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": ""}, WRITES_NOTHING, None),
    "a range": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0-3"}, WRITES_NOTHING, "'0-3'"),
    "an empty item": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0,,2"}, {"0": ["12"], "2": ["12"]}, "''"),
    "a leading zero": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "007"}, WRITES_NOTHING, "'007'"),
    "a sign": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "+1"}, WRITES_NOTHING, "'+1'"),
    "a space": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "0, 1"}, {"0": ["12"]}, "' 1'"),
    "a position out of any range": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "1000"}, WRITES_NOTHING, "'1000'"),
    "a path": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "../x,/etc/passwd"}, WRITES_NOTHING, "'../x'"),
    "a glob": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "*"}, WRITES_NOTHING, "'*'"),
    "a command": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "$(reboot),a[$(reboot)]"}, WRITES_NOTHING, "reboot"),
    "a word that is a variable": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "limit"}, WRITES_NOTHING, "'limit'"),
    "a list of 100 kB": ({"SLURM_JOB_ID": "12", "SLURM_JOB_GPUS": "1," * 50000}, WRITES_NOTHING, "too long"),
    "no job id": ({"SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "an empty job id": ({"SLURM_JOB_ID": "", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "job id 0": ({"SLURM_JOB_ID": "0", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "a job id of letters": ({"SLURM_JOB_ID": "abc", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "a negative job id": ({"SLURM_JOB_ID": "-5", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "a job id with a command": ({"SLURM_JOB_ID": "1;rm", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "a job id of two lines": ({"SLURM_JOB_ID": "1\n2", "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
    "a job id of 30 digits": ({"SLURM_JOB_ID": "1" * 30, "SLURM_JOB_GPUS": "0"}, WRITES_NOTHING, "no job id"),
}

# name: (content of file 0 before, content after job 7 was added)
ADD = {
    "nothing yet": ("", "7\n"),
    "another job": ("12\n", "12\n7\n"),
    "itself": ("7\n", "7\n"),
    "a longer id that contains it": ("77\n17\n", "77\n17\n7\n"),
    "CRLF": ("12\r\n13\r\n", "12\n13\n7\n"),
    "the same id twice": ("12\n12\n7\n7\n", "12\n7\n"),
    "blank lines": ("\n12\n\n", "12\n7\n"),
    "no newline at the end": ("12", "12\n7\n"),
    "words that are no ids": ("12\n* 0x5 -3 ../x\n", "12\n7\n"),
    "1 MiB of garbage": (GARBAGE, "7\n"),
}

# name: (content of file 0 before, content after job 12 was removed)
REMOVE = {
    "alone": ("12\n", ""),
    "first": ("12\n13\n", "13\n"),
    "between 123 and 112": ("123\n12\n112\n", "123\n112\n"),
    "last": ("13\n12\n", "13\n"),
    "twice": ("12\n13\n12\n", "13\n"),
    "not there": ("123\n112\n", "123\n112\n"),
    "with CRLF": ("12\r\n13\r\n", "13\n"),
}


@pytest.mark.parametrize(("environment", "expected", "message"), PROLOG.values(), ids=PROLOG.keys())
def test_prolog_writes_only_what_is_surely_meant(node, environment, expected, message) -> None:
    assert node.run("prolog", **environment) == 0
    assert node.map() == expected
    assert (message in node.log()) if message else node.log() == ""


@pytest.mark.parametrize(("before", "after"), ADD.values(), ids=ADD.keys())
def test_adding_keeps_each_live_id_once_on_gpus_that_jobs_share(node, before, after) -> None:
    node.settings(directory=node.directory, shared="yes")
    node.put("0", before)
    node.prolog(7, "0")
    assert (node.directory / "0").read_text() == after


@pytest.mark.parametrize(("before", "after"), REMOVE.values(), ids=REMOVE.keys())
def test_removing_takes_exactly_this_job(node, before, after) -> None:
    node.put("0", before)
    node.epilog(12)
    assert (node.directory / "0").read_text() == after


def test_the_prolog_run_twice_leaves_one_line(node) -> None:
    node.prolog(12, "0,1")
    node.prolog(12, "0,1")
    assert node.map() == {"0": ["12"], "1": ["12"]}


@pytest.mark.parametrize("before", [before for before, _ in ADD.values()], ids=ADD.keys())
def test_on_a_gpu_that_jobs_do_not_share_every_other_id_is_stale(node, before) -> None:
    node.put("0", before)
    node.prolog(7, "0")
    assert (node.directory / "0").read_text() == "7\n"


def test_two_jobs_on_one_gpu_are_both_kept_until_each_ends(node) -> None:
    node.settings(directory=node.directory, shared="yes")
    node.prolog(12, "0")
    node.prolog(13, "0,1")
    assert node.map() == {"0": ["12", "13"], "1": ["13"]}
    node.epilog(12, "0")
    assert node.map() == {"0": ["13"], "1": ["13"]}


@pytest.mark.parametrize("gpus", [None, "", "5", "x"], ids=["unset", "empty", "another node's", "no position"])
def test_the_epilog_cleans_all_files_whatever_its_gpu_variables_say(node, gpus) -> None:
    node.prolog(12, "0,1,7")
    node.epilog(12, gpus)
    assert node.map() == {"0": [], "1": [], "7": []}


def test_the_epilog_without_a_prolog_and_twice_changes_nothing(node) -> None:
    node.prolog(13, "0")
    for _ in range(2):
        node.epilog(12)
    assert node.map() == {"0": ["13"]}


def test_the_epilog_cleans_file_names_that_older_exporters_read(node) -> None:
    for name in ("007", "0.11"):
        node.put(name, "12\n13\n")
    node.epilog(12)
    assert (node.directory / "007").read_text() == (node.directory / "0.11").read_text() == "13\n"


def test_an_idle_file_is_removed_where_the_exporter_needs_that(node) -> None:
    node.settings(directory=node.directory, idle="unlink", shared="yes")
    node.prolog(12, "0,1")
    node.prolog(13, "1")
    node.epilog(12)
    assert node.map() == {"1": ["13"]}


def test_files_are_world_readable_whatever_the_umask(node) -> None:
    (node.directory).rmdir()
    node.prolog(12, "0", prefix=("/bin/sh", "-c", 'umask 077; exec "$0"'))
    node.epilog(12, prefix=("/bin/sh", "-c", 'umask 077; exec "$0"'))
    assert node.mode("0") == node.mode(".job-12") == 0o644
    assert (node.runtime / "spool").stat().st_mode & 0o777 == 0o644
    assert node.mode(".") == 0o755


@pytest.mark.parametrize("kind", ["prolog", "epilog"])
@pytest.mark.parametrize("umask", ["000", "022", "077"])
def test_nobody_else_may_open_the_lock_and_hold_it(node, kind, umask) -> None:
    node.run(kind, ("/bin/sh", "-c", f'umask {umask}; exec "$0"'), SLURM_JOB_ID="12", SLURM_JOB_GPUS="0")
    assert node.mode(".lock") == 0o600
    assert {node.mode(name) for name in node.map()} <= {0o644}


def _symlink(path: Path) -> None:
    path.symlink_to(path.parent.parent / "elsewhere")
    (path.parent.parent / "elsewhere").write_text("99\n")


@pytest.mark.parametrize("make", [os.mkfifo, _symlink], ids=["FIFO", "symlink"])
def test_what_is_no_plain_file_is_never_read_or_followed_but_replaced(node, make) -> None:
    make(node.directory / "0")
    node.epilog(99)
    node.prolog(12, "0")
    assert not (node.directory / "0").is_symlink()
    assert (node.directory / "0").read_text() == "12\n"
    assert not (node.root / "elsewhere").exists() or (node.root / "elsewhere").read_text() == "99\n"


def test_a_directory_in_the_place_of_a_map_file_is_reported_and_the_others_are_written(node) -> None:
    (node.directory / "0").mkdir()
    node.prolog(12, "0,1")
    assert node.map() == {"1": ["12"]}
    assert "cannot update" in node.log()
