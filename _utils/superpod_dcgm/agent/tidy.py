"""
Puts right what is odd in the job map's directory: what the exporter cannot read, waits for, or takes for a job.

Nobody is asked for that, so it is done at every tick: a FIFO holds up all of /metrics as long as it is there.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from dataclasses import dataclass

from superpod_dcgm.agent import job_map
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.job_map import View
from superpod_dcgm.base import files

LOCK_SECONDS = 2.0
# What releases before 4.8.2 try to read as well: all that Go takes for a whole number.
_READ = re.compile(r"[+-]?\d+|\d+\.\d+", re.ASCII)
# What a GPU or a GPU instance can be called.
_POSSIBLE = re.compile(r"(0|[1-9]\d{0,2})(\.(0|[1-9]\d{0,2}))?", re.ASCII)
_RECORD = re.compile(rb"v[0-9]+\0")
_MODE = 0o755
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@dataclass(frozen=True)
class Fault:
    """
    What is odd with a file of the map.

    ``reason`` is for the metrics: ``kind`` (no plain file), ``rights``, ``content``, ``name`` (of no GPU), ``record``,
    ``directory``; ``words`` are for the log. What is ``rewritten`` keeps its ids; the rest is removed.
    """

    name: str
    reason: str
    words: str
    rewritten: bool = False

    @property
    def sentence(self) -> str:
        """What the log says."""
        return f"put right: {self.name or 'the directory of the job map'} {self.words}"


def tidy(directory: str, idle: str, table: Table | None) -> tuple[list[Fault], str]:
    """
    Put right what is odd, under the lock of prolog and epilog; what cannot be put right does not keep the rest.

    :param idle: what a file without ids is to be: ``empty``, or ``unlink`` where there shall be none.
    :param table: the device table, where it can be relied on.
    :return: what was put right, and why something could not be, or an empty text.
    :raises OSError: the directory cannot be used at all.
    """
    done = directory_faults(directory)
    if done:
        _open_up(directory)
    found = find(directory, table)
    # Before the lock that it hinders.
    for fault in (fault for fault in found if fault.name == ".lock"):
        _remove(directory, fault.name)
        done.append(fault)
    if not [fault for fault in found if fault.name != ".lock"]:
        return done, ""
    problems = []
    try:
        with files.lock_local(os.path.join(directory, ".lock"), LOCK_SECONDS):
            # Looked at again: a script may have been writing.
            seen = job_map.look(directory)
            for fault in find(directory, table):
                try:
                    _put_right(directory, fault, idle, seen)
                    done.append(fault)
                except OSError as exc:
                    problems.append(f"{fault.name} {fault.words} and cannot be put right: {exc}")
    except OSError as exc:
        problems.append(f"the job map cannot be changed: {exc}")
    return done, "; ".join(problems)


def plan(directory: str, table: Table | None) -> list[Fault]:
    """
    Return what ``tidy`` would put right.

    :raises OSError: the directory cannot be used at all.
    """
    return [*directory_faults(directory), *find(directory, table)]


def directory_faults(directory: str) -> list[Fault]:
    """
    Return what is odd with the directory itself: it is missing, or not everybody may read it, or others may write.

    :raises OSError: something else has its name, which is left alone.
    """
    if not directory:
        raise OSError("job-map.conf names no directory for the job map")
    try:
        found = os.stat(directory)
    except FileNotFoundError:
        if os.path.islink(directory):
            raise OSError(f"{directory} is a link that leads nowhere: remove it, the next tick makes it") from None
        return [Fault("", "directory", "was missing; the jobs that run have no label any more")]
    if not stat.S_ISDIR(found.st_mode):
        raise OSError(f"{directory} is {_KINDS.get(stat.S_IFMT(found.st_mode), 'a file')}, no directory: remove it")
    mode, owner = stat.S_IMODE(found.st_mode), found.st_uid
    if mode & _MODE == _MODE and not mode & 0o022 and owner == os.geteuid():
        return []
    return [Fault("", "directory", f"had mode {mode:04o} and belonged to uid {owner}")]


def _open_up(directory: str) -> None:
    files.make_directory(directory)
    os.chmod(directory, _MODE)
    os.chown(directory, os.geteuid(), os.getegid())


def find(directory: str, table: Table | None) -> list[Fault]:
    """
    Return what is odd in the directory; nothing is changed, and nothing waited for.

    :raises OSError: the directory cannot be read.
    """
    if not os.path.isdir(directory):
        return []
    seen = job_map.look(directory)
    # .new first, since the others need it.
    entries = sorted(os.scandir(directory), key=lambda entry: (entry.name != ".new", entry.name))
    found = (_fault(entry, seen, table) for entry in entries)
    return [fault for fault in found if fault]


def _fault(entry: os.DirEntry[str], seen: View, table: Table | None) -> Fault | None:
    name = entry.name
    try:
        kind = stat.S_IFMT(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return None
    words = f"was {_KINDS.get(kind, 'no plain file')}"
    if name == ".new":
        return None if kind == stat.S_IFDIR else Fault(name, "kind", "was no directory")
    if name == ".lock":
        return None if kind == stat.S_IFREG else Fault(name, "kind", words)
    if job := job_map.job_of_record(name):
        return Fault(name, "record", words) if kind != stat.S_IFREG else _record_fault(name, job, seen)
    if not _READ.fullmatch(name):
        return None
    if not _POSSIBLE.fullmatch(name):
        # The exporter reads no directory.
        return None if kind == stat.S_IFDIR else Fault(name, "name", "is what no GPU is called")
    return _map_fault(name, seen, table) if kind == stat.S_IFREG else Fault(name, "kind", words)


def _record_fault(name: str, job: str, seen: View) -> Fault | None:
    entry = seen.records.get(job)
    if entry is None or (entry.ours and entry.whole and (not entry.data or _RECORD.match(entry.data))):
        return None
    return Fault(name, "record", "was not what the prolog writes")


def _map_fault(name: str, seen: View, table: Table | None) -> Fault | None:
    entry = seen.files.get(name)
    if entry is None:
        return None
    if table and table.gpus and name not in table.gpus and name not in table.instances and not _noted(name, seen):
        return Fault(name, "name", "is no GPU of this node, and no job's record names it")
    if not entry.ours:
        return Fault(name, "rights", "had another owner or mode, or another name elsewhere", rewritten=True)
    return None if entry.exact else Fault(name, "content", "had more than job ids", rewritten=True)


def _noted(name: str, seen: View) -> bool:
    """Whether a job that the file names got this GPU by its prolog: while the job lives the file stays."""
    records = (job_map.parse_record(seen.records[job].data) for job in seen.files[name].ids if job in seen.records)
    return any(record and name in record.gpus for record in records)


def _put_right(directory: str, fault: Fault, idle: str, seen: View) -> None:
    if not fault.rewritten:
        _remove(directory, fault.name)
    elif entry := seen.files.get(fault.name):
        job_map.put_ids(directory, fault.name, entry.ids, idle, entry.modified)


def _remove(directory: str, name: str) -> None:
    path = os.path.join(directory, name)
    with contextlib.suppress(FileNotFoundError):
        kind = stat.S_IFMT(os.lstat(path).st_mode)
        if kind == stat.S_IFDIR:
            # Out of the way in one step. What cannot be deleted there, the next prolog deletes.
            rest = os.path.join(directory, ".new", f"{name}.removed")
            files.make_directory(os.path.dirname(rest))
            os.rename(path, rest)
            shutil.rmtree(rest, ignore_errors=True)
        elif kind == stat.S_IFIFO:
            _release(path)
        else:
            os.unlink(path)


def _release(path: str) -> None:
    """Remove a FIFO so that an exporter that waits for it reads its end."""
    writer = None
    with contextlib.suppress(OSError):
        # Fails where nobody waits.
        writer = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.unlink(path)
    finally:
        if writer is not None:
            os.close(writer)
