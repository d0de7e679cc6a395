"""Could slurmd run a file? Asked of the kernel as slurmd asks, from where slurmd stands, and whether it should."""

from __future__ import annotations

import contextlib
import errno
import glob
import grp
import os
import pwd
import stat

from superpod_dcgm.base import process, slurmd_name
from superpod_dcgm.slurm import places, running

_CHECK_SECONDS = 10
_MOST_LINKS = 40


def slurmd(processes: str = "/proc") -> str:
    """Return the directory in /proc of a slurmd that runs as root, or ``""``."""
    for exe in glob.iglob(f"{processes}/[0-9]*/exe"):
        folder = os.path.dirname(exe)
        try:
            # Anybody can call his program slurmd; whose process it is, the kernel says.
            if (
                slurmd_name.is_slurmd(os.readlink(exe))
                and os.stat(folder).st_uid == 0
                and running.is_here(folder, processes)
            ):
                return folder
        except OSError:
            continue
    return ""


def slurmd_root(processes: str = "/proc") -> str:
    """
    Return the root directory of a slurmd that has mounts of its own, as /proc/PID/root, or ``""``.

    What it sees is not what this process sees: PrivateMounts= and the like in its unit.
    """
    folder = slurmd(processes)
    try:
        own = not folder or os.path.samefile(f"{folder}/ns/mnt", f"{processes}/self/ns/mnt")
    except OSError:
        return ""
    return "" if own else f"{folder}/root"


def walk(path: str, root: str = "") -> tuple[str, list[str]]:
    """
    Return the real path of ``path`` and the real directories that lead to it, as a process with this root finds them.

    ``os.path.realpath`` would follow an absolute link to this process's own root.

    :raises OSError: something on the way is not there, or links go round in a circle.
    """
    pending, place, folders, links = path.split("/")[::-1], "/", ["/"], 0
    while pending:
        part = pending.pop()
        if part in ("", "."):
            continue
        if part == "..":
            place = os.path.dirname(place)
            continue
        full = os.path.join(place, part)
        mode = os.lstat(f"{root}{full}").st_mode
        if stat.S_ISLNK(mode):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            there = os.readlink(f"{root}{full}")
            place = "/" if there.startswith("/") else place
            pending += there.split("/")[::-1]
            continue
        place = full
        if stat.S_ISDIR(mode):
            folders.append(full)
    return place, folders


def script_problem(path: str, root: str = "") -> str:
    """Return why slurmd must not be made to run ``path``, or ``""``: a script that fails drains the node."""
    try:
        real, folders = walk(path, root)
        mode = os.stat(f"{root}{real}").st_mode
    except OSError as exc:
        return f"{path} is not there ({exc.strerror})"
    if not stat.S_ISREG(mode):
        return f"{path} is no regular file"
    if mode & 0o555 != 0o555:
        return f"{path} is not readable and executable for everybody: mode {stat.S_IMODE(mode):04o}"
    if problem := access_problem(path, real, folders, root):
        return problem
    if problem := syntax_problem(path, f"{root}{real}"):
        return problem
    return _interpreter_problem(path, real, root) or writers_problem(path, [*folders, real], root)


def access_problem(path: str, real: str, folders: list[str], root: str) -> str:
    """Return why access(2), by which slurmd decides, does not let it run ``path``, or ``""``."""
    if os.access(f"{root}{real}", os.R_OK | os.X_OK):
        return ""
    try:
        if os.statvfs(f"{root}{real}").f_flag & os.ST_NOEXEC:
            processes = f"{os.path.dirname(root)}/mountinfo" if root else "/proc/self/mountinfo"
            mount = places.mount_of(real, places.read_mounts(processes), root)
            return f"slurmd cannot run it there: {mount.point if mount else path} is mounted noexec ({path})"
    except OSError as exc:
        return f"slurmd cannot run {path}: {exc.strerror}"
    closed = [folder for folder in folders if not os.access(f"{root}{folder}", os.X_OK)]
    return f"slurmd cannot run it there: access to {closed[0] if closed else path} is denied ({path})"


def syntax_problem(path: str, seen: str = "") -> str:
    """
    Return why bash cannot run ``path``, or ``""``.

    :param seen: where this process finds it.
    """
    try:
        first = _first_line(seen or path)
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}"
    if not first.startswith(b"#!"):
        return f"{path} is no valid script: its first line names no interpreter"
    answer = process.run(["bash", "-n", seen or path], _CHECK_SECONDS)
    if answer.code is None:
        return f"{path} cannot be checked: bash {answer.error}"
    return f"{path} is no valid script: {answer.problem}" if answer.code else ""


def _first_line(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.readline(128)


def _interpreter_problem(path: str, real: str, root: str) -> str:
    try:
        words = os.fsdecode(_first_line(f"{root}{real}"))[2:].split()
        if not words or not words[0].startswith("/"):
            return f"{path} is no valid script: its first line names no interpreter"
        interpreter, folders = walk(words[0], root)
    except OSError as exc:
        return f"{path} cannot be run: its interpreter is not there ({exc.strerror})"
    problem = access_problem(words[0], interpreter, folders, root)
    return f"{path} cannot be run by its interpreter: {problem}" if problem else ""


def writers_problem(path: str, ways: list[str], root: str = "", groups: bool = True) -> str:
    """
    Return who else could put something of his in the place of ``path``, which slurmd runs as root, or ``""``.

    :param ways: the real directories that lead to it, and itself.
    :param groups: whether a group may be one too many. A site's own directory of prologs may well have editors.
    """
    trusted = _trusted()
    for place in ways:
        try:
            found = os.stat(f"{root}{place}")
        except OSError:
            continue
        who = _writers(found, trusted, groups)
        if who:
            mode = f"mode {stat.S_IMODE(found.st_mode):04o}"
            return f"slurmd would run as root what others can replace: {place} {who} ({mode}); path: {path}"
    return ""


def _writers(found: os.stat_result, trusted: set[int], groups: bool) -> str:
    if found.st_uid not in trusted:
        return f"belongs to {_user(found.st_uid)}"
    # In a sticky directory, such as /tmp, nobody replaces what is not his.
    if stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX:
        return ""
    if found.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if groups and found.st_mode & stat.S_IWGRP and (members := _members(found.st_gid, trusted)):
        return f"can be written by {members}"
    return ""


def _trusted() -> set[int]:
    """Root, whoever runs this, and Slurm's own user, who orders slurmd about anyway."""
    found = {0, os.geteuid()}
    with contextlib.suppress(KeyError):
        found.add(pwd.getpwnam("slurm").pw_uid)
    return found


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user {number}"


def _members(number: int, trusted: set[int]) -> str:
    """Distributions have directories of groups that nobody is in, such as Debian's staff."""
    if number == 0:
        return ""
    try:
        group = grp.getgrgid(number)
    except KeyError:
        return f"group {number}"
    by_name = {entry.pw_name: entry for entry in pwd.getpwall()}
    others = [name for name in group.gr_mem if name not in by_name or by_name[name].pw_uid not in trusted]
    others += [entry.pw_name for entry in by_name.values() if entry.pw_gid == number and entry.pw_uid not in trusted]
    return f"group {group.gr_name} ({', '.join(sorted(set(others))[:3])})" if others else ""
