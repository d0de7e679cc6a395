"""Units that have to stay up: starts them, looks whether they do, and says why they do not."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import systemd

_PAUSE = 0.25
# Seconds until a unit must be up, and answer.
_PATIENCE = 30.0
_ANSWER_SECONDS = 3.0


def answers(port: int) -> bool:
    """Return whether something on this machine answers HTTP on a port; no proxy of the environment is asked."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request("GET", "/metrics")
        connection.getresponse()
        return True
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Unit:
    """
    A service or timer that has to stay up.

    The rest is how systemd and the port are reached; tests give their own.

    :param runs: the service that a timer starts, which must have succeeded when it last ran.
    :param port: where it must answer HTTP; 0 for nowhere.
    :param seconds: how long it must have been up to count as staying so.
    """

    name: str
    runs: str = ""
    port: int = 0
    seconds: float = 3.0
    systemctl: Callable[..., str] = systemd.systemctl
    show: Callable[[str], dict[str, str]] = systemd.show
    last_words: Callable[[str], str] = systemd.last_words
    answers: Callable[[int], bool] = answers
    sleep: Callable[[float], None] = time.sleep


def plan(unit: Unit, changed: bool) -> dict[str, Any]:
    """
    Return what is to be done so that a unit runs, and starts at boot; empty when it does.

    :param changed: restart it in any case.
    :raises UnitError: systemd does not answer.
    """
    found = unit.show(unit.name)
    changes: dict[str, Any] = {}
    if not systemd.is_up(found):
        failed = found.get("ActiveState") == "failed"
        changes["service"] = {"old": "failed" if failed else "stopped", "new": "running"}
    elif changed:
        changes["service"] = {"old": "running", "new": "restarted"}
    if found.get("UnitFileState") not in ("enabled", "static"):
        changes["boot"] = {"old": "does not start", "new": "starts"}
    if unit.runs and (changes or _failed(unit.show(unit.runs))):
        changes["run"] = {"old": unit.show(unit.runs).get("Result") or None, "new": unit.runs}
    return changes


def _failed(found: dict[str, str]) -> bool:
    return found.get("ActiveState") == "failed" or found.get("Result", "success") != "success"


def act(unit: Unit, changes: dict[str, Any]) -> str:
    """
    Carry out ``changes`` (of ``plan``), and return why the unit does not stay up, or an empty string.

    :raises UnitError: systemd refused.
    """
    if any(unit.show(name).get("NeedDaemonReload") == "yes" for name in (unit.name, unit.runs) if name) or changes:
        unit.systemctl("daemon-reload")
    if "boot" in changes:
        unit.systemctl("enable", unit.name)
    for key, verb, name in (("service", "restart", unit.name), ("run", "start", unit.runs)):
        if key in changes:
            try:
                unit.systemctl(verb, name)
            except systemd.UnitError as exc:
                return _sentence(unit, name, "does not start", unit.show(name)) or str(exc)
    return problem(unit)


def problem(unit: Unit) -> str:
    """
    Return why a unit does not stay up, or an empty string.

    One that has been up for a while is believed at once.

    :raises UnitError: systemd does not answer.
    """
    deadline = time.monotonic() + _PATIENCE
    restarts = unit.show(unit.name).get("NRestarts")
    while True:
        found = unit.show(unit.name)
        between = found.get("SubState") == "auto-restart"
        if between or not systemd.is_up(found) or found.get("NRestarts") != restarts:
            return _sentence(unit, unit.name, "does not stay up", found)
        settled = found.get("ActiveState") == "active" and _up_for(found) >= unit.seconds
        if settled and (not unit.port or unit.answers(unit.port)):
            break
        if time.monotonic() > deadline:
            what = f"does not answer on port {unit.port}" if unit.port else "is not up"
            return _sentence(unit, unit.name, f"{what} after {_PATIENCE:.0f} s", found)
        unit.sleep(_PAUSE)
    last = unit.show(unit.runs) if unit.runs else {}
    return _sentence(unit, unit.runs, "failed when it last ran", last) if _failed(last) else ""


def _up_for(found: dict[str, str]) -> float:
    """Return for how many seconds a unit has been active; both are readings of the monotonic clock."""
    since = found.get("ActiveEnterTimestampMonotonic", "")
    return time.monotonic() - int(since) / 1e6 if since.isdecimal() else 0.0


def _sentence(unit: Unit, name: str, what: str, found: dict[str, str]) -> str:
    words = unit.last_words(name)
    state = f"{found.get('SubState', 'unknown')}, result {found.get('Result', 'unknown')}"
    return f"{name} {what} ({state}){': ' + words if words else ''}. See `journalctl -u {name}`"
