"""
Who starts, stops and restarts the exporter, and takes a release back that does not answer.

Everything is compared with how the node is, so that a second call finds nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from superpod_dcgm.base import files, paths, systemd
from superpod_dcgm.base.roles import Decision
from superpod_dcgm.exporter import claims, environment, installed, last_good, listener, probe, trouble

_COMPARED = ("release", "binary", "files")


class InTheWay(systemd.UnitError):
    """The exporter's program or port is another's, or the port cannot be bound. Its text says whose, and what to do."""


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
    explain: Callable[[str, float], str] = trouble.explain
    obstacle: Callable[[str, str], str] = listener.obstacle

    def problem(self, since: float | None = None) -> str:
        """
        Return why the exporter does not answer in time, or an empty string.

        :param since: moment of ``time.monotonic`` at which it was started; by default now.
        """
        since = time.monotonic() if since is None else since
        reason = self.await_metrics(self.name, self.url, self.timeout)
        why = self.explain(self.name, since) if reason else ""
        return f"{reason} after {self.timeout} s{f'. {why}' if why else ''}" if reason else ""

    def as_in(self, good: dict[str, Any], longest: int | None = None) -> Unit:
        """
        Return the unit as it is asked with what was good, whose address and patience may be others.

        :param longest: most seconds that it may take.
        """
        # A record of an earlier release has neither: the file that was put back says where it listens.
        url = good.get("url") or environment.metrics_url(environment.read()) or self.url
        timeout = good.get("timeout") or self.timeout
        return replace(self, url=url, timeout=min(timeout, longest or timeout))


def plan(unit: Unit, decision: Decision, desired: dict[str, Any], changed: bool) -> dict[str, Any]:
    """
    Return what is to be done so that the unit is as decided; empty when it is.

    :param decision: what ``base.roles.decide`` says.
    :param desired: the fingerprint to run with (``last_good.fingerprint``).
    :param changed: restart it in any case when it runs.
    :raises UnitError: systemd does not answer.
    :raises InTheWay: it would be started, and could not listen, or its program is another's.
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
    if "service" in found and target:
        _check_free(unit)
    enabled, flag = state.get("UnitFileState") == "enabled", os.path.exists(paths.ENABLED_FLAG)
    if decision != "unknown" and (enabled, flag) != (target, target):
        words = {True: "starts", False: "does not start"}
        found["boot"] = {"old": words[enabled and flag], "new": words[target]}
    return found


def _check_free(unit: Unit) -> None:
    # A package that was installed later puts its own program where our unit starts ours.
    if os.path.lexists(paths.EXPORTER_LINK) and (theirs := claims.foreign([paths.EXPORTER_LINK])):
        raise InTheWay(theirs[0])
    if obstacle := unit.obstacle(environment.read().get(environment.LISTEN, ""), unit.name):
        raise InTheWay(obstacle)


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
    since = time.monotonic()
    switch(unit, decision, "service" in changes)
    if decision == "stopped" or "service" not in changes:
        return ""
    if problem := unit.problem(since):
        return f"dcgm-exporter {desired['release']}: {problem}. {go_back(unit, good, desired)}"
    last_good.remember(desired, {"url": unit.url, "timeout": unit.timeout})
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


def go_back(unit: Unit, good: dict[str, Any], bad: dict[str, Any], longest: int | None = None) -> str:
    """
    Put the last good state back, if there is one, and return what came of it.

    :param good: its fingerprint (``last_good.read``).
    :param bad: the one that does not answer.
    :param longest: most seconds in which it must answer; by default those in which it did.
    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    log = f"See `journalctl -u {unit.name}`."
    if not last_good.can_go_back(good, bad):
        return f"There is no earlier good state to go back to. {log}"
    last_good.restore(good)
    since = time.monotonic()
    unit.systemctl("daemon-reload")
    unit.systemctl("restart", unit.name)
    if problem := unit.as_in(good, longest).problem(since):
        return (
            f"Release {good['release']} and its configuration were put back and do not answer either: {problem}. {log}"
        )
    return f"Release {good['release']} and its configuration were put back and answer. {log}"
