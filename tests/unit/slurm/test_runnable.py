"""Whether slurmd could run a script, and should."""

from __future__ import annotations

import grp
import os
import pwd
import socket
from pathlib import Path

import pytest
from superpod_dcgm.slurm import places, runnable, running


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "a/b/prolog.sh"
    path.parent.mkdir(parents=True)
    path.write_text("#!/bin/bash -p\nexit 0\n")
    path.chmod(0o755)
    return path


def test_a_script_of_roots_can_be_run(script) -> None:
    assert runnable.script_problem(str(script)) == ""


def test_a_way_through_links_is_followed_to_its_end(script, tmp_path) -> None:
    (tmp_path / "one").symlink_to("a")
    (tmp_path / "two").symlink_to(f"{tmp_path}/one/b")
    (tmp_path / "three").symlink_to("two/../b/prolog.sh")
    real, folders = runnable.walk(f"{tmp_path}/three")
    assert real == str(script.resolve()) and str(script.resolve().parent) in folders
    (tmp_path / "circle").symlink_to("circle")
    assert "is not there (Too many levels" in runnable.script_problem(f"{tmp_path}/circle")


def test_an_absolute_link_is_followed_below_slurmds_own_root(script, tmp_path) -> None:
    """As through /proc/PID/root, where the kernel would follow it to our root."""
    (tmp_path / "a/link.sh").symlink_to("/b/prolog.sh")
    assert runnable.walk("/link.sh", f"{tmp_path}/a")[0] == "/b/prolog.sh"
    with pytest.raises(FileNotFoundError):
        runnable.walk("/link.sh")


class _NoExec:
    f_flag = os.ST_NOEXEC


def test_a_mount_without_exec_is_named(script, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: path.startswith("/bin") or path.startswith("/usr"))
    monkeypatch.setattr(os, "statvfs", lambda path: _NoExec)
    mount = places.Mount(1, "0:1", "/", "/cm/shared", "nfs")
    monkeypatch.setattr(places, "mount_of", lambda path, mounts, root="": mount)
    problem = runnable.script_problem(str(script))
    assert problem == f"slurmd cannot run it there: /cm/shared is mounted noexec ({script})"


def test_what_access_denies_is_said(script, monkeypatch) -> None:
    closed = str(script.parent)
    monkeypatch.setattr(os, "access", lambda path, mode: path not in (closed, str(script)))
    assert f"access to {closed} is denied" in runnable.script_problem(str(script))


# first line: words
INTERPRETERS = {
    "#!/bin/no-such-shell": "its interpreter is not there",
    "#!": "names no interpreter",
    "#!bash": "names no interpreter",
    "#! /bin/bash": "",
    "#!/usr/bin/env bash": "",
}


@pytest.mark.parametrize(("line", "words"), INTERPRETERS.items(), ids=list(INTERPRETERS))
def test_the_interpreter_has_to_run_too(script, line, words) -> None:
    script.write_text(f"{line}\nexit 0\n")
    problem = runnable.script_problem(str(script))
    assert words in problem and bool(problem) is bool(words)


def _others() -> int:
    return next(
        entry.pw_uid for entry in pwd.getpwall() if entry.pw_uid not in (0, os.geteuid()) and entry.pw_name != "slurm"
    )


@pytest.mark.parametrize("place", ["script", "directory", "directory above"])
@pytest.mark.parametrize("mode", [0o777, 0o757])
def test_what_everybody_can_replace_is_not_run_as_root(script, place, mode) -> None:
    path = {"script": script, "directory": script.parent, "directory above": script.parent.parent}[place]
    path.chmod(mode)
    problem = runnable.script_problem(str(script))
    assert "as root what others can replace" in problem and "by everybody" in problem and str(path) in problem


def test_nobody_replaces_what_is_not_his_in_a_sticky_directory(script) -> None:
    script.parent.chmod(0o1777)
    assert runnable.script_problem(str(script)) == ""


class _Entry:
    """What os.stat says, with another owner."""

    def __init__(self, found: os.stat_result, uid: int, gid: int, mode: int) -> None:
        self.st_uid, self.st_gid, self.st_mode, self.found = uid, gid, found.st_mode & ~0o777 | mode, found

    def __getattr__(self, name: str) -> object:
        return getattr(self.found, name)


def _owned(monkeypatch: pytest.MonkeyPatch, path: Path, uid: int, gid: int, mode: int) -> None:
    known = os.stat

    def stat(other: object, **options: object) -> object:
        found = known(other, **options)
        return _Entry(found, uid, gid, mode) if str(other) == str(path) else found

    monkeypatch.setattr(os, "stat", stat)


def test_a_directory_of_another_user_is_not_trusted(script, monkeypatch) -> None:
    uid = _others()
    _owned(monkeypatch, script.parent, uid, 0, 0o755)
    assert f"belongs to {pwd.getpwuid(uid).pw_name}" in runnable.script_problem(str(script))


def test_slurms_own_user_is_trusted(script, monkeypatch) -> None:
    uid = _others()
    _owned(monkeypatch, script.parent, uid, 0, 0o755)
    monkeypatch.setattr(pwd, "getpwnam", lambda name: pwd.getpwuid(uid))
    assert runnable.script_problem(str(script)) == ""


# name: (members of the group, refused)
GROUPS = {"a group that nobody is in": ([], False), "a group with a user": (["alice"], True)}


@pytest.mark.parametrize(("members", "refused"), GROUPS.values(), ids=GROUPS.keys())
def test_a_group_counts_by_who_is_in_it(script, monkeypatch, members, refused) -> None:
    gid = 54321
    _owned(monkeypatch, script.parent, 0, gid, 0o2775)
    monkeypatch.setattr(grp, "getgrgid", lambda number: grp.struct_group(("editors", "x", number, members)))
    problem = runnable.script_problem(str(script))
    assert ("group editors (alice)" in problem) is refused and bool(problem) is refused
    # A site's own directory of prologs may have editors.
    assert runnable.writers_problem("x", [str(script.parent)], groups=False) == ""


def _process(
    root: Path, number: int, program: str, environment: bytes = b"", parent: int = 1, contained: bool = False
) -> None:
    folder = root / str(number)
    (folder / "ns").mkdir(parents=True)
    (folder / "exe").symlink_to(program)
    (folder / "environ").write_bytes(environment)
    (folder / "stat").write_text(f"{number} (a ) b) S {parent} 0 0\n")
    (folder / "ns/mnt").touch()
    own = root / "pid-namespace"
    own.touch()
    (folder / "ns/pid").touch() if contained else os.link(own, folder / "ns/pid")


@pytest.mark.usefixtures("of_root")
@pytest.mark.parametrize("called", ["slurmd", "slurmd-24.11.5", "slurmd-wlm", "slurmd.real"])
def test_slurmd_is_known_by_its_program_and_its_view_by_its_namespace(tmp_path, called) -> None:
    _process(tmp_path, 1, "/usr/bin/python3")
    _process(tmp_path, 3, "/usr/sbin/slurmd", contained=True)
    (tmp_path / "self").symlink_to("1")
    assert runnable.slurmd(str(tmp_path)) == ""
    _process(tmp_path, 2, f"/opt/slurm/sbin/{called} (deleted)")
    assert runnable.slurmd(str(tmp_path)) == f"{tmp_path}/2"
    assert runnable.slurmd_root(str(tmp_path)) == f"{tmp_path}/2/root"
    (tmp_path / "1/ns/mnt").unlink()
    os.link(tmp_path / "2/ns/mnt", tmp_path / "1/ns/mnt")
    assert runnable.slurmd_root(str(tmp_path)) == ""


@pytest.fixture
def of_root(tmp_path, monkeypatch) -> None:
    """Whoever runs the tests: what is below tmp_path belongs to root."""
    known = os.stat

    def stat(path: object, **options: object) -> object:
        found = known(path, **options)
        return _Entry(found, 0, 0, found.st_mode & 0o777) if str(path).startswith(str(tmp_path)) else found

    monkeypatch.setattr(os, "stat", stat)


@pytest.mark.usefixtures("of_root")
@pytest.mark.parametrize("called", ["slurmd", "slurmd-wlm"])
def test_a_prolog_that_runs_is_known_by_what_slurmd_told_it(tmp_path, called) -> None:
    _process(tmp_path, 5, f"/usr/sbin/{called}")
    (tmp_path / "self").symlink_to("5")
    _process(tmp_path, 12, "/bin/bash", b"SLURM_SCRIPT_CONTEXT=prolog_slurmd\0", parent=5, contained=True)
    _process(tmp_path, 6, "/usr/sbin/slurmstepd")
    _process(tmp_path, 7, "/bin/bash", b"A=1\0SLURM_SCRIPT_CONTEXT=prolog_slurmd\0", parent=5)
    _process(tmp_path, 8, "/bin/sleep", b"SLURM_SCRIPT_CONTEXT=epilog_slurmd\0", parent=10)
    _process(tmp_path, 9, "/bin/bash", b"SLURM_SCRIPT_CONTEXT=prolog_slurmctld\0", parent=5)
    _process(tmp_path, 10, "/bin/bash", parent=6)
    # A daemon that a prolog left behind.
    _process(tmp_path, 11, "/usr/bin/nv-hostengine", b"SLURM_SCRIPT_CONTEXT=prolog_slurmd\0")
    assert running.scripts(str(tmp_path)) == [7, 8]
    assert running.wait_for_none(0.1, str(tmp_path)) == [7, 8]
    for number in (7, 8):
        (tmp_path / f"{number}/environ").write_bytes(b"")
    assert running.wait_for_none(0.1, str(tmp_path)) == []


def test_what_is_no_file_is_not_opened(tmp_path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/s")
    listening.close()
    assert "no regular file" in runnable.script_problem(f"{tmp_path}/s")
