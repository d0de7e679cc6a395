"""Where roles come from: BCM's REST interface, its shell, a table in the pillar, or nowhere."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from superpod_dcgm.watcher import cmdaemon, cmsh, device_list
from superpod_dcgm.watcher.device_list import Heard, Listed, Unknown


def ask(watcher_settings: dict[str, Any], members: Iterable[str] | None) -> Heard:
    """
    Return who answered, and the roles of every device.

    :param watcher_settings: the watcher's settings file.
    :param members: short names of the minions that are nodes; None when that is not known.
    :raises Unknown: nobody can tell; the reason.
    """
    source, run_on = watcher_settings["roles"]["source"], watcher_settings["roles"]["run_on"]
    if source == "bcm":
        return cmdaemon.devices(cmdaemon.access(watcher_settings["watcher"]), run_on)
    if source == "cmsh":
        return cmsh.devices(run_on, watcher_settings["watcher"]["timeout"])
    if source == "static":
        return _table(watcher_settings["roles"]["static"], run_on)
    if not members:
        raise Unknown("no accepted minion matches hosts:nodes")
    return Heard("none", {name: device_list.device([]) for name in members})


def _table(table: dict[str, list[str]], run_on: list[str]) -> Heard:
    if not table:
        raise Unknown("roles:static is empty")
    listed = [
        Listed(name, device_list.device(device_list.read_roles(roles).names), []) for name, roles in table.items()
    ]
    return device_list.collected("static", listed, run_on, [], complete=True)
