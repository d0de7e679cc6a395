"""What is odd in the directory of the job map is put right without a question, and nothing else is touched."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from superpod_dcgm.agent import job_map, tidy
from superpod_dcgm.agent.device_table import Table

TABLE = Table(gpus={str(number): f"GPU-{number}" for number in range(4)}, instances={"3.7": ("GPU-3", "1g.10gb")})
LIVE = b"12\n"
RECORD = b"v1\0alice\0research\0defq\0dgx-01\0%s\0"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    path.mkdir(mode=0o755)
    (path / ".lock").write_text("")
    (path / ".new").mkdir()
    put(path / "1", LIVE)
    return path


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o644)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def _link(path: Path) -> None:
    put(path.parents[1] / "outside", b"99\n")
    path.symlink_to("../outside")


def _hard_link(path: Path) -> None:
    put(path.parents[1] / "outside", LIVE)
    os.link(path.parents[1] / "outside", path)


def _folder(path: Path) -> None:
    (path / "deep/er").mkdir(parents=True)
    (path / "deep/file").write_text("x")


def _mode(mode: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        put(path, LIVE)
        path.chmod(mode)

    return make


def _data(data: bytes) -> Callable[[Path], None]:
    return lambda path: put(path, data)


# name: (file, how it is made, what it is afterwards (None: it is gone), reason)
ODD = {
    "a FIFO": ("0", os.mkfifo, None, "kind"),
    "a FIFO of a GPU instance": ("3.7", os.mkfifo, None, "kind"),
    "a socket": ("0", _socket, None, "kind"),
    "a directory": ("0", _folder, None, "kind"),
    "a link to a file": ("0", _link, None, "kind"),
    "a link to a living file of the map": ("0", lambda path: path.symlink_to("1"), None, "kind"),
    "a link to nothing": ("0", lambda path: path.symlink_to("nowhere"), None, "kind"),
    "a second name elsewhere": ("0", _hard_link, LIVE, "rights"),
    "unreadable for others": ("0", _mode(0o600), LIVE, "rights"),
    "writable for others": ("0", _mode(0o666), LIVE, "rights"),
    "set-uid": ("0", _mode(0o4644), LIVE, "rights"),
    "garbage": ("0", _data(b"garbage one\n"), b"", "content"),
    "a sentence with a number": ("0", _data(b"error 404 found\n"), b"", "content"),
    "garbage beside an id": ("0", _data(b"garbage one\n12\nx\n"), LIVE, "content"),
    "bytes that are no text": ("0", _data(b"\xff\xfe12\n12\n\x00"), LIVE, "content"),
    "CRLF": ("0", _data(b"12\r\n13\r\n"), b"12\n13\n", "content"),
    "blank lines": ("0", _data(b"\n\n12\n\n"), LIVE, "content"),
    "a newline only": ("0", _data(b"\n"), b"", "content"),
    "duplicates": ("0", _data(b"12\n13\n12\n"), b"12\n13\n", "content"),
    "leading zeros": ("0", _data(b"0012\n12\n"), LIVE, "content"),
    "signs, fractions, tasks": ("0", _data(b"+12\n-12\n12.0\n12_3\n0\n"), b"", "content"),
    "more than an id can be": (
        "0",
        _data(b"4294967294\n9999999999\n12345678901\n4294967293\n"),
        b"4294967293\n",
        "content",
    ),
    "no newline at the end": ("0", _data(b"12"), LIVE, "content"),
    "blanks around": ("0", _data(b" 12\t\n"), LIVE, "content"),
    "too large, cut within an id": ("0", _data(b"12\n" + b"1234567\n" * 10000), b"12\n1234567\n", "content"),
    "too large, one line": ("0", _data(b"1" * 100000), b"", "content"),
    "a GPU that the node has not": ("7", _data(LIVE), None, "name"),
    "the same, empty": ("7", _data(b""), None, "name"),
    "an instance that the node has not": ("3.8", _data(LIVE), None, "name"),
    "a sign": ("+1", _data(LIVE), None, "name"),
    "a sign, as a FIFO": ("+1", os.mkfifo, None, "name"),
    "a number below zero": ("-1", _data(LIVE), None, "name"),
    "zeros in front": ("007", _data(LIVE), None, "name"),
    "zeros in the instance": ("3.07", _data(LIVE), None, "name"),
    "thousands": ("1000", _data(LIVE), None, "name"),
    "a record that is a FIFO": (".job-12", os.mkfifo, None, "record"),
    "a record that is a directory": (".job-12", _folder, None, "record"),
    "a record that is a link": (".job-12", _link, None, "record"),
    "a record with garbage": (".job-12", _data(b"garbage one\n"), None, "record"),
    "a record with another name elsewhere": (".job-12", _hard_link, None, "record"),
    "a record of 100 kB": (".job-12", _data(RECORD % (b"0" * 100000)), None, "record"),
    "the lock is a FIFO": (".lock", os.mkfifo, b"", "kind"),
    "the lock is a directory": (".lock", _folder, b"", "kind"),
    "the lock is a link": (".lock", _link, b"", "kind"),
}


@pytest.mark.parametrize(("name", "make", "after", "reason"), ODD.values(), ids=ODD.keys())
def test_what_is_odd_is_put_right_at_once_and_told(directory, name, make, after, reason) -> None:
    path = directory / name
    if os.path.lexists(path):
        path.unlink()
    make(path)
    assert [fault.reason for fault in tidy.plan(str(directory), TABLE)] == [reason]
    done, problem = tidy.tidy(str(directory), "empty", TABLE)
    assert ([(fault.name, fault.reason) for fault in done], problem) == ([(name, reason)], "")
    assert done[0].sentence.startswith(f"put right: {name} ")
    if after is None:
        assert not os.path.lexists(path)
    elif name != ".lock":
        found = path.lstat()
        assert (path.read_bytes(), stat.S_IMODE(found.st_mode), found.st_nlink) == (after, 0o644, 1)
    assert (directory / "1").read_bytes() == LIVE
    assert os.listdir(directory / ".new") == []
    outside = directory.parent / "outside"
    assert not outside.exists() or outside.read_bytes() in (b"99\n", LIVE)
    assert tidy.tidy(str(directory), "empty", TABLE) == ([], "")


def test_a_place_for_new_files_that_is_none_is_made_again(directory) -> None:
    (directory / ".new").rmdir()
    (directory / ".new").write_text("a file")
    _folder(directory / "0")
    done, problem = tidy.tidy(str(directory), "empty", TABLE)
    assert ([fault.name for fault in done], problem, (directory / "0").exists()) == ([".new", "0"], "", False)


# name: (file, how it is made, the table)
RIGHT = {
    "an empty file": ("0", _data(b""), TABLE),
    "two jobs": ("0", _data(b"12\n13\n"), TABLE),
    "an instance": ("3.7", _data(LIVE), TABLE),
    "any GPU without a table": ("7", _data(LIVE), None),
    "any GPU with a table without GPUs": ("7", _data(LIVE), Table()),
    "what the exporter does not read": ("README", _data(b"x"), TABLE),
    "no number either": ("1.x", os.mkfifo, TABLE),
    "a directory that the exporter passes over": ("007", lambda path: path.mkdir(), TABLE),
    "an emptied record": (".job-12", _data(b""), TABLE),
    "a record": (".job-12", _data(RECORD % b"0"), TABLE),
    "the record of a later release": (".job-12", _data(b"v2\0x"), TABLE),
}


@pytest.mark.parametrize(("name", "make", "table"), RIGHT.values(), ids=RIGHT.keys())
def test_what_is_right_or_nobodys_business_stays(directory, name, make, table) -> None:
    make(directory / name)
    before = (directory / name).lstat()
    assert tidy.tidy(str(directory), "empty", table) == ([], "")
    assert (directory / name).lstat() == before


def test_a_job_on_a_gpu_that_fell_off_the_bus_keeps_its_file(directory) -> None:
    put(directory / "7", LIVE)
    put(directory / ".job-12", RECORD % b"1,7")
    assert tidy.tidy(str(directory), "empty", TABLE) == ([], "")


@pytest.mark.parametrize(("idle", "there"), [("empty", True), ("unlink", False)])
def test_a_file_without_ids_is_as_the_exporter_wants_it(directory, idle, there) -> None:
    put(directory / "0", b"garbage one\n")
    tidy.tidy(str(directory), idle, TABLE)
    assert (directory / "0").exists() is there


def test_a_file_that_is_put_right_does_not_become_younger(directory) -> None:
    put(directory / "0", b"12\r\n")
    os.utime(directory / "0", (5000, 5000))
    tidy.tidy(str(directory), "empty", TABLE)
    assert (directory / "0").stat().st_mtime == 5000


def test_a_scrape_that_waits_for_a_fifo_goes_on(directory) -> None:
    os.mkfifo(directory / "0")
    read: list[str] = []
    scrape = threading.Thread(target=lambda: read.append((directory / "0").read_text()), daemon=True)
    scrape.start()
    time.sleep(0.2)
    tidy.tidy(str(directory), "empty", TABLE)
    scrape.join(5)
    assert read == [""]


def test_one_file_that_cannot_be_put_right_does_not_keep_the_others(directory, monkeypatch) -> None:
    os.mkfifo(directory / "0")
    put(directory / "2", b"x\n")
    real = os.unlink

    def refused(path: str, *others: object, **more: object) -> None:
        if str(path).endswith("/0"):
            raise OSError(1, "Operation not permitted")
        real(path, *others, **more)

    monkeypatch.setattr(tidy.os, "unlink", refused)
    done, problem = tidy.tidy(str(directory), "empty", TABLE)
    assert [fault.name for fault in done] == ["2"]
    assert problem.startswith("0 was a FIFO and cannot be put right: ") and "not permitted" in problem


def test_a_script_that_holds_the_lock_is_waited_for_and_then_left(directory, monkeypatch) -> None:
    import fcntl

    monkeypatch.setattr(tidy, "LOCK_SECONDS", 0.1)
    os.mkfifo(directory / "0")
    with open(directory / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done, problem = tidy.tidy(str(directory), "empty", TABLE)
    assert done == [] and "was not free within 0.1 s" in problem
    assert tidy.tidy(str(directory), "empty", TABLE)[1] == ""


# name: how the directory became odd
DIRECTORIES = {
    "nobody else may read it": lambda path: path.chmod(0o700),
    "everybody may write": lambda path: path.chmod(0o777),
    "its group may write": lambda path: path.chmod(0o775),
    "it is gone": lambda path: path.rename(path.with_name("away")),
}


@pytest.mark.parametrize("spoil", DIRECTORIES.values(), ids=DIRECTORIES.keys())
def test_the_directory_itself_is_put_right(directory, spoil) -> None:
    spoil(directory)
    done, problem = tidy.tidy(str(directory), "empty", TABLE)
    assert ([fault.reason for fault in done], problem) == (["directory"], "")
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert "the directory of the job map" in done[0].sentence


def test_show_does_not_wait_for_a_fifo(directory) -> None:
    os.mkfifo(directory / "0")
    with pytest.raises(OSError, match="/0 is no plain file: dcgm-exporter may wait"):
        job_map.read_map(str(directory))
