"""Keep the device table of a node in step with its GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import devices
from superpod_dcgm.agent.nvidia import Trouble
from superpod_dcgm.base import maintenance, state

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def current(name: str, positions: str | None = None) -> dict[str, Any]:
    """
    Make sure that the device table says what driver, Slurm and MIG layout say now. If that cannot be found out, the
    last good one stays.

    :param name: what the report calls the table.
    :param positions: ``auto``, ``index`` or ``minor``; by default what job-map.conf of this node says.

    .. code-block:: yaml

        Make the device table:
          dcgm_devices.current: []
    """
    test = __opts__["test"]
    if record := maintenance.held():
        return state.result(name, True, f"The device table is left as it is: {maintenance.sentence(record)}")
    try:
        wanted = devices.plan({"positions": positions} if positions else __salt__["dcgm_devices.conf"]())
        changes = devices.differences(wanted.table)
        if not test:
            devices.put(wanted)
    except (Trouble, OSError, CommandExecutionError) as exc:
        if not test:
            devices.note_failure(str(exc))
        return state.result(name, False, f"The device table cannot be made: {exc}")
    if not changes:
        return state.result(name, True, "The device table is up to date")
    note = f"; positions by {wanted.source}: {wanted.note}" if wanted.note else ""
    return state.result(
        name, None if test else True, f"The device table {'would be' if test else 'is'} made{note}", changes
    )
