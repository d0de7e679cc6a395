"""What a node's NVIDIA driver says in /proc, and how its programs are asked: each for a bounded time."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from dataclasses import dataclass

from superpod_dcgm.base import job_map_conf, process

PROC = "/proc/driver/nvidia"
SEARCH_PATH = "/usr/bin:/usr/local/bin:/bin:/sbin:/usr/sbin"
# What says which GPUs there are. The rest changes with interrupts and power states; UUIDs are masked while nobody uses
# a GPU, and another board in the same place means another boot.
_TELLING = ("Bus Location", "Device Minor", "GPU Excluded")
_UUID = re.compile(r"GPU-[0-9A-Za-z-]+", re.ASCII)
_BUS = re.compile(r"[0-9A-Fa-f]{4,8}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}(?:\.[0-9A-Fa-f])?", re.ASCII)
_ACCESS = re.compile(r"capabilities/gpu(\d+)/mig/gi(\d+)/(?:ci\d+/)?access", re.ASCII)
_CAPABILITY = re.compile(r"DeviceFileMinor:\s*(\d+)", re.ASCII)
# Seconds per question where job-map.conf has none (the defaults of the pillar's limits).
SECONDS = {"nvidia_smi": 20, "slurmd": 10}
_HINTS = {"nvidia_smi": "; where no driver stays loaded, persistence mode helps"}


class Trouble(Exception):
    """Why something cannot be found out about this node's GPUs."""


@dataclass(frozen=True)
class Limit:
    """How long one question is waited for; ``key`` names it below ``limits`` of the pillar."""

    key: str
    seconds: float

    @property
    def passed(self) -> str:
        """What is said when it is over."""
        return f"did not answer within {self.seconds:g} s (dcgm:limits:{self.key}){_HINTS.get(self.key, '')}"


def limit(conf: dict[str, str], key: str) -> Limit:
    """Return how long ``nvidia_smi`` or ``slurmd`` is waited for, as job-map.conf says."""
    return Limit(key, job_map_conf.number(conf, f"limit_{key}", SECONDS[key]))


def ask(
    words: list[str], limit: Limit, environment: dict[str, str] | None = None, program: str | None = None
) -> process.Answer:
    """
    Return what a program answered, whatever its exit code.

    :param environment: what it gets besides the search path.
    :param program: the file that is run, where it is not the first word, looked for in the search path.
    :raises Trouble: it is not there, cannot be run, or took too long; nobody waits for its end.
    """
    program = program or shutil.which(words[0], path=SEARCH_PATH)
    if program is None:
        raise Trouble(f"{words[0]} is not installed")
    clean = {"PATH": SEARCH_PATH, **(environment or {}), "LC_ALL": "C"}
    answer = process.run(words, limit.seconds, clean, program=program)
    if answer.code is None:
        raise Trouble(f"{_title(words)} {limit.passed if answer.late else answer.error}")
    return answer


def _title(words: list[str]) -> str:
    return " ".join([os.path.basename(words[0]), *words[1:2]]).partition("=")[0]


def said(words: list[str], answer: process.Answer) -> str:
    """Return the sentence for a program that failed: its exit code and the reason that it gives."""
    told = process.Answer(answer.code, error=answer.error if answer.error.strip() else answer.output)
    reason = told.problem if told.error.strip() else "nothing said"
    return f"{_title(words)} failed with exit code {answer.code}: {reason.strip()[:200]}"


def run(
    words: list[str], limit: Limit, environment: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> str:
    """
    Return what a program printed on standard output.

    :param codes: exit codes that are no failure.
    :raises Trouble: it is not there, failed, or took too long.
    """
    answer = ask(words, limit, environment)
    if answer.code not in codes:
        raise Trouble(said(words, answer))
    return answer.output


def tree(limit: Limit) -> dict[str, list[str]]:
    """
    Return the lines of the driver's files in /proc by path below ``PROC``; none without a driver.

    A driver that hangs may hang its readers: a program of its own can be abandoned, this process could not.

    :raises Trouble: the driver does not answer.
    """
    wanted = [f"--include={name}" for name in ("version", "information", "access")]
    places = [f"{PROC}/{name}" for name in ("version", "gpus", "capabilities")]
    # Exit code 2 tells of a part that is not there: without MIG there are no capabilities.
    found = lines_of(run(["grep", "-rsH", "--null", *wanted, "", *places], limit, codes=(0, 1, 2)))
    return {os.path.relpath(path, PROC): lines for path, lines in found.items()}


def lines_of(output: str) -> dict[str, list[str]]:
    """Return the lines per file of what ``grep -H --null`` printed."""
    found: dict[str, list[str]] = {}
    for line in output.split("\n"):
        path, separator, text = line.partition("\0")
        if separator:
            found.setdefault(path, []).append(text)
    return found


def fingerprint(files: dict[str, list[str]]) -> str:
    """Return what changes when driver, GPUs or MIG layout do, of what ``tree`` found."""
    digest = hashlib.sha256()
    for path, lines in sorted(files.items()):
        digest.update(f"{path}\n".encode())
        if path == "version":
            digest.update("\n".join(lines).encode())
        elif path.startswith("gpus/"):
            told = [f"{name}={value}\n" for name, value in rows(lines).items() if name in _TELLING]
            digest.update("".join(told).encode())
    return digest.hexdigest()[:32]


def rows(lines: list[str]) -> dict[str, str]:
    """Return lines ``name: value`` by name."""
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def is_uuid(text: str) -> bool:
    """Return whether a text is the UUID of a GPU; one that the driver masks (GPU-????????-…) is not."""
    return bool(_UUID.fullmatch(text))


def bus_in(text: str) -> str:
    """Return the first PCI bus id in a text as ``bus`` writes it, or ``""``."""
    found = _BUS.search(text)
    return bus(found[0]) if found else ""


def bus(text: str) -> str:
    """Return a PCI bus id as NVML writes it: the kernel says 0000:1b:00.0 for 00000000:1B:00.0."""
    domain, _, rest = text.upper().partition(":")
    return f"{domain.zfill(8)}:{rest}{'' if '.' in rest else '.0'}"


@dataclass(frozen=True)
class Known:
    """A GPU that the driver has in /proc: bus id as NVML writes it, minor number and UUID as far as they are told."""

    bus: str
    minor: int | None
    uuid: str


def known(files: dict[str, list[str]]) -> list[Known]:
    """Return the GPUs of what ``tree`` found in the order of their buses, which is NVML's; without excluded ones."""
    found = []
    for path, lines in files.items():
        told = rows(lines) if path.startswith("gpus/") else {}
        if not told or told.get("GPU Excluded", "No").lower() == "yes":
            continue
        place = bus_in(told.get("Bus Location", "") or path)
        minor, uuid = told.get("Device Minor", ""), told.get("GPU UUID", "")
        if place:
            found.append(Known(place, int(minor) if minor.isdecimal() else None, uuid if is_uuid(uuid) else ""))
    return sorted(found, key=lambda one: one.bus)


def capabilities(files: dict[str, list[str]]) -> dict[int, tuple[int, int]]:
    """Return minor number of the GPU and id of the GPU instance per minor number of a file in /dev/nvidia-caps."""
    found = {}
    for path, lines in files.items():
        place, number = _ACCESS.fullmatch(path), _CAPABILITY.search("\n".join(lines))
        if place and number:
            found[int(number[1])] = (int(place[1]), int(place[2]))
    return found
