"""What a node's NVIDIA driver says of its GPUs, read in bounded time: nvidia-smi and /proc/driver/nvidia."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass

from superpod_dcgm.base import process

PROC = "/proc/driver/nvidia"
SEARCH_PATH = "/usr/bin:/usr/local/bin:/bin:/sbin:/usr/sbin"
# What says which GPUs there are. The rest changes with interrupts and power states; UUIDs are masked while nobody uses
# a GPU, and another board in the same place means another boot.
_TELLING = ("Bus Location", "Device Minor", "GPU Excluded")
_QUERY = re.compile(r"(0|[1-9]\d{0,2}), (GPU-[0-9A-Za-z-]+), ([0-9A-Fa-f]+:[0-9A-Fa-f:.]+), (.*)", re.ASCII)
_GPU_LINE = re.compile(r"GPU (\d+): .*\(UUID: (\S+)\)", re.ASCII)
_MIG_LINE = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+):\s+\(UUID: (\S+)\)", re.ASCII)
_ACCESS = re.compile(r"capabilities/gpu(\d+)/mig/gi(\d+)/(?:ci\d+/)?access", re.ASCII)
_CAPABILITY = re.compile(r"DeviceFileMinor:\s*(\d+)", re.ASCII)


class Trouble(Exception):
    """Why something cannot be found out about this node's GPUs."""


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML and DCGM count it."""

    index: int
    uuid: str
    minor: int | None
    bus: str
    divided: bool


@dataclass(frozen=True)
class Device:
    """A MIG device: one compute instance of one GPU instance."""

    gpu: int
    instance: int
    uuid: str
    profile: str

    @property
    def name(self) -> str:
        """Return the name of its file in the job map, which it shares with the others of its GPU instance."""
        return f"{self.gpu}.{self.instance}"


def run(
    words: list[str], deadline: float, environment: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)
) -> tuple[str, str]:
    """
    Return what a program printed on standard output and standard error.

    :param deadline: moment of ``time.monotonic`` after which nobody waits any longer, not even for its end.
    :param environment: what it gets besides the search path.
    :param codes: exit codes that are no failure.
    :raises Trouble: it is not there, failed, or took too long.
    """
    program = shutil.which(words[0], path=SEARCH_PATH)
    if program is None:
        raise Trouble(f"{words[0]} is not installed")
    clean = {"PATH": SEARCH_PATH, "LC_ALL": "C", **(environment or {})}
    title = " ".join(words[:2]).partition("=")[0]
    answer = process.run([program, *words[1:]], max(0.05, deadline - time.monotonic()), clean)
    if answer.code is None:
        raise Trouble(f"{title} {answer.error}")
    if answer.code not in codes:
        said = (answer.output + answer.error).strip().splitlines() or ["nothing said"]
        raise Trouble(f"{title} failed with exit code {answer.code}: {said[-1].strip()[:200]}")
    return answer.output, answer.error


def tree(deadline: float) -> dict[str, list[str]]:
    """
    Return the lines of the driver's files in /proc by path below ``PROC``; none without a driver.

    A driver that hangs may hang its readers: a program of its own can be abandoned, this process could not.

    :raises Trouble: the driver does not answer.
    """
    wanted = [f"--include={name}" for name in ("version", "information", "access")]
    places = [f"{PROC}/{name}" for name in ("version", "gpus", "capabilities")]
    # Exit code 2 tells of a part that is not there: without MIG there are no capabilities.
    output, _ = run(["grep", "-rsH", "--null", *wanted, "", *places], deadline, codes=(0, 1, 2))
    found: dict[str, list[str]] = {}
    for line in output.splitlines():
        path, separator, text = line.partition("\0")
        if separator:
            found.setdefault(os.path.relpath(path, PROC), []).append(text)
    return found


def fingerprint(files: dict[str, list[str]]) -> str:
    """Return what changes when driver, GPUs or MIG layout do, of what ``tree`` found."""
    digest = hashlib.sha256()
    for path, lines in sorted(files.items()):
        digest.update(f"{path}\n".encode())
        if path == "version":
            digest.update("\n".join(lines).encode())
        elif path.startswith("gpus/"):
            told = [f"{name}={value}\n" for name, value in _rows(lines).items() if name in _TELLING]
            digest.update("".join(told).encode())
    return digest.hexdigest()[:32]


def _rows(lines: list[str]) -> dict[str, str]:
    pairs = (line.partition(":") for line in lines)
    return {name.strip(): value.strip() for name, _, value in pairs}


def _bus(text: str) -> tuple[int, str]:
    """The kernel writes 0000:1b:00.0 for what NVML calls 00000000:1B:00.0."""
    domain, _, rest = text.lower().partition(":")
    return int(domain, 16), rest


def gpus(files: dict[str, list[str]], deadline: float) -> list[Gpu]:
    """
    Return the GPUs that NVML knows, in its order, with the minor numbers that ``tree`` found.

    :raises Trouble: nvidia-smi fails, does not answer, or says what is not understood.
    """
    words = ["nvidia-smi", "--query-gpu=index,uuid,pci.bus_id,mig.mode.current", "--format=csv,noheader"]
    output, _ = run(words, deadline)
    minors = dict(_minors(files))
    found = []
    for line in output.splitlines():
        match = _QUERY.fullmatch(line.strip())
        if not match:
            raise Trouble(f"nvidia-smi says what is not understood: {line.strip()[:200]}")
        index, uuid, bus, mode = match.groups()
        minor = minors.get(_bus(bus), minors.get(uuid))
        found.append(Gpu(int(index), uuid, minor, bus, mode == "Enabled"))
    if not found:
        raise Trouble("nvidia-smi knows no GPU")
    return found


def _minors(files: dict[str, list[str]]) -> Iterator[tuple[object, int]]:
    """Minor numbers by bus and by UUID."""
    for path, lines in files.items():
        rows = _rows(lines) if path.startswith("gpus/") else {}
        if rows.get("Device Minor", "").isdecimal():
            for key in (rows.get("GPU UUID"), _bus(rows["Bus Location"]) if "Bus Location" in rows else None):
                yield key, int(rows["Device Minor"])


def devices(deadline: float) -> list[Device]:
    """
    Return the MIG devices in the order of GPUs and device numbers.

    Their UUIDs are only in the list of nvidia-smi, the ids of their GPU instances only in its document.

    :raises Trouble: nvidia-smi fails, does not answer, or its answers do not fit each other.
    """
    listing, _ = run(["nvidia-smi", "-L"], deadline)
    document, _ = run(["nvidia-smi", "-q", "-x"], deadline)
    instances = _instances(document)
    found, index, parent = [], 0, ""
    for line in listing.splitlines():
        if match := _GPU_LINE.match(line):
            index, parent = int(match[1]), match[2]
        elif match := _MIG_LINE.match(line):
            if (parent, match[2]) not in instances:
                raise Trouble(f"nvidia-smi -q -x does not know MIG device {match[2]} of GPU {index}")
            # 1c.2g.20gb is a part of a GPU instance of the profile 2g.20gb.
            profile = re.sub(r"^\d+c\.", "", match[1])
            found.append(Device(index, instances[parent, match[2]], match[3], profile))
    return found


def _instances(document: str) -> dict[tuple[str, str], int]:
    """GPU instance ids by the UUID of the GPU and the number of the MIG device."""
    try:
        root = ET.fromstring(document)
        return {
            (gpu.findtext("uuid", "").strip(), device.findtext("index", "").strip()): int(
                device.findtext("gpu_instance_id", "")
            )
            for gpu in root.iter("gpu")
            for device in gpu.iterfind("mig_devices/mig_device")
        }
    except (ET.ParseError, ValueError) as exc:
        raise Trouble(f"nvidia-smi -q -x says what is not understood: {exc}") from exc


def capabilities(files: dict[str, list[str]]) -> dict[int, tuple[int, int]]:
    """Return minor number of the GPU and id of the GPU instance per minor number of a file in /dev/nvidia-caps."""
    found = {}
    for path, lines in files.items():
        place, number = _ACCESS.fullmatch(path), _CAPABILITY.search("\n".join(lines))
        if place and number:
            found[int(number[1])] = (int(place[1]), int(place[2]))
    return found
