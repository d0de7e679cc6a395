"""Where roles come from: BCM's REST interface, its shell, a table in the pillar, or nowhere."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import Any

import superpod_bcm
import superpod_roles
from superpod_bcm import Devices, Unknown

# `module load cmsh` puts this into an administrator's path, not into a service's.
_CMSH_DIRECTORIES = ("/cm/local/apps/cmd/bin", "/cm/local/apps/cmsh/bin", "/usr/bin", "/usr/local/bin")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*\Z")


def ask(settings: dict[str, Any], members: Iterable[str] | None) -> tuple[str, Devices]:
    """
    Return who answered, and the roles of every device.

    :param settings: the watcher's settings file.
    :param members: short names of the minions that are nodes; None when that is not known.
    :raises Unknown: nobody can tell; the reason.
    """
    source = settings["roles"]["source"]
    if source == "bcm":
        return superpod_bcm.devices(access(settings["watcher"]))
    if source == "cmsh":
        return "cmsh", from_cmsh(settings["roles"]["run_on"], settings["watcher"]["timeout"])
    if source == "static":
        return "static", _table(settings["roles"]["static"])
    if not members:
        raise Unknown("no accepted minion matches hosts:nodes")
    return "none", {name: _entry([]) for name in members}


def access(watcher: dict[str, Any]) -> superpod_bcm.Access:
    """Return how to reach CMDaemon, from the section ``watcher`` of the settings."""
    names = superpod_bcm.Access.__dataclass_fields__
    return superpod_bcm.Access(**{key: value for key, value in watcher.items() if key in names})


def from_cmsh(run_on: list[str], timeout: float) -> Devices:
    """
    Return the devices as BCM's shell lists them; of their roles only those in ``run_on`` are asked for.

    :raises Unknown: cmsh is missing, fails, or says something else.
    """
    found = parse_list(_cmsh('device list -d "|" -f hostname:255,category', timeout))
    for role in run_on:
        for name in parse_names(_cmsh(f"device; foreach -l {role} (get hostname)", timeout)):
            if name not in found:
                raise Unknown(f"cmsh names {name!r} for the role {role}, but does not list it")
            found[name]["roles"].append(role)
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
        found[superpod_roles.short(cells[0])] = _entry([], cells[1] or None)
    if not found:
        raise Unknown("cmsh lists no devices")
    return found


def parse_names(text: str) -> list[str]:
    """Return the host names that ``foreach … (get hostname)`` prints, one in a line."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    for name in names:
        if not _NAME.match(name):
            raise Unknown(f"cmsh prints something that is not a host name: {name!r}")
    return [superpod_roles.short(name) for name in names]


def _cmsh(command: str, timeout: float) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), *_CMSH_DIRECTORIES])
    program = shutil.which("cmsh", path=path)
    if program is None:
        raise Unknown("cmsh is not installed on this machine")
    try:
        argv = [program, "-n", "-c", command]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise Unknown(f"cmsh did not answer: {exc}") from exc
    if done.returncode:
        raise Unknown(f"cmsh failed with exit code {done.returncode}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _table(table: dict[str, list[str]]) -> Devices:
    if not table:
        raise Unknown("roles:static is empty")
    return {superpod_roles.short(name): _entry(sorted(roles)) for name, roles in table.items()}


def _entry(roles: list[str], category: str | None = None) -> dict[str, Any]:
    return {"roles": roles, "category": category, "type": None}
