"""Services and timers of this project that have to stay up; the exporter itself follows roles (dcgm_service)."""

from __future__ import annotations

from typing import Any

from superpod_dcgm.base import state, systemd, upkeep

# Given by Salt's loader.
__opts__: dict[str, Any]


def running(name: str, runs: str = "", port: int = 0, seconds: float = 3) -> dict[str, Any]:
    """
    Make sure that a unit runs, stays up and starts at boot; one that comes and goes fails, with the reason.

    Salt's own ``service.running`` is content when systemd has started it. Watched changes restart it.

    :param name: the service or timer.
    :param runs: the service that a timer starts: it is run now if the timer changed or it failed, and must succeed.
    :param port: where it must answer HTTP on this machine.
    :param seconds: how long it must have been up.

    .. code-block:: yaml

        Start dcgm-textfile.service:
          dcgm_unit.running:
            - name: dcgm-textfile.service
            - port: 9401
    """
    return _keep(upkeep.Unit(name, runs, port, seconds), False)


def mod_watch(name: str, sfun: str = "running", **kwargs: Any) -> dict[str, Any]:
    """Restart the unit because a watched state changed, or would change, what it runs with."""
    options = {key: kwargs[key] for key in ("runs", "port", "seconds") if key in kwargs}
    return _keep(upkeep.Unit(name, **options), True)


def _keep(unit: upkeep.Unit, changed: bool) -> dict[str, Any]:
    try:
        changes = upkeep.plan(unit, changed)
        if __opts__["test"]:
            comment = f"{unit.name} would be brought up" if changes else f"{unit.name} runs"
            return state.result(unit.name, None if changes else True, comment, changes)
        wrong = upkeep.act(unit, changes)
    except systemd.UnitError as exc:
        return state.result(unit.name, False, str(exc))
    return state.result(unit.name, not wrong, wrong or f"{unit.name} runs and stays up", changes)
