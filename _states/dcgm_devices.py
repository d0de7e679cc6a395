"""Keep the device table of a node in step with its GPUs."""

from __future__ import annotations

from typing import Any

import superpod_devices
from salt.exceptions import CommandExecutionError
from superpod_nvidia import Trouble


def _result(name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}


def current(name: str, positions: str | None = None) -> dict[str, Any]:
    """
    Make sure that the device table says what driver, Slurm and MIG layout say now. If that cannot be found out, the
    last good one stays.

    :param name: what the report calls the table.
    :param positions: ``auto``, ``index`` or ``minor``; by default what the settings of the job map on this node say.

    .. code-block:: yaml

        Make the device table of prolog and epilog:
          dcgm_devices.current: []
    """
    test = __opts__["test"]
    try:
        wanted = superpod_devices.plan({"positions": positions} if positions else __salt__["dcgm_devices.settings"]())
        changes = superpod_devices.differences(wanted.table)
        if not test:
            superpod_devices.put(wanted)
    except (Trouble, OSError, CommandExecutionError) as exc:
        if not test:
            superpod_devices.note_failure(str(exc))
        return _result(name, False, f"The device table cannot be made: {exc}")
    if not changes:
        return _result(name, True, "The device table is up to date")
    note = f"; positions by {wanted.source}: {wanted.note}" if wanted.note else ""
    return _result(name, None if test else True, f"The device table {'would be' if test else 'is'} made{note}", changes)
