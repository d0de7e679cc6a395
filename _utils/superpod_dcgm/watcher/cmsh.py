"""Asks BCM's shell cmsh for devices and roles, and reads what it prints."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection

from superpod_dcgm.base import process
from superpod_dcgm.watcher import device_list
from superpod_dcgm.watcher.device_list import Heard, Listed, Unknown

# `module load cmsh` puts this into an administrator's path, not into a service's.
_CMSH_DIRECTORIES = ("/cm/local/apps/cmd/bin", "/cm/local/apps/cmsh/bin", "/usr/bin", "/usr/local/bin")
# What stands above the names.
_TITLES = ("hostname", "hostname (key)")


def devices(run_on: list[str], timeout: float) -> Heard:
    """
    Return the devices as BCM's shell lists them; of their roles only those in ``run_on`` are asked for.

    :raises Unknown: cmsh is missing, fails, or says something else.
    """
    listed, odd = parse_list(_cmsh('device list -d "|" -f hostname:255,category', timeout))
    roles: dict[str, list[str]] = {host: [] for host in listed}
    for role in run_on:
        for host in parse_names(_cmsh(f"device; foreach -l {role} (get hostname)", timeout), odd):
            if host not in listed:
                raise Unknown(f"cmsh names {host!r} for the role {role}, but does not list it")
            roles[host].append(role.lower())
    found = [Listed(host, device_list.device(roles[host], category), []) for host, category in listed.items()]
    problems = [f"cmsh lists a device with no usable name: {device_list.shown(name)}" for name in sorted(odd)]
    # Of these it does not say whether they are nodes.
    return device_list.collected("cmsh", found, run_on, problems, complete=not odd)


def parse_list(text: str) -> tuple[dict[str, str | None], set[str]]:
    """Return the categories of ``device list -d "|" -f hostname,category`` by host, and the names that are odd."""
    found: dict[str, str | None] = {}
    odd = set()
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if not line.strip() or cells[0].startswith(("---", "===")) or cells[0].lower() in _TITLES:
            continue
        if len(cells) < 2:
            raise Unknown(f"cmsh lists something that is not a device: {line.strip()!r}")
        if device_list.is_host_name(cells[0]):
            found[cells[0]] = device_list.text(cells[1])
        else:
            odd.add(cells[0])
    if not found:
        raise Unknown("cmsh lists no devices")
    return found, odd


def parse_names(text: str, odd: Collection[str] = ()) -> list[str]:
    """
    Return the host names that ``foreach … (get hostname)`` prints, one in a line.

    :param odd: names that the list of devices has and that cannot be used.
    """
    names = [name for line in text.splitlines() if (name := line.strip()) and name not in odd]
    for name in names:
        if not device_list.is_host_name(name):
            raise Unknown(f"cmsh prints something that is not a host name: {name!r}")
    return names


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
