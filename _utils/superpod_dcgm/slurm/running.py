"""Whether a prolog or epilog runs on this node at this moment: nothing is taken from under it."""

from __future__ import annotations

import glob
import os
import time

# slurmd says in the environment of its scripts, and so of all that they start, what they are.
_CONTEXTS = (b"SLURM_SCRIPT_CONTEXT=prolog_slurmd", b"SLURM_SCRIPT_CONTEXT=epilog_slurmd")
# How long a prolog or epilog that runs is waited for before something is taken from it.
QUIET_SECONDS = 30.0
_PAUSE = 0.05


def scripts(processes: str = "/proc") -> list[int]:
    """Return the process ids of what runs as, or for, a prolog or epilog of slurmd."""
    found = []
    for path in glob.iglob(f"{processes}/[0-9]*/environ"):
        try:
            # A user can write what he likes into the environment of his own processes.
            if os.stat(os.path.dirname(path)).st_uid != 0:
                continue
            with open(path, "rb") as stream:
                words = stream.read().split(b"\0")
        except OSError:
            continue
        if any(context in words for context in _CONTEXTS):
            found.append(int(path.split("/")[-2]))
    return sorted(found)


def wait_for_none(seconds: float, processes: str = "/proc") -> list[int]:
    """Wait until no prolog or epilog runs, and return the process ids of those that still do after ``seconds``."""
    deadline = time.monotonic() + seconds
    while left := scripts(processes):
        if time.monotonic() > deadline:
            return left
        time.sleep(_PAUSE)
    return []
