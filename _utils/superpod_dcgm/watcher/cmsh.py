"""Asks BCM's shell cmsh for devices and roles, and reads what it prints."""

from __future__ import annotations

import os
import re
import shutil

from superpod_dcgm.base import process
from superpod_dcgm.base.names import short
from superpod_dcgm.watcher import device_list
from superpod_dcgm.watcher.device_list import Devices, Unknown

# `module load cmsh` puts this into an administrator's path, not into a service's.
_CMSH_DIRECTORIES = ("/cm/local/apps/cmd/bin", "/cm/local/apps/cmsh/bin", "/usr/bin", "/usr/local/bin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def devices(run_on: list[str], timeout: float) -> Devices:
    """
    Return the devices as BCM's shell lists them; of their roles only those in ``run_on`` are asked for.

    :raises Unknown: cmsh is missing, fails, or says something else.
    """
    found = parse_list(_cmsh('device list -d "|" -f hostname:255,category', timeout))
    for role in run_on:
        for name in parse_names(_cmsh(f"device; foreach -l {role} (get hostname)", timeout)):
            if name not in found:
                raise Unknown(f"cmsh names {name!r} for the role {role}, but does not list it")
            found[name]["roles"] = [*(found[name]["roles"] or []), role]
    return found


def parse_list(text: str) -> Devices:
    """Return the devices of ``device list -d "|" -f hostname,category``, every one without roles."""
    found: Devices = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if not line.strip() or cells[0].startswith(("-", "=")) or cells[0].lower().startswith("hostname"):
            continue
        if len(cells) < 2 or not _NAME.match(cells[0]):
            raise Unknown(f"cmsh lists something that is not a device: {line.strip()!r}")
        found[short(cells[0])] = device_list.device([], cells[1] or None)
    if not found:
        raise Unknown("cmsh lists no devices")
    return found


def parse_names(text: str) -> list[str]:
    """Return the host names that ``foreach … (get hostname)`` prints, one in a line."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if not _NAME.match(name):
            raise Unknown(f"cmsh prints something that is not a host name: {name!r}")
    return [short(name) for name in names]


def _cmsh(command: str, timeout: float) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_CMSH_DIRECTORIES])
    program = shutil.which("cmsh", path=path)
    if program is None:
        raise Unknown("cmsh is not installed on this machine")
    done = process.run([program, "-n", "-c", command], timeout)
    if done.code is None:
        raise Unknown(f"cmsh {done.error}")
    if done.code:
        raise Unknown(f"cmsh failed with exit code {done.code}: {done.error.strip() or done.output.strip()}")
    return done.output
