"""Which processes use the GPUs of this node: who has a file of the NVIDIA driver open or mapped, read in /proc."""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import re
import stat
from dataclasses import dataclass

from superpod_dcgm.base import files

_DEVICE = re.compile(r"/dev/nvidia\S*")
# The sixth column, or what is left of it where the file was deleted.
_MAPPED = re.compile(r"^(?:\S+\s+){5}(/dev/nvidia\S*)", re.MULTILINE)
_JOB_GROUP = re.compile(r"/job_([1-9][0-9]{0,9})(?:/|$)", re.MULTILINE)
_JOB_ENVIRONMENT = re.compile(rb"(?:^|\0)SLURM_JOB_ID=([1-9][0-9]{0,9})(?:\0|$)")
_UNIT = re.compile(r"/([^/\n]+\.(?:service|scope))(?:/|$)", re.MULTILINE)
# Units of all jobs and users; what runs there is named by its job or user.
_COLLECTIVE = re.compile(r"slurmd\.service|slurmstepd\.scope|(?:init|session-.*)\.scope|user@\d+\.service")


@dataclass(frozen=True)
class User:
    """A process that uses a GPU; ``job`` and ``unit`` are empty where it belongs to none."""

    pid: int
    program: str
    user: str
    job: str
    unit: str
    devices: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Who it is, and what ends it."""
        who = f"{self.program} (pid {self.pid}, user {self.user})"
        if self.job:
            return f"{who} of Slurm job {self.job}"
        return f"{who}: systemctl stop {self.unit}" if self.unit else who


def find(processes: str = "/proc") -> list[User]:
    """
    Return the processes that have a device file of the driver open or mapped, by their numbers.

    Root sees all of the machine, containers included. A process that ends meanwhile is left out.
    """
    numbers = sorted(int(os.path.basename(path)) for path in glob.iglob(f"{processes}/[0-9]*") if path[-1].isdigit())
    found = []
    for number in numbers:
        folder = f"{processes}/{number}"
        if devices := _devices(folder):
            found.append(_user(folder, number, devices))
    return found


def modules(root: str = "/sys/module") -> list[str]:
    """Return the kernel modules that keep the driver loaded: nvidia_uvm, nvidia_drm, nvidia_peermem and the like."""
    return sorted(os.path.basename(path) for path in glob.iglob(f"{root}/nvidia/holders/*"))


def _devices(folder: str) -> tuple[str, ...]:
    found: set[str] = set()
    for path in glob.iglob(f"{folder}/fd/*"):
        with contextlib.suppress(OSError):
            found |= set(_named(path, os.readlink(path)))
    found |= set(_MAPPED.findall(_text(f"{folder}/maps")))
    return tuple(sorted(found))


def _named(path: str, target: str) -> list[str]:
    """Only the link is read, since what it leads to may hang; below another root its kind is asked."""
    named = _DEVICE.findall(target)
    if target.startswith("/dev/") or not named:
        return named
    return named if stat.S_ISCHR(os.stat(path).st_mode) else []


def _user(folder: str, number: int, devices: tuple[str, ...]) -> User:
    groups = _text(f"{folder}/cgroup")
    job = _JOB_GROUP.search(groups)
    named = _JOB_ENVIRONMENT.search(files.told(f"{folder}/environ"))
    units = [unit for unit in _UNIT.findall(groups) if not _COLLECTIVE.fullmatch(unit)]
    try:
        uid = os.stat(folder).st_uid
    except OSError:
        uid = 0
    return User(
        pid=number,
        program=_text(f"{folder}/comm").strip() or "?",
        user=_name(uid),
        job=job[1] if job else named[1].decode("ascii") if named else "",
        unit=units[-1] if units else "",
        devices=devices,
    )


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _text(path: str) -> str:
    return files.told(path).decode("utf-8", "replace")
