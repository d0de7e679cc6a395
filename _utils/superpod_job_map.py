"""The job map, the links through which slurmd runs its writers, and whether Slurm's configuration fits them."""

import fnmatch
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from typing import Any

import superpod_files

# BCM's dispatcher -> the directory of what it runs.
DISPATCHERS = {
    "/cm/local/apps/cmd/scripts/prolog": "/cm/local/apps/slurm/var/prologs",
    "/cm/local/apps/cmd/scripts/epilog": "/cm/local/apps/slurm/var/epilogs",
}
# What dcgm-exporter takes for a map file.
_MAP_NAME = re.compile(r"\d+(\.\d+)?", re.ASCII)
_SETTING = re.compile(r"^(Prolog|Epilog|PrologFlags)(?:\[\d+\])?\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_CHECK_SECONDS = 10
_SCRIPT_MODE = 0o755
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


@dataclass(frozen=True)
class Link:
    """What there is in the place of a link: what it points to, and why it may not be touched (empty: it may)."""

    target: str | None
    obstacle: str


def read_settings(path: str) -> dict[str, str]:
    """
    Return the settings of prolog and epilog on this node.

    :raises OSError: there are none.
    """
    with open(path, encoding="utf-8") as stream:
        pairs = (line.rstrip("\n").partition("=") for line in stream if not line.startswith("#"))
        return {key: value for key, separator, value in pairs if separator}


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


def number(settings: dict[str, str], key: str, default: int) -> int:
    """Return a setting that is a whole number, or ``default`` where it is missing or something else."""
    text = settings.get(key, "")
    return int(text) if text.isdecimal() else default


def look(directory: str) -> View:
    """
    Return the job map without ever waiting for it: links, FIFOs and directories are passed over, reading is bounded.

    :raises OSError: the directory cannot be read.
    """
    files, records = {}, {}
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


def script_problem(path: str) -> str:
    """Return why slurmd must not be made to run ``path``, or ``""``: a script that fails drains the node."""
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        return f"{path} is not there ({exc.strerror})"
    if not stat.S_ISREG(mode):
        return f"{path} is no regular file"
    if mode & 0o555 != 0o555:
        return f"{path} is not readable and executable for everybody: mode {stat.S_IMODE(mode):04o}"
    return syntax_problem(path)


def syntax_problem(path: str) -> str:
    """Return why bash cannot run ``path``, or ``""``."""
    try:
        with open(path, "rb") as stream:
            first = stream.readline(128)
        answer = subprocess.run(
            ["bash", "-n", path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CHECK_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return f"{path} cannot be checked: {exc}"
    if not first.startswith(b"#!"):
        return f"{path} is no valid script: its first line names no interpreter"
    return f"{path} is no valid script: {answer.stderr.strip()}" if answer.returncode else ""


def script_changes(source: str, path: str) -> dict[str, Any]:
    """Return what ``write_script`` would change: ``sha256`` and ``mode``, each with old and new."""
    new = {"sha256": superpod_files.sha256(source), "mode": f"{_SCRIPT_MODE:04o}"}
    old = {"sha256": None, "mode": None}
    if os.path.isfile(path) and not os.path.islink(path):
        old = {"sha256": superpod_files.sha256(path), "mode": f"{stat.S_IMODE(os.stat(path).st_mode):04o}"}
    return {key: {"old": old[key], "new": value} for key, value in new.items() if old[key] != value}


def write_script(source: str, path: str) -> None:
    """
    Copy a script in one step, executable from its first moment.

    :raises OSError: it cannot be read or written; what was there stays.
    """
    with open(source, encoding="utf-8") as stream:
        superpod_files.write_atomic(path, stream.read(), _SCRIPT_MODE)


def inspect_link(link: str, target: str) -> Link:
    """
    Return what there is at ``link``.

    Ours is a symbolic link to a script of the same name as ``target``, wherever that lies: it may be moved and
    removed. Everything else belongs to somebody else.
    """
    directory = os.path.dirname(link)
    if not os.path.isdir(directory):
        return Link(None, f"{directory} is not there: Slurm is missing, or finds its scripts elsewhere")
    if not os.path.lexists(link):
        return Link(None, "")
    if not os.path.islink(link):
        return Link(None, f"{link} is not a link of ours; it is left as it is")
    found = os.readlink(link)
    if os.path.basename(found) != os.path.basename(target):
        return Link(found, f"{link} points to {found}, which is not ours; it is left as it is")
    return Link(found, "")


def wiring(configuration: str, prolog: str, epilog: str) -> dict[str, Any]:
    """
    Say whether Slurm's configuration makes slurmd run the links in time.

    :param configuration: what ``scontrol show config`` printed.
    :param prolog: path of the prolog's link.
    :param epilog: path of the epilog's link.
    :return: ``fits``, and ``report``: one sentence for the prolog, the epilog and the flags each.
    """
    values: dict[str, list[str]] = {"Prolog": [], "Epilog": [], "PrologFlags": []}
    for name, value in _SETTING.findall(configuration):
        values[name] += [] if value == "(null)" else [value]
    fits, report = True, []
    for name, link in (("Prolog", prolog), ("Epilog", epilog)):
        runs = any(_runs(value, link) for value in values[name])
        configured = ", ".join(values[name]) or "not set"
        report.append(f"{name} in slurm.conf is {configured}, which {'runs' if runs else 'does not run'} {link}.")
        fits = fits and runs
    flags = ",".join(values["PrologFlags"])
    if {"alloc", "contain"} & set(re.split(r"[,\s]+", flags.lower())):
        report.append(f"PrologFlags in slurm.conf is {flags}: every allocation runs the prolog when it starts.")
        return {"fits": fits, "report": report}
    report.append("PrologFlags in slurm.conf lacks Alloc and Contain: an allocation without steps is never mapped.")
    return {"fits": False, "report": report}


def _runs(value: str, link: str) -> bool:
    if value in DISPATCHERS:
        return os.path.dirname(link) == DISPATCHERS[value]
    # slurmd runs what the glob matches; `*` in it does not cross directories.
    return os.path.dirname(value) == os.path.dirname(link) and fnmatch.fnmatchcase(link, value)
