"""Whether a prolog or epilog runs on this node at this moment: nothing is taken from under it."""

from __future__ import annotations

import glob
import os
import time

from superpod_dcgm.base import slurmd_name

# slurmd says in the environment of its scripts, and so of all that they start, what they are.
_CONTEXTS = (b"SLURM_SCRIPT_CONTEXT=prolog_slurmd", b"SLURM_SCRIPT_CONTEXT=epilog_slurmd")
# How long a prolog or epilog that runs is waited for before something is taken from it.
QUIET_SECONDS = 30.0
_PAUSE = 0.05


def scripts(processes: str = "/proc") -> list[int]:
    """
    Return the process ids of what runs as, or for, a prolog or epilog of slurmd.

    A daemon that a prolog once started has its environment for good, but another parent.
    """
    found = []
    for path in glob.iglob(f"{processes}/[0-9]*/environ"):
        try:
            # A user can write what he likes into the environment of his own processes.
            if os.stat(os.path.dirname(path)).st_uid != 0 or not is_here(os.path.dirname(path), processes):
                continue
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        number = int(path.split("/")[-2])
        if any(context in words for context in _CONTEXTS) and _is_slurmds(number, processes):
            found.append(number)
    return sorted(found)


def is_here(folder: str, processes: str = "/proc") -> bool:
    """
    Return whether a process is one of this machine's own, and not of a container that has its own process ids.

    :raises OSError: it is gone.
    """
    return os.path.samefile(f"{folder}/ns/pid", f"{processes}/self/ns/pid")


def _is_slurmds(number: int, processes: str) -> bool:
    """Whether slurmd is among the parents of a process."""
    while (number := _parent(number, processes)) > 1:
        try:
            if slurmd_name.runs_scripts(os.readlink(f"{processes}/{number}/exe")):
                return True
        except OSError:
            return False
    return False


def _parent(number: int, processes: str) -> int:
    """Return 0 for a process that is gone. The name in brackets may have brackets and blanks of its own."""
    try:
        with open(f"{processes}/{number}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0


def wait_for_none(seconds: float, processes: str = "/proc") -> list[int]:
    """Wait until no prolog or epilog runs, and return the process ids of those that still do after ``seconds``."""
    deadline = time.monotonic() + seconds
    while left := scripts(processes):
        if time.monotonic() > deadline:
            return left
        time.sleep(_PAUSE)
    return []
