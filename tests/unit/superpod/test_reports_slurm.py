"""What Slurm's commands say of a job is read whole, and never of another job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.reports import slurm
from superpod.reports.slurm import Record

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Return a function that puts a command of Slurm into PATH, which prints a text and ends with a code."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(slurm, "PLACES", ())

    def put(name: str, text: str, code: int = 0) -> None:
        (tmp_path / f"{name}.out").write_text(text)
        script = f'#!/bin/sh\nprintf "%s\\n" "$*" > {tmp_path}/{name}.asked\nenv > {tmp_path}/{name}.env\n'
        (tmp_path / name).write_text(f"{script}cat {tmp_path}/{name}.out\nexit {code}\n")
        (tmp_path / name).chmod(0o755)

    return put


def row(*fields: str) -> str:
    return "\x1f".join(fields) + "\n"


TRES = "billing=32,cpu=32,gres/gpu:h100=8,gres/gpu=8,mem=1T,node=2"
ROW = (
    "4711",
    "4711",
    "alice",
    "ml",
    "batch",
    "COMPLETED",
    "1795777500",
    "1795779300",
    TRES,
    "dgx-[01-02]",
    "a|b\x1fc d",
)


def test_accounting_gives_each_try_whole(install: Install, tmp_path: Path) -> None:
    again = ("4711", "4711", "alice", "ml", "batch", "CANCELLED by 1000", "1795780000", "Unknown", TRES, "dgx-03", "x")
    install("sacct", row(*ROW) + row(*again))
    first, second = slurm.records("4711")
    assert first == Record(
        *("4711", "4711", "alice", "ml", "batch", "COMPLETED", 1795777500.0, 1795779300.0, TRES),
        *(["dgx-01", "dgx-02"], "a|b\x1fc d"),
    )
    assert (second.state, second.begin, second.end, first.gpus) == ("CANCELLED", 1795780000, None, 8)
    asked = (tmp_path / "sacct.asked").read_text()
    assert " -X -D " in asked and "-j 4711 " in asked and "%" not in asked


def test_what_the_caller_set_for_slurm_changes_nothing(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_TIME_FORMAT", "SACCT_FORMAT", "SLURM_CLUSTERS", "SLURM_BITSTR_LEN"):
        monkeypatch.setenv(name, "relative")
    monkeypatch.setenv("SLURM_CONF", "/site/slurm.conf")
    install("sacct", row(*ROW))
    slurm.records("4711")
    found = dict(line.split("=", 1) for line in (tmp_path / "sacct.env").read_text().splitlines() if "=" in line)
    mine = {name: value for name, value in found.items() if name.startswith(("SLURM", "SACCT"))}
    assert mine == {"SLURM_TIME_FORMAT": "%s", "SLURM_CONF": "/site/slurm.conf"}


SHOWN = (
    "JobId={raw} {more}JobName={name} UserId=alice(1001) GroupId=alice(1001) MCS_label=N/A"
    " Priority=1 Nice=0 Account=(null) QOS=normal JobState={state} Reason=None Requeue=1 Restarts=0"
    " ExitCode=0:0 RunTime=00:00:05 TimeLimit=UNLIMITED"
    " SubmitTime=1795777400 StartTime=1795777500 EndTime=1795790000 Deadline=N/A Partition=batch AllocNode:Sid=x:1"
    " ReqNodeList=(null) ExcNodeList=(null) NodeList=dgx-01 BatchHost=dgx-01 NumNodes=1 ReqB:S:C:T=0:0:*:*"
    " ReqTRES=cpu=1,gres/gpu=1 AllocTRES=cpu=1,node=1,gres/gpu:h100=4 Socks/Node=* NtasksPerN:B:S:C=0:0:*:*"
    " Command=/x Comment=JobState=FAILED Account=root WorkDir=/home StdOut=/x Power=\n"
)


def test_without_accounting_the_controller_is_asked(install: Install) -> None:
    install("sacct", "Slurm accounting storage is disabled\n", 1)
    install("scontrol", SHOWN.format(raw=4711, more="", name="my job JobState=FAILED", state="RUNNING"))
    (found,) = slurm.records("4711")
    assert (found.raw, found.id, found.user, found.account, found.state) == ("4711", "4711", "alice", "", "RUNNING")
    assert (found.name, found.nodes, found.gpus) == ("my job JobState=FAILED", ["dgx-01"], 4)
    # The end of one that runs is when its time is over.
    assert (found.begin, found.end) == (1795777500, None)
    install("scontrol", SHOWN.format(raw=4711, more="", name="x", state="TIMEOUT"))
    assert slurm.records("4711")[0].end == 1795790000


@pytest.mark.parametrize("state", ["PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
def test_when_a_job_that_waits_may_start_is_not_when_it_started(install: Install, state: str) -> None:
    install("scontrol", SHOWN.format(raw=4711, more="HetJobId=4711 HetJobOffset=0 ", name="x", state=state))
    assert [(one.begin, one.end) for one in slurm.records("4711")] == [(None, None)]
    with pytest.raises(SuperpodError, match=rf"4711\+0 has not started; Slurm says {state}"):
        slurm.raw_id("4711+0")


def test_a_job_that_was_cancelled_before_it_started_has_not_started(install: Install) -> None:
    shown = SHOWN.format(raw=4711, more="", name="x", state="CANCELLED").replace(" NodeList=dgx-01", " NodeList=")
    install("scontrol", shown)
    assert [(one.begin, one.end) for one in slurm.records("4711")] == [(None, 1795790000)]
    install("sacct", row("4711", "4711", "alice", "ml", "batch", "CANCELLED by 0", "None", "1795795454", "", "", "x"))
    assert [(one.begin, one.end, one.state) for one in slurm.records("4711")] == [(None, 1795795454, "CANCELLED")]


def test_parts_of_arrays_and_het_jobs_have_their_ids(install: Install) -> None:
    parts = {"4714": "ArrayJobId=4711 ArrayTaskId=3 ", "4715": "HetJobId=4713 HetJobOffset=2 "}
    install(
        "scontrol", "".join(SHOWN.format(raw=raw, more=more, name="x", state="RUNNING") for raw, more in parts.items())
    )
    assert [(one.raw, one.id) for one in slurm.records("1")] == [("4714", "4711_3"), ("4715", "4713+2")]
    install("scontrol", SHOWN.format(raw=4715, more=parts["4715"], name="x HetJobIdSet=4713-4715", state="RUNNING"))
    assert slurm.records("1")[0].name == "x"


def test_a_task_that_waits_has_no_id_yet(install: Install) -> None:
    waits = ("4711", "4711_3", "alice", "ml", "batch", "PENDING", "Unknown", "Unknown", "", "None assigned", "x")
    install("sacct", row(*waits))
    with pytest.raises(SuperpodError, match="4711_3 has not started; Slurm says PENDING") as caught:
        slurm.raw_id("4711_3")
    assert caught.value.exit_code == 3


def test_without_slurm_there_is_nothing_and_no_error(install: Install) -> None:
    assert slurm.records("4711") == []
    install("scontrol", "slurm_load_jobs error: Invalid job id specified\n", 1)
    assert slurm.records("4711") == []
    install("scontrol", "something else\n")
    assert slurm.records("4711") == []


def test_a_command_that_hangs_is_not_waited_for(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "SECONDS", 0.3)
    (tmp_path / "sacct").write_text("#!/bin/sh\nsleep 60\n")
    (tmp_path / "sacct").chmod(0o755)
    assert slurm.records("4711") == []


def test_bcm_has_its_commands_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(slurm, "PLACES", (str(tmp_path),))
    assert slurm.command("sacct") == ""
    (tmp_path / "sacct").write_text("#!/bin/sh\n")
    (tmp_path / "sacct").chmod(0o755)
    assert slurm.command("sacct") == f"{tmp_path}/sacct"


@pytest.mark.parametrize(
    ("text", "raw"), [("4711", "4711"), (" 4711 ", "4711"), ("4711.batch", "4711"), ("4711.0", "4711")]
)
def test_a_plain_id_needs_no_slurm(text: str, raw: str) -> None:
    assert slurm.raw_id(text, ask=False) == (raw, "")


@pytest.mark.parametrize("text", ["", "abc", "4711_", "4711_[1-3]", "-1", "4711;rm", "4711_1+2", "٣"])
def test_what_is_no_id_is_told(text: str) -> None:
    with pytest.raises(SuperpodError, match="is no job id; write 4711") as caught:
        slurm.raw_id(text)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(("text", "raw"), [("4711_3", "4714"), ("4711+3", "4715"), ("4711_3.batch", "4714")])
def test_slurm_tells_the_raw_id(install: Install, text: str, raw: str) -> None:
    install(
        "sacct",
        row("4714", "4711_3", *ROW[2:]) * 2 + row("4715", "4711+3", *ROW[2:]) + row("4716", "4711_31", *ROW[2:]),
    )
    assert slurm.raw_id(text) == (raw, f"{text.split('.')[0]} is job {raw}.")


def test_of_two_arrays_of_one_id_the_newest_is_meant(install: Install) -> None:
    old = row("14", "4711_3", *ROW[2:6], "1000000000", "1000000900", *ROW[8:])
    install("sacct", row("4714", "4711_3", *ROW[2:]) + old)
    assert slurm.raw_id("4711_3")[0] == "4714"


@pytest.mark.parametrize("ask", [True, False])
def test_without_slurm_it_is_told_where_the_raw_id_is_found(install: Install, ask: bool) -> None:
    with pytest.raises(SuperpodError, match="`scontrol show job 4711_3`") as caught:
        slurm.raw_id("4711_3", ask)
    assert caught.value.exit_code == 2 and "-o JobIDRaw" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("dgx-01", ["dgx-01"]),
        ("dgx-[08-10,12],login", ["dgx-08", "dgx-09", "dgx-10", "dgx-12", "login"]),
        ("r[1-2]n[01-02]", ["r1n01", "r1n02", "r2n01", "r2n02"]),
        *(("", []), ("(null)", []), ("None assigned", [])),
    ],
)
def test_lists_of_nodes_are_read(text: str, names: list[str]) -> None:
    assert slurm.hosts(text) == names


@pytest.mark.parametrize(
    ("tres", "gpus"),
    [
        (TRES, 8),
        ("cpu=4,,gpu:h100:2,shard:1", 2),
        ("cpu=4,gres/gpu=2,,gpu:h100:2", 2),
        (",,gpu:3", 3),
        ("cpu=4,gres/gpu:a=1,gres/gpu:b=2", 3),
        ("cpu=4,mem=1G", None),
        ("", None),
        ("gres/gpumem=4", None),
    ],
)
def test_gpus_that_are_not_accounted_are_not_none(tres: str, gpus: int | None) -> None:
    assert Record("1", "1", tres=tres).gpus == gpus
