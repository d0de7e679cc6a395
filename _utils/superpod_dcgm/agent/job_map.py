"""The job map: which jobs hold which GPU, in the files that dcgm-exporter reads."""

from __future__ import annotations

import os
import re
import shutil
import stat
from dataclasses import dataclass

# What dcgm-exporter takes for a map file.
_MAP_NAME = re.compile(r"\d+(\.\d+)?", re.ASCII)
_JOB_ID = re.compile(r"[1-9][0-9]{0,9}", re.ASCII)
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
    may have left it unreadable for the exporter.
    """

    data: bytes
    modified: float
    state: tuple[int, ...]
    ours: bool

    @property
    def ids(self) -> list[str]:
        """The job ids of a map file, each once; what is no job id is left out."""
        words = self.data.decode("ascii", "replace").split()
        return list(dict.fromkeys(word for word in words if _JOB_ID.fullmatch(word)))


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
    """What the prolog noted of a job."""

    user: str
    account: str
    partition: str
    node: str


def read_map(directory: str) -> dict[str, list[str]]:
    """
    Return the job ids per map file, read as dcgm-exporter reads them.

    :raises OSError: the directory or a file in it cannot be read; the exporter would fail alike.
    """
    names = [entry.name for entry in os.scandir(directory) if _MAP_NAME.fullmatch(entry.name) and not entry.is_dir()]
    found = {}
    for name in sorted(names, key=lambda text: [int(part) for part in text.split(".")]):
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
            found[name] = stream.read().splitlines()
    return found


def look(directory: str) -> View:
    """
    Return the job map without ever waiting for it: links, FIFOs and directories are passed over, reading is bounded.

    :raises OSError: the directory cannot be read.
    """
    files: dict[str, Entry] = {}
    records: dict[str, Entry] = {}
    for name in sorted(os.listdir(directory)):
        record = _RECORD_NAME.fullmatch(name)
        if not record and not _MAP_NAME.fullmatch(name):
            continue
        if entry := _read(os.path.join(directory, name)):
            (records if record else files)[record[1] if record else name] = entry
    return View(files, records)


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
        return Entry(os.read(descriptor, _FILE_BYTES), found.st_mtime, state, ours)
    finally:
        os.close(descriptor)


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
    return Record(*(field.decode("utf-8", "replace") for field in fields[:4]))
