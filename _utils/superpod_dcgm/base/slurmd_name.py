"""Which programs are Slurm's daemons of a node, by the name of the file that a process runs."""

from __future__ import annotations

import os
import re

# Packages and sites add a version or a word. slurmdbd and exporters are others.
_NAME = re.compile(r"(slurmd|slurmstepd)(?:[-._]?v?\d[\w.-]*|[-._](?:wlm|real|orig|bin))?", re.ASCII)
_DELETED = " (deleted)"


def is_slurmd(path: str) -> bool:
    """Return whether a file, as /proc/PID/exe names it, is called as slurmd is; replaced since or not."""
    return _daemon(path) == "slurmd"


def runs_scripts(path: str) -> bool:
    """Return whether a file is called as what starts prolog and epilog: with PrologFlags=RunInJob it is slurmstepd."""
    return bool(_daemon(path))


def _daemon(path: str) -> str:
    found = _NAME.fullmatch(os.path.basename(path.removesuffix(_DELETED)))
    return found[1] if found else ""
