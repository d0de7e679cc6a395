"""The job map: which jobs hold which GPU, in the files that dcgm-exporter reads."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from dataclasses import dataclass

from superpod_dcgm.base import files

# What dcgm-exporter takes for a map file.
_MAP_NAME = re.compile(r"\d+(\.\d+)?", re.ASCII)
_JOB_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
# Slurm has no job of this id or a higher one (NO_VAL), and squeue takes such a word for no id at all.
_NO_JOB = 0xFFFFFFFE
_END_OF_LINE = re.compile(r"[\r\n]+")
_RECORD_NAME = re.compile(r"\.job-([1-9][0-9]{0,9})", re.ASCII)
# The scripts read no more of a map file either.
_FILE_BYTES = 65536
# The exporter may run as another user.
FILE_MODE = 0o644


@dataclass(frozen=True)
class Entry:
    """
    A file of the job map as it was at one moment.

    ``state`` differs as soon as anybody has written it again; ``ours`` says that no other program made it, which
    may have left it unreadable for the exporter; ``whole`` that it has no more than was read.
    """

    data: bytes
    modified: float
    state: tuple[int, ...]
    ours: bool
    whole: bool = True

    @property
    def ids(self) -> list[str]:
        """The job ids of a map file, each once; a line that is no job id is left out."""
        lines = (line.strip() for line in _END_OF_LINE.split(self.data.decode("ascii", "replace")))
        return list(dict.fromkeys(line for line in lines if is_job_id(line)))

    @property
    def exact(self) -> bool:
        """Whether a map file is ids, each once and on a line of its own, and nothing else."""
        return self.whole and self.data == text_of(self.ids)


@dataclass(frozen=True)
class View:
    """The job map at one moment: its map files by name, and the records of jobs by id."""

    files: dict[str, Entry]
    records: dict[str, Entry]

    def holders(self) -> dict[str, list[str]]:
        """Return the names of the map files per job id."""
        found: dict[str, list[str]] = {}
        for name, entry in self.files.items():
            for job in entry.ids:
                found.setdefault(job, []).append(name)
        return found


@dataclass(frozen=True)
class Record:
    """What the prolog noted of a job; ``gpus`` are the names of its map files."""

    user: str
    account: str
    partition: str
    node: str
    gpus: tuple[str, ...] = ()


def is_job_id(text: str) -> bool:
    """Return whether a text is the id of a job, as Slurm writes it."""
    return bool(_JOB_ID.fullmatch(text)) and int(text) < _NO_JOB


def is_map_name(name: str) -> bool:
    """Return whether dcgm-exporter takes a file of this name for one of the map."""
    return bool(_MAP_NAME.fullmatch(name))


def job_of_record(name: str) -> str:
    """Return the job whose record has this file name, or an empty string."""
    found = _RECORD_NAME.fullmatch(name)
    return found[1] if found else ""


def text_of(ids: list[str]) -> bytes:
    """Return the content of a map file with these ids."""
    return "".join(f"{job}\n" for job in ids).encode("ascii")


def read_map(directory: str) -> dict[str, list[str]]:
    """
    Return the job ids per map file, read as dcgm-exporter reads them.

    :raises OSError: the directory or a file in it cannot be read; the exporter would fail alike.
    """
    names = [entry.name for entry in os.scandir(directory) if is_map_name(entry.name) and not entry.is_dir()]
    found = {}
    for name in sorted(names, key=lambda text: [int(part) for part in text.split(".")]):
        # Unlike the exporter, nobody here waits for a FIFO that nobody writes.
        descriptor = os.open(os.path.join(directory, name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, encoding="utf-8", errors="replace") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(
                    f"{os.path.join(directory, name)} is no plain file: dcgm-exporter may wait for it for ever"
                )
            found[name] = stream.read(_FILE_BYTES).splitlines()
    return found


def look(directory: str) -> View:
    """
    Return the job map without ever waiting for it: links, FIFOs and directories are passed over, reading is bounded.

    :raises OSError: the directory cannot be read.
    """
    maps: dict[str, Entry] = {}
    records: dict[str, Entry] = {}
    for name in sorted(os.listdir(directory)):
        job = job_of_record(name)
        if (job or is_map_name(name)) and (entry := _read(os.path.join(directory, name))):
            (records if job else maps)[job or name] = entry
    return View(maps, records)


def _read(path: str) -> Entry | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            return None
        state = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size)
        ours = (stat.S_IMODE(found.st_mode), found.st_uid, found.st_nlink) == (FILE_MODE, os.geteuid(), 1)
        data = os.read(descriptor, _FILE_BYTES + 1)
        if whole := len(data) <= _FILE_BYTES:
            return Entry(data, found.st_mtime, state, ours, whole)
        # The last line may be the beginning of another id.
        return Entry(data[: data.rfind(b"\n") + 1], found.st_mtime, state, ours, whole)
    finally:
        os.close(descriptor)


def put_ids(directory: str, name: str, ids: list[str], idle: str, modified: float | None = None) -> None:
    """
    Write a map file so that no reader sees half of it; the lock is held by the caller.

    :param idle: what a file without ids is to be: ``empty``, or ``unlink`` where there shall be none.
    :param modified: its time; the moment by default. What is only put right does not become younger by that.
    :raises OSError: it cannot be written; the old one is as it was.
    """
    path, new = os.path.join(directory, name), os.path.join(directory, ".new", name)
    if not ids and idle == "unlink":
        os.unlink(path)
        return
    if not ids and modified is None and (entry := _read(path)) and entry.ours:
        # That needs no room: the file system may be full.
        os.truncate(path, 0)
        return
    files.make_directory(os.path.dirname(new))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(new)
    with open(new, "xb") as stream:
        stream.write(text_of(ids))
        os.fchmod(stream.fileno(), FILE_MODE)
    if modified is not None:
        os.utime(new, (modified, modified))
    os.replace(new, path)


def move(former: str, directory: str) -> None:
    """
    Move map files and records to another directory, but over none with content, and remove the former one.

    :raises OSError: it cannot be done; what was not moved yet is still there.
    """
    seen, there = look(former), look(directory)
    for name in (*seen.files, *(f".job-{job}" for job in seen.records)):
        known = there.files.get(name) or there.records.get(name.removeprefix(".job-"))
        if not known or not known.data:
            shutil.move(os.path.join(former, name), os.path.join(directory, name))
    shutil.rmtree(former)


def parse_record(data: bytes) -> Record | None:
    """Return what a job record says, or None for an emptied or unknown one."""
    version, *fields = data.split(b"\0")
    if version != b"v1" or len(fields) < 5:
        return None
    user, account, partition, node, gpus = (field.decode("utf-8", "replace") for field in fields[:5])
    return Record(user, account, partition, node, tuple(name for name in gpus.split(",") if is_map_name(name)))
