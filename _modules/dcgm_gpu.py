"""The GPUs of a node in maintenance: stop what of ours uses them, see what else does, and bring everything back."""

from __future__ import annotations

import os
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import gpu_maintenance
from superpod_dcgm.base import names, paths, roles, systemd
from superpod_dcgm.exporter import role_call, service

# Given by Salt's loader.
__context__: dict[str, Any]
__opts__: dict[str, Any]

_ERRORS = (systemd.UnitError, OSError)


def free(test: bool | None = None) -> dict[str, Any]:
    """
    Stop what of ours uses the GPUs of this node, and keep it down until ``dcgm_gpu.resume``, or until a reboot.

    These are the exporter, the timer of the job map and the unit of the device table, with all that they run. Neither
    slurmd, a host engine, a change of roles nor an apply starts them meanwhile. Prolog and epilog go on. No job is
    disturbed, and nothing that is not ours is stopped: the answer names what else uses a GPU. The exit code is 0 only
    if the GPUs are free: no process uses one, and no job has one.

    Returns ``free``, ``freed`` (since when), ``stopped`` (our units that ran), ``users`` (processes), ``jobs``,
    ``modules`` (kernel modules that use the driver) and ``comment`` (all of it as sentences).

    :param test: only say what would be stopped; by default as Salt's option ``test``.
    :raises CommandExecutionError: systemd refused, or a file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_gpu.free
    """
    test = _is_test(test)
    try:
        found = gpu_maintenance.free(names.timestamp(), test)
    except _ERRORS as exc:
        raise CommandExecutionError(f"The GPUs could not be freed: {exc}") from exc
    if not found["free"] and not test:
        __context__["retcode"] = 1
    return found


def resume(test: bool | None = None) -> dict[str, Any]:
    """
    Bring back what ``dcgm_gpu.free`` stopped: make a new device table, start the timer, and the exporter if the node's
    roles want it.

    The exit code is 0 only if all of it worked. Where no driver is loaded nothing is changed, and the GPUs stay free.

    Returns ``resumed``, ``was`` (the record of the maintenance, if there was one), ``gpus`` and ``instances`` (before
    and after, where they differ), ``started`` and ``problems``.

    :param test: only say what would be started; by default as Salt's option ``test``.
    :raises CommandExecutionError: systemd refused, or a file cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_gpu.resume
    """
    test = _is_test(test)
    try:
        found = gpu_maintenance.resume(test)
        if found["resumed"]:
            _start_exporter(found, test)
    except _ERRORS as exc:
        raise CommandExecutionError(f"What uses the GPUs could not be brought back: {exc}") from exc
    if found["problems"]:
        __context__["retcode"] = 1
    return found


def status() -> dict[str, Any]:
    """
    Say whether the GPUs of this node are free for maintenance, and what uses them; nothing is changed.

    Returns what ``dcgm_gpu.free`` returns, without ``stopped``.

    :raises CommandExecutionError: the job map cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' dcgm_gpu.status
    """
    try:
        return gpu_maintenance.status()
    except OSError as exc:
        raise CommandExecutionError(f"Who uses the GPUs cannot be found out: {exc}") from exc


def _is_test(test: bool | None) -> bool:
    return bool(__opts__.get("test") if test is None else test)


def _start_exporter(found: dict[str, Any], test: bool) -> None:
    """Start the exporter where the node's roles want it, by what the last apply left; roles may be new meanwhile."""
    record, state = role_call.recall(), systemd.show(paths.UNIT)
    if record is None or systemd.is_up(state):
        return
    decision = roles.decide(record["roles"], roles.names_in(roles.read(paths.ROLES_FILE)))
    flagged = os.path.exists(paths.ENABLED_FLAG) and state.get("UnitFileState") == "enabled"
    if decision == "stopped" or (decision == "unknown" and not flagged):
        return
    found["started"] = [*found["started"], paths.UNIT]
    if test:
        return
    unit = service.Unit(record["unit"], record["url"], record["timeout"])
    with role_call.alone():
        service.let_start()
        service.switch(unit, decision, True)
    if problem := unit.problem():
        found["problems"] = [*found["problems"], f"{paths.UNIT} is started and does not answer: {problem}"]
