"""What systemd knows of slurmd's unit: for a slurmd that does not run yet, or not alone."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass, field

from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent.nvidia import Limit, Trouble

UNIT = "slurmd.service"
# Where slurmd lies when no unit says so; BCM installs its own build.
PLACES = ("/cm/local/apps/slurm/current/sbin/slurmd", "/usr/sbin/slurmd", "/usr/local/sbin/slurmd")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True)
class Unit:
    """What the unit starts: its program (``""``: there is no unit), command line and environment."""

    program: str = ""
    words: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


def main_process(limit: Limit) -> int:
    """Return the main process of the unit; 0 where it has none or nobody knows."""
    text = _show("MainPID", limit).get("MainPID", "")
    return int(text) if text.isdecimal() else 0


def read(limit: Limit) -> Unit:
    """Return what the unit would start, with its variables put in as systemd does."""
    shown = _show("ExecStart,Environment,EnvironmentFiles", limit)
    path = re.search(r"path=(\S+)", shown.get("ExecStart", ""))
    started = re.search(r"argv\[\]=(.*?) ;", shown.get("ExecStart", ""))
    if not path:
        return Unit()
    environment = _assignments(_words(shown.get("Environment", "")))
    for name in re.findall(r"(/\S+) \(", shown.get("EnvironmentFiles", "")):
        environment.update(_assignments(_lines(name)))
    line = _VARIABLE.sub(lambda match: environment.get(match[1] or match[2], ""), started[1] if started else "")
    return Unit(path[1], _words(line) or [path[1]], environment)


def _show(properties: str, limit: Limit) -> dict[str, str]:
    try:
        output = nvidia.run(["systemctl", "show", UNIT, f"--property={properties}"], limit)
    except Trouble:
        return {}
    return dict(line.partition("=")[::2] for line in output.splitlines())


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return [line.strip() for line in stream]
    except OSError:
        return []


def _assignments(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=")[::2] for word in words if not word.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs if name.strip()}
