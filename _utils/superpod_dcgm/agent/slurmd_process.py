"""Which slurmd runs on this node, and which configuration it reads: told by the kernel, not by a unit's name."""

from __future__ import annotations

import functools
import hashlib
import os
import re
import stat
import time
from dataclasses import dataclass, field

from superpod_dcgm.agent import nvidia, slurmd_unit
from superpod_dcgm.agent.nvidia import Limit, Trouble
from superpod_dcgm.agent.slurmd_options import Options, parse
from superpod_dcgm.base import files, slurmd_name

PROC = "/proc"
_DELETED = " (deleted)"
# Only slurmd itself has both: how it starts slurmstepd, and that it can print its GRES configuration.
_PROOF = (b"slurmstepd", b"GRES configuration")
_ELF = b"\x7fELF"
_MOST_BYTES = 1 << 28
# What systemd, or a slurmd that starts its successor, tells this one process: another one would act on it.
_PRIVATE = re.compile(
    r"NOTIFY_SOCKET|LISTEN_\w+|WATCHDOG_\w+|SYSTEMD_\w+|MAINPID|MANAGERPID\w*|INVOCATION_ID|JOURNAL_STREAM|FDSTORE|PIDFILE"
    r"|CREDENTIALS_DIRECTORY|(RUNTIME|STATE|CACHE|LOGS|CONFIGURATION)_DIRECTORY|MEMORY_PRESSURE_\w+|SLURMD_RECONF\w*"
)
_DEFAULTS = ("/etc/slurm/slurm.conf", "/usr/local/etc/slurm.conf", "/etc/slurm-llnl/slurm.conf")
# Where a slurmd that fetches its configuration from the controller keeps it: Slurm's link, and usual spool directories.
_CACHES = (
    "/run/slurm/conf/slurm.conf",
    "/var/spool/slurmd/conf-cache/slurm.conf",
    "/var/spool/slurm/conf-cache/slurm.conf",
    "/var/spool/slurm/d/conf-cache/slurm.conf",
    "/cm/local/apps/slurm/var/spool/conf-cache/slurm.conf",
)
_CACHE = "conf-cache/slurm.conf"
_INCLUDE = re.compile(r"^\s*include\s+(\S+)", re.IGNORECASE)
_MOST_FILES = 64


class NoSlurmd(Trouble):
    """There is no slurmd on this node that could be asked, or it knows none of its GPUs."""


@dataclass(frozen=True)
class Slurmd:
    """
    A slurmd: the one that runs, or what would be started.

    ``process`` is another one after each start, and ``""`` where none runs. ``program`` is what can be executed,
    ``place`` where its file lies. ``doubt`` says why its answer would be no more than a guess.
    """

    process: str
    program: str
    place: str
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    doubt: str = ""

    @property
    def options(self) -> Options:
        """What its command line says of its configuration."""
        return parse(self.words[1:])


def running(limit: Limit, processes: str | None = None) -> Slurmd | None:
    """
    Return the slurmd that runs on this node, or None.

    :raises Trouble: it runs where its files are not this machine's, or systemd does not answer.
    """
    processes = processes or PROC
    parents = {pid: parent for pid, parent in _found(processes)}
    # A child that has not become slurmstepd or a script yet is called slurmd as well.
    daemons = sorted(pid for pid, parent in parents.items() if parent not in parents)
    if not daemons:
        return None
    # Those of containers are not this machine's, where it has one itself.
    daemons = [pid for pid in daemons if _has_our_root(f"{processes}/{pid}")] or daemons
    doubt = ""
    if len(daemons) > 1:
        main = slurmd_unit.main_process(limit)
        of_unit = [pid for pid in daemons if main and main in (pid, parents[pid])]
        daemons = of_unit or daemons
        if len(daemons) > 1:
            doubt = f"{len(daemons)} slurmd run on this node, and only process {daemons[0]} of them was asked"
    return _of_process(processes, daemons[0], doubt)


def _found(processes: str) -> list[tuple[int, int]]:
    """Process and parent of whatever runs as root and is called slurmd, by its file."""
    found = []
    for name in os.listdir(processes):
        if not name.isdecimal():
            continue
        folder = f"{processes}/{name}"
        try:
            # Anybody can call his program slurmd; whose process it is, the kernel says.
            if not slurmd_name.is_slurmd(os.readlink(f"{folder}/exe")) or not _is_roots(folder):
                continue
            found.append((int(name), int(_stat(folder)[1])))
        except (OSError, IndexError, ValueError):
            # It has ended, or is a thread of the kernel.
            continue
    return found


def _is_roots(folder: str) -> bool:
    return os.stat(folder).st_uid == 0


def _has_our_root(folder: str) -> bool:
    try:
        return os.path.samefile(f"{folder}/root", "/")
    except OSError:
        return False


def _stat(folder: str) -> list[str]:
    """Fields of /proc/PID/stat from the state on: the name before may have blanks and brackets."""
    return files.told(f"{folder}/stat").rpartition(b")")[2].decode("ascii", "replace").split()


def _of_process(processes: str, pid: int, doubt: str) -> Slurmd | None:
    folder = f"{processes}/{pid}"
    try:
        place = os.readlink(f"{folder}/exe").removesuffix(_DELETED)
        start = _stat(folder)[19]
        ours = os.path.samefile(f"{folder}/root", "/")
    except (OSError, IndexError):
        return None
    if not ours:
        raise Trouble(
            f"slurmd (process {pid}) runs with a root directory of its own, as in a container: it is not asked"
        )
    words = [os.fsdecode(word) for word in files.told(f"{folder}/cmdline").split(b"\0")[:-1]]
    pairs = [os.fsdecode(pair).partition("=") for pair in files.told(f"{folder}/environ").split(b"\0")]
    environment = {name: value for name, sign, value in pairs if sign and not _PRIVATE.fullmatch(name)}
    return Slurmd(f"{pid}:{start}", f"{folder}/exe", place, words or ["slurmd"], environment, doubt)


def prove(slurmd: Slurmd) -> None:
    """
    Make sure that a program is Slurm's slurmd, before it is run as root.

    :raises Trouble: it is another program, a script, or, if root does not run it yet, others may change it.
    """
    path = slurmd.place
    try:
        with open(slurmd.program, "rb") as stream:
            if not slurmd.process and not _is_roots_alone(os.fstat(stream.fileno())):
                raise Trouble(f"{path} may be changed by others than root: it is not run")
            data = stream.read(_MOST_BYTES)
    except OSError as exc:
        raise Trouble(f"{path} cannot be read: {exc.strerror}") from exc
    if not data.startswith(_ELF) or not all(word in data for word in _PROOF):
        raise Trouble(f"{path} is not Slurm's slurmd: it is not run")


def _is_roots_alone(found: os.stat_result) -> bool:
    return found.st_uid == 0 and not stat.S_IMODE(found.st_mode) & 0o022


def to_be_started(limit: Limit) -> Slurmd:
    """
    Return the slurmd that would be started on this node, where it is certain which program that is.

    :raises NoSlurmd: there is none.
    :raises Trouble: what its unit starts is not slurmd itself, or it takes its configuration from the controller.
    """
    unit = slurmd_unit.read(limit)
    if unit.program:
        if not slurmd_name.is_slurmd(os.path.realpath(unit.program)):
            raise Trouble(
                f"slurmd does not run, and {slurmd_unit.UNIT} starts {unit.program}, which is not slurmd: it is not run"
            )
        found = Slurmd("", unit.program, os.path.realpath(unit.program), unit.words, unit.environment)
    else:
        program = next((place for place in slurmd_unit.PLACES if os.path.isfile(place)), "")
        if not program:
            raise NoSlurmd("this node has no slurmd")
        doubt = f"slurmd does not run, and there is no {slurmd_unit.UNIT} that says how it would"
        found = Slurmd("", program, os.path.realpath(program), [program], {}, doubt)
    if not configuration(found):
        why = "takes its configuration from the controller" if found.options.server else "no slurm.conf is found for it"
        raise Trouble(f"slurmd does not run, and {why}: it is asked when it runs")
    return found


def configuration(slurmd: Slurmd) -> str:
    """
    Return the slurm.conf that a slurmd reads; ``""`` where that is not known.

    Of one that takes its configuration from the controller it is the copy that it keeps: asked otherwise, slurmd -G
    would fetch and replace it. Before it runs there is none to be trusted.
    """
    options, variable = slurmd.options, slurmd.environment.get("SLURM_CONF", "")
    if not options.server:
        prefix = os.path.dirname(os.path.dirname(slurmd.place))
        own = (f"{prefix}/etc/slurm.conf", f"{prefix}/etc/slurm/slurm.conf")
        given = options.file or variable
        if given or (given := next((path for path in (*_DEFAULTS, *own) if os.path.exists(path)), "")):
            return given
    if not slurmd.process:
        return ""
    caches = [variable] if variable.endswith(_CACHE) else []
    return next((path for path in (*caches, *_CACHES) if os.path.exists(path)), "")


def is_fetched(slurmd: Slurmd) -> bool:
    """Return whether slurmd itself writes its configuration, a copy of the controller's."""
    return os.path.realpath(configuration(slurmd)).endswith(_CACHE)


def contents(path: str, limit: Limit) -> dict[str, list[str]]:
    """
    Return the lines of a slurm.conf, of its gres.conf and of what they include, by path.

    They may lie on storage that hangs: a program of its own can be abandoned, this process could not.

    :raises Trouble: they cannot be read in time.
    """
    folder = os.path.dirname(path)
    found: dict[str, list[str]] = {}
    wanted = [path, f"{folder}/gres.conf"]
    while wanted and len(found) < _MOST_FILES:
        output = nvidia.run(["grep", "-sH", "--null", "", *wanted], limit, codes=(0, 1, 2))
        lines = nvidia.lines_of(output)
        found.update({place: lines.get(place, []) for place in wanted})
        every = [line for place in wanted for line in found[place]]
        included = [match[1] for line in every if (match := _INCLUDE.match(line))]
        wanted = list(dict.fromkeys(place for name in included if (place := os.path.join(folder, name)) not in found))
    return found


def digest(slurmd: Slurmd, limit: Limit) -> str:
    """
    Return what changes when the configuration of a slurmd does; ``""`` where its place is not known.

    :raises Trouble: it cannot be read in time.
    """
    path = configuration(slurmd)
    if not path:
        return ""
    return hashlib.sha256(repr(sorted(contents(path, limit).items())).encode()).hexdigest()[:32]


def changed_since_start(slurmd: Slurmd, limit: Limit) -> str:
    """
    Return a file of the configuration that was changed after a slurmd started, or ``""``.

    The copy of one that fetches its configuration is written by slurmd itself.
    """
    if not slurmd.process or is_fetched(slurmd) or not (path := configuration(slurmd)):
        return ""
    ticks = int(slurmd.process.partition(":")[2]) / os.sysconf("SC_CLK_TCK")
    started = time.time() - (time.clock_gettime(time.CLOCK_BOOTTIME) - ticks)
    times = {place: _modified(place) for place in contents(path, limit)}
    # Shared storage has a clock of its own.
    return next((place for place, moment in times.items() if moment > started + 10), "")


def _modified(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


@functools.lru_cache(maxsize=1)
def _version(program: str, process: str) -> tuple[int, int]:
    answer = nvidia.ask(["slurmd", "-V"], Limit("slurmd", 5), program=program)
    found = re.search(r"(\d+)\.(\d+)", answer.output)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def reads_again_in_place(slurmd: Slurmd) -> bool:
    """Return whether `scontrol reconfigure` makes this slurmd read its files without another process: before 23.11."""
    try:
        return (0, 0) < _version(slurmd.program, slurmd.process) < (23, 11)
    except Trouble:
        return False
