"""Files that others may have touched, and locks that only root may hold."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from superpod_dcgm.agent import job_map
from superpod_dcgm.base import files as base_files
from superpod_dcgm.base import leftovers
from superpod_dcgm.monitoring import ownership
from superpod_dcgm.slurm import scripts


@pytest.mark.parametrize("earlier", [None, 0o644])
def test_a_lock_can_be_opened_by_its_owner_alone_also_one_of_an_earlier_release(tmp_path: Path, earlier) -> None:
    """To hold a lock of flock(2), and with it every job, reading its file is enough."""
    path = tmp_path / "lock"
    if earlier:
        path.touch(earlier)
    with base_files.lock_local(str(path), 1):
        assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_a_directory_has_its_mode_whatever_the_umask_and_one_of_others_keeps_its_own(tmp_path: Path, umask) -> None:
    (tmp_path / "theirs").mkdir(mode=0o700)
    before = os.umask(umask)
    try:
        base_files.make_directory(str(tmp_path / "theirs" / "ours" / "secret"), 0o700)
        base_files.make_directory(str(tmp_path / "theirs"))
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("theirs", "theirs/ours", "theirs/ours/secret")]
    assert modes == [0o700, 0o755, 0o700]


def _fifo(path: Path) -> None:
    os.mkfifo(path)


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _elsewhere(path: Path) -> None:
    (path.parent / "elsewhere").write_text("metrics\n")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("make", [_fifo, _endless, _elsewhere])
def test_what_is_no_plain_file_is_replaced_and_neither_read_nor_followed(tmp_path: Path, make) -> None:
    path = tmp_path / "superpod-dcgm.prom"
    make(path)
    assert base_files.write_atomic(str(path), "metrics\n") is True
    assert not path.is_symlink() and path.read_text() == "metrics\n"
    assert base_files.write_atomic(str(path), "metrics\n") is False


def _folder(path: Path) -> None:
    path.mkdir()


def _link_to_a_fifo(path: Path) -> None:
    os.mkfifo(path.parent / "fifo")
    path.symlink_to("fifo")


def _nested(path: Path) -> None:
    path.write_text("[" * 100_000)


def _huge(path: Path) -> None:
    path.write_text("[" + " " * 100 + "]")


def _nothing(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [_fifo, _endless, _folder, _link_to_a_fifo, _nested, _huge, _nothing])
def test_what_cannot_be_read_as_json_is_neither_waited_for_nor_read_without_end(tmp_path: Path, make) -> None:
    path = tmp_path / "record.json"
    make(path)
    assert base_files.read_json(str(path), "none", most=100_000 if make is _nested else 64) == "none"


def test_json_is_read_through_a_link_unless_that_is_not_wanted(tmp_path: Path) -> None:
    (tmp_path / "there.json").write_text('{"a": 1}')
    (tmp_path / "link.json").symlink_to("there.json")
    assert base_files.read_json(str(tmp_path / "link.json")) == {"a": 1}
    with pytest.raises(OSError, match="not a plain file"):
        base_files.read_bounded(str(tmp_path / "link.json"), 64, follow=False)


def test_a_map_that_moves_keeps_running_jobs_and_what_is_newer(tmp_path: Path) -> None:
    former, directory = tmp_path / "former", tmp_path / "map"
    for folder in (former, directory):
        folder.mkdir()
    record = "v1\0a\0b\0c\0n\0000\0"
    files = {"0": "12\n", "1": "13\n", "2": "", ".job-12": record, ".lock": "", "notes": "x"}
    for name, text in files.items():
        (former / name).write_text(text)
    (directory / "0").write_text("99\n")
    (directory / "1").write_text("")
    job_map.move(str(former), str(directory))
    assert not former.exists()
    moved = {path.name: path.read_text() for path in directory.iterdir()}
    assert moved == {"0": "99\n", "1": "13\n", "2": "", ".job-12": record}


def test_temporary_files_older_than_an_hour_are_swept_and_nothing_else(tmp_path: Path) -> None:
    names = [".superpod-a1", ".60-prolog-dcgm.sh.superpod-77", ".superpod-new", "x.prom", ".lock", ".superpod-dir"]
    for name in names[:5]:
        (tmp_path / name).touch()
    (tmp_path / names[5]).mkdir()
    (tmp_path / ".superpod-link").symlink_to("/nowhere")
    (tmp_path / ".superpod-future").touch()
    now = time.time()
    for name, moment in {
        names[0]: 7200,
        names[1]: 7200,
        names[3]: 7200,
        names[4]: 7200,
        ".superpod-future": -7200,
    }.items():
        os.utime(tmp_path / name, (now - moment, now - moment))
    assert leftovers.sweep(str(tmp_path)) == [".60-prolog-dcgm.sh.superpod-77", ".superpod-a1", ".superpod-future"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*names[2:], ".superpod-link"])
    assert leftovers.sweep("/nowhere") == []


def test_what_stands_in_the_place_of_a_directory_keeps_its_mode(tmp_path) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("x")
    theirs.chmod(0o640)
    for path in (theirs, theirs / "ours"):
        with pytest.raises(OSError):
            base_files.make_directory(str(path))
    assert theirs.stat().st_mode & 0o777 == 0o640


def test_a_head_of_what_is_no_plain_file_is_neither_waited_for_nor_read(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "plain").write_text("abc")
    (tmp_path / "link").symlink_to("plain")
    assert base_files.head(str(tmp_path / "plain"), 2) == b"ab"
    assert base_files.head(str(tmp_path / "link"), 2, follow=True) == b"ab"
    for name, follow in (("fifo", True), ("fifo", False), ("link", False)):
        with pytest.raises(OSError):
            base_files.head(str(tmp_path / name), 2, follow)
    assert not scripts.is_ours(str(tmp_path / "fifo")) and not ownership.is_ours(str(tmp_path / "fifo"))
