"""The order in which this node's slurmd counts its GPUs, and which device files belong to each."""

from __future__ import annotations

import re
import shlex
import shutil
import time

from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent.nvidia import Trouble

# BCM installs its own build of Slurm here.
_BCM_SLURMD = "/cm/local/apps/slurm/current/sbin/slurmd"
_UNIT = "slurmd.service"
_SECONDS = 5.0
_MOST = 1024
_GRES = re.compile(r"Gres Name=gpu\s(?:.*?\s)?Count=(\d+)\s(?:.*?\s)?File=(\S+)", re.ASCII)
_BRACKETS = re.compile(r"([^\[\]]*)\[([\d,-]+)\]([^\[\]]*)", re.ASCII)
_GPU = re.compile(r"/dev/nvidia(\d+)", re.ASCII)
_CAPABILITY = re.compile(r"/dev/nvidia-caps/nvidia-cap(\d+)", re.ASCII)
# Of a unit's own options, those that say which configuration is meant.
_OPTION = re.compile(r"(?<!\S)(-f|-N|--conf-server)[= ]?(\S+)")


class NoSlurmd(Trouble):
    """There is no slurmd on this node that could be asked, or it knows none of its GPUs."""


def order(deadline: float) -> list[list[str]]:
    """
    Return the device files per position in this node's list of GPUs.

    :param deadline: moment of ``time.monotonic`` after which nobody waits any longer.
    :raises NoSlurmd: this node has no slurmd.
    :raises Trouble: slurmd fails, does not answer, or names no GPUs.
    """
    deadline = min(deadline, time.monotonic() + _SECONDS)
    program, options, environment = _command(deadline)
    output, errors = nvidia.run([program, "-G", *options], deadline, environment)
    found = parse(output + errors)
    if not found:
        raise Trouble("slurmd -G names no GPU")
    return found


def _command(deadline: float) -> tuple[str, list[str], dict[str, str]]:
    """Program, options and environment that make slurmd read the configuration which its unit reads."""
    shown = _unit(deadline)
    path = re.search(r"path=(\S+)", shown.get("ExecStart", ""))
    places = [path[1] if path else "", "slurmd", _BCM_SLURMD]
    program = next((place for place in places if place and shutil.which(place, path=nvidia.SEARCH_PATH)), "")
    if not program:
        raise NoSlurmd("this node has no slurmd")
    environment = _assignments(shlex.split(shown.get("Environment", "")))
    for name in re.findall(r"(/\S+) \(", shown.get("EnvironmentFiles", "")):
        environment.update(_assignments(_lines(name)))
    started = re.search(r"argv\[\]=(.*?) ;", shown.get("ExecStart", ""))
    written = f"{started[1] if started else ''} {environment.get('SLURMD_OPTIONS', '')}"
    options = [word for option in _OPTION.findall(written) for word in option]
    return program, options, {key: value for key, value in environment.items() if key.startswith("SLURM_")}


def _unit(deadline: float) -> dict[str, str]:
    """What systemd knows of slurmd's unit; nothing where it cannot be asked."""
    words = ["systemctl", "show", _UNIT, "--property=ExecStart,Environment,EnvironmentFiles"]
    try:
        output, _ = nvidia.run(words, deadline)
    except Trouble:
        return {}
    return dict(line.partition("=")[::2] for line in output.splitlines())


def _lines(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return [line.strip() for line in stream]
    except OSError:
        return []


def _assignments(words: list[str]) -> dict[str, str]:
    pairs = (word.partition("=")[::2] for word in words if not word.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, value in pairs}


def parse(text: str) -> list[list[str]]:
    """Return the device files per position of what ``slurmd -G`` printed; none where they cannot be told apart."""
    found: list[list[str]] = []
    for line in text.splitlines():
        if match := _GRES.search(line):
            found += _positions(min(int(match[1]), _MOST), _files(match[2]))
    return found


def _positions(count: int, files: list[str]) -> list[list[str]]:
    """A line is one GPU with all its files (of a MIG device there are three), or several with one file each."""
    if count == 1:
        return [files]
    return [[name] for name in files] if len(files) == count else [[] for _ in range(count)]


def _files(text: str) -> list[str]:
    """Return the names that a list with bracketed ranges, such as /dev/nvidia[0-3,5], stands for."""
    names: list[str] = []
    for part in re.split(r",(?![^\[]*\])", text):
        match = _BRACKETS.fullmatch(part)
        numbers = _numbers(match[2]) if match else []
        names += [f"{match[1]}{number}{match[3]}" for number in numbers] if match else [part]
    return names


def _numbers(text: str) -> list[str]:
    found: list[str] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if first.isdecimal() and (last or first).isdecimal():
            end = min(int(last or first), int(first) + _MOST)
            found += [str(number).zfill(len(first)) for number in range(int(first), end + 1)]
    return found


def name(
    files: list[str], gpus: dict[int, int], capabilities: dict[int, tuple[int, int]], known: set[str]
) -> str | None:
    """
    Return the name in the job map of what has these device files, or ``None``.

    :param gpus: DCGM id by minor number.
    :param capabilities: what ``superpod_nvidia.capabilities`` found.
    :param known: the names there are.
    """
    minors = [int(match[1]) for match in map(_GPU.fullmatch, files) if match]
    numbers = [int(match[1]) for match in map(_CAPABILITY.fullmatch, files) if match]
    places = [capabilities[number] for number in numbers if number in capabilities]
    if numbers:
        pairs = {(minor, instance) for owner, instance in places for minor in (minors or [owner])}
        names = {f"{gpus[minor]}.{instance}" for minor, instance in pairs if minor in gpus}
    else:
        names = {str(gpus[minor]) for minor in minors if minor in gpus}
    return names.pop() if len(names) == 1 and names <= known else None
