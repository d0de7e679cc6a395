"""Slurm's commands, each run for a bounded time, and which jobs have a step on this machine."""

from __future__ import annotations

import functools
import glob
import os
import re
import shutil
from collections.abc import Callable

from superpod_dcgm.base import process
from superpod_dcgm.base.process import Answer

# Where Slurm's commands are when PATH does not have them; under BCM they are in none of the usual places.
_SEARCH = ("/cm/local/apps/slurm/current/bin", "/cm/shared/apps/slurm/current/bin", "/usr/local/bin")
# A squeue without a controller tries for 18 s. One that answers does so in some 10 ms.
_ANSWER_SECONDS = 1.5
# Columns of /proc/net/unix: address, references, protocol, flags (a bit says that somebody listens), …, path.
_STEP_SOCKET = re.compile(
    r"^\S+ \S+ \S+ ([0-9A-Fa-f]{8}) .*/[^/\s]+_([1-9][0-9]{0,9})\.[0-9]+(?:\.[0-9]+)?$", re.MULTILINE
)
_LISTENING = 0x10000
Runner = Callable[[list[str]], Answer]


def runner(processes: str = "/proc", seconds: float = _ANSWER_SECONDS) -> Runner:
    """
    Return a function that runs one of Slurm's commands (without its path) and returns its answer.

    :param seconds: how long an answer is waited for.

    The commands read the slurm.conf that slurmd reads: under BCM only an environment module would name it.
    Nothing else of the environment reaches them: SQUEUE_STATES and the like would change their answer.
    """
    environment = {"PATH": os.pathsep.join((os.environ.get("PATH", os.defpath), *_SEARCH)), "LC_ALL": "C"}
    if configuration := os.environ.get("SLURM_CONF") or _slurmd_configuration(processes):
        environment["SLURM_CONF"] = configuration
    return functools.partial(_run, environment=environment, seconds=seconds)


def _slurmd_configuration(processes: str) -> str:
    """Return the path that slurmd was given for its slurm.conf, or ``""``: it needed none, or does not run."""
    for path in glob.iglob(f"{processes}/[0-9]*/comm"):
        folder = os.path.dirname(path)
        # Anybody can call his process slurmd; whose it is, the kernel says.
        if _read(path) != b"slurmd\n" or not _is_roots(folder):
            continue
        words = _read(f"{folder}/cmdline").split(b"\0")
        named = words[words.index(b"-f") + 1 :][:1] if b"-f" in words else []
        pairs = (pair.partition(b"=") for pair in _read(f"{folder}/environ").split(b"\0"))
        named += [value for key, _, value in pairs if key == b"SLURM_CONF"]
        if named:
            return os.fsdecode(named[0])
    return ""


def _is_roots(path: str) -> bool:
    try:
        return os.stat(path).st_uid == 0
    except OSError:
        return False


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as stream:
            return stream.read()
    except OSError:
        return b""


def _run(arguments: list[str], environment: dict[str, str], seconds: float) -> Answer:
    program = shutil.which(arguments[0], path=environment["PATH"])
    if not program:
        return Answer(None, error=f"there is no {arguments[0]} on this node", missing=True)
    return process.run([program, *arguments[1:]], seconds, environment)


def jobs_with_steps(sockets: str = "/proc/net/unix") -> set[str]:
    """
    Return the ids of the jobs of which a step runs here: slurmstepd listens on ``…/<node>_<jobid>.<step>``.

    The kernel's own list does not have the sockets that a crash left in slurmd's spool directory, slurmstepd is not
    disturbed as by a connection, and nobody has to know where the spool directory is. A user could keep a stale id of
    his own alive by such a socket, which does no harm.
    """
    text = _read(sockets).decode("utf-8", "replace")
    return {job for flags, job in _STEP_SOCKET.findall(text) if int(flags, 16) & _LISTENING}
