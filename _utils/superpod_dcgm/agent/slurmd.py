"""The order in which this node's slurmd counts its GPUs, and which device files belong to each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from superpod_dcgm.agent import nvidia, slurmd_process
from superpod_dcgm.agent.nvidia import Limit, Trouble
from superpod_dcgm.agent.slurmd_process import Slurmd

_MOST = 1024
_GRES = re.compile(r"Gres Name=gpu\s(?:.*?\s)?Count=(\d+)\s(?:.*?\s)?File=(\S+)", re.ASCII)
_SHARING = re.compile(r"Gres Name=(shard|mps)\s(?:.*?\s)?Count=[1-9]", re.ASCII)
_BRACKETS = re.compile(r"([^\[\]]*)\[([\d,-]+)\]([^\[\]]*)", re.ASCII)
_GPU = re.compile(r"/dev/nvidia(\d+)", re.ASCII)
_CAPABILITY = re.compile(r"/dev/nvidia-caps/nvidia-cap(\d+)", re.ASCII)


@dataclass(frozen=True)
class Listing:
    """What ``slurmd -G`` lists: device files per position, and the kinds of gres by which jobs share a GPU."""

    devices: list[list[str]]
    sharing: tuple[str, ...] = ()


def ask(slurmd: Slurmd, limit: Limit) -> Listing:
    """
    Ask a slurmd for its GPUs: the program that runs, about the configuration that it reads.

    Nothing is started that is not slurmd, nothing is fetched or written, and the one that runs is not disturbed.

    :raises Trouble: it is another program, fails, does not answer, or names no GPU.
    """
    slurmd_process.prove(slurmd)
    file = slurmd_process.configuration(slurmd)
    if slurmd.options.server and not file:
        raise Trouble("slurmd takes its configuration from the controller, and its copy is in none of the known places")
    # By its first word Slurm's library knows which of its programs it is in.
    words = [slurmd.words[0], "-G", *slurmd.options.words(file)]
    answer = nvidia.ask(words, limit, slurmd.environment, slurmd.program)
    if answer.code != 0:
        raise Trouble(nvidia.said(words, answer))
    text = answer.output + answer.error
    found = parse(text)
    if not found:
        raise Trouble("slurmd -G names no GPU")
    return Listing(found, tuple(sorted(set(_SHARING.findall(text)))))


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
    :param capabilities: what ``nvidia.capabilities`` found.
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
