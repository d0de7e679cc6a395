"""Keep the device table of a node in step with its GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import devices, report
from superpod_dcgm.agent.made import Made
from superpod_dcgm.agent.nvidia import Trouble
from superpod_dcgm.base import maintenance, state

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def current(name: str, positions: str | None = None) -> dict[str, Any]:
    """
    Make sure that the device table says what driver, Slurm and MIG layout say now. If that cannot be found out, the
    last good one stays.

    Bad GPUs and positions that are guessed are warnings: a node with one bad GPU goes on working, and is upgraded.

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
        conf = __salt__["dcgm_devices.conf"]()
        wanted = devices.plan({**conf, "positions": positions} if positions else conf)
        changes = devices.differences(wanted.table)
        if not test:
            devices.put(wanted)
    except (Trouble, OSError, CommandExecutionError) as exc:
        if not test:
            devices.note_failure(str(exc))
        return state.result(name, False, f"The device table cannot be made: {exc}")
    return _judged(name, wanted, changes, conf.get("shared", ""))


def _judged(name: str, wanted: Made, changes: dict[str, Any], shared: str) -> dict[str, Any]:
    status = devices.status_of(wanted)
    warnings, test = report.warnings(status, shared), __opts__["test"]
    known = f"positions in Slurm from {wanted.positions.source}{' (a guess)' if wanted.positions.guessed else ''}"
    said = "; ".join([known, *warnings])
    if wanted.problem:
        done = state.result(name, False, f"The device table cannot be made: {wanted.problem}; {said}", changes)
    elif not changes:
        done = state.result(name, True, f"The device table is up to date; {said}")
    else:
        verb = "would be" if test else "is"
        done = state.result(name, None if test else True, f"The device table {verb} made; {said}", changes)
    return {**done, "warnings": warnings} if warnings else done
