"""
Who starts, stops and restarts the exporter, and takes a release back that does not answer.

Everything is compared with how the node is, so that a second call finds nothing to do.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import files, paths, systemd
from superpod_dcgm.base.roles import Decision
from superpod_dcgm.exporter import installed, last_good, probe

_COMPARED = ("release", "binary", "files")


@dataclass(frozen=True)
class Unit:
    """
    The exporter's unit, the address of its ``/metrics``, and the seconds in which it must answer.

    The rest is how systemd and the exporter are reached; tests give their own.
    """

    name: str
    url: str
    timeout: int
    systemctl: Callable[..., str] = systemd.systemctl
    show: Callable[[str], dict[str, str]] = systemd.show
    await_metrics: Callable[[str, str, float], str] = probe.await_metrics

    def problem(self) -> str:
        """Return why the exporter does not answer in time, or an empty string."""
        return self.await_metrics(self.name, self.url, self.timeout)


def plan(unit: Unit, decision: Decision, desired: dict[str, Any], changed: bool) -> dict[str, Any]:
    """
    Return what is to be done so that the unit is as decided; empty when it is.

    :param decision: what ``base.roles.decide`` says.
    :param desired: the fingerprint to run with (``last_good.fingerprint``).
    :param changed: restart it in any case when it runs.
    :raises UnitError: systemd does not answer.
    """
    state = unit.show(unit.name)
    up = systemd.is_up(state)
    target = {"running": True, "stopped": False, "unknown": up}[decision]
    found: dict[str, Any] = {}
    if (linked := installed.linked_release()) != desired["release"]:
        found["release"] = {"old": linked, "new": desired["release"]}
    if decision == "stopped" and state.get("ActiveState") == "failed":
        # The role went while the unit came up or was between two starts: it is stopped, and shall not look broken.
        found["service"] = {"old": "failed", "new": "stopped"}
    elif up != target:
        found["service"] = {"old": "running" if up else "stopped", "new": "running" if target else "stopped"}
    elif up and (changed or found or _stale(desired)):
        found["service"] = {"old": "running", "new": "restarted"}
    enabled, flag = state.get("UnitFileState") == "enabled", os.path.exists(paths.ENABLED_FLAG)
    if decision != "unknown" and (enabled, flag) != (target, target):
        words = {True: "starts", False: "does not start"}
        found["boot"] = {"old": words[enabled and flag], "new": words[target]}
    return found


def _stale(desired: dict[str, Any]) -> bool:
    good = last_good.read()
    return any(good.get(key) != desired[key] for key in _COMPARED)


def let_start() -> None:
    """
    Let the unit start in this boot: after a boot it waits for that, since the roles may have gone meanwhile.

    :raises OSError: /run cannot be written.
    """
    files.make_directory(paths.NODE_RUNTIME)
    files.write_atomic(paths.MAY_START, "")


def act(unit: Unit, decision: Decision, desired: dict[str, Any], changes: dict[str, Any]) -> str:
    """
    Carry out ``changes`` (of ``plan``).

    :return: why it did not succeed and what was put back, or an empty string.
    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    good = last_good.read()
    if "release" in changes:
        files.link_atomic(desired["release"], paths.EXPORTER_CURRENT)
    switch(unit, decision, "service" in changes)
    if decision == "stopped" or "service" not in changes:
        return ""
    if problem := unit.problem():
        return f"dcgm-exporter {desired['release']}: {problem} after {unit.timeout} s. {go_back(unit, good, desired)}"
    last_good.remember(desired)
    return ""


def switch(unit: Unit, decision: Decision, restart: bool) -> None:
    """
    Start or stop the unit, now and for the next boot.

    :param restart: whether one that shall run is started, or restarted where it runs.
    :raises UnitError: systemd refused.
    :raises OSError: the flag of the unit's condition cannot be written.
    """
    unit.systemctl("daemon-reload")
    if decision == "stopped":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.ENABLED_FLAG)
        unit.systemctl("disable", "--now", unit.name)
        with contextlib.suppress(systemd.UnitError):
            # How it ended may count as a failure. A unit that nothing needs is unknown, which is refused.
            unit.systemctl("reset-failed", unit.name)
        return
    if decision == "running":
        files.write_atomic(paths.ENABLED_FLAG, "Written by the Salt state dcgm.exporter.service.\n")
        unit.systemctl("enable", unit.name)
    if restart:
        unit.systemctl("restart", unit.name)


def go_back(unit: Unit, good: dict[str, Any], bad: dict[str, Any]) -> str:
    """
    Put the last good state back, if there is one, and return what came of it.

    :param good: its fingerprint (``last_good.read``).
    :param bad: the one that does not answer.
    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    log = f"See `journalctl -u {unit.name}`."
    if not last_good.can_go_back(good, bad):
        return f"There is no earlier good state to go back to. {log}"
    last_good.restore(good)
    unit.systemctl("daemon-reload")
    unit.systemctl("restart", unit.name)
    if problem := unit.problem():
        return (
            f"Release {good['release']} and its configuration were put back and do not answer either: {problem}. {log}"
        )
    return f"Release {good['release']} and its configuration were put back and answer. {log}"
