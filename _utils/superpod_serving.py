"""
What it takes to make the exporter run, or not, and to take a release back that does not answer.

Everything is compared with how the node is, so that a second call finds nothing to do.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any

import superpod_files
import superpod_paths
import superpod_service
import superpod_unit


def changes(unit: str, wanted: str, desired: dict[str, Any], changed: bool) -> dict[str, Any]:
    """
    Return what is to be done so that ``unit`` is as ``wanted``; empty when it is.

    :param wanted: ``running``, ``stopped`` or ``unknown`` (superpod_roles.wanted).
    :param desired: the fingerprint to run with (superpod_service.fingerprint).
    :param changed: restart it in any case when it runs.
    :raises superpod_unit.UnitError: systemd does not answer.
    """
    state = superpod_unit.show(unit)
    up, enabled = superpod_unit.is_up(state), state.get("UnitFileState") == "enabled"
    flag = os.path.exists(superpod_paths.ENABLED_FLAG)
    found: dict[str, Any] = {}
    linked = superpod_service.linked_release()
    if linked != desired["release"]:
        found["release"] = {"old": linked, "new": desired["release"]}
    target = {"running": True, "stopped": False, "unknown": up}[wanted]
    if up != target:
        found["service"] = {"old": "running" if up else "stopped", "new": "running" if target else "stopped"}
    elif up and (changed or found or _stale(desired)):
        found["service"] = {"old": "running", "new": "restarted"}
    if wanted != "unknown" and (enabled, flag) != (target, target):
        found["boot"] = {
            "old": "starts" if enabled and flag else "does not start",
            "new": "starts" if target else "does not start",
        }
    return found


def let_start() -> None:
    """
    Let the unit start in this boot: after a boot it waits for that, since the roles may have gone meanwhile.

    :raises OSError: /run cannot be written.
    """
    os.makedirs(superpod_paths.NODE_RUNTIME, exist_ok=True)
    superpod_files.write_atomic(superpod_paths.MAY_START, "")


def _stale(desired: dict[str, Any]) -> bool:
    good = superpod_service.last_good()
    return any(good.get(key) != desired[key] for key in ("release", "binary", "files"))


def act(unit: str, wanted: str, desired: dict[str, Any], changes: dict[str, Any], probe: tuple[str, int]) -> str:
    """
    Carry ``changes`` (of the function of that name) out.

    :param probe: address of ``/metrics`` and the seconds in which it must answer.
    :return: why it did not succeed and what was put back, or an empty string.
    :raises superpod_unit.UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    good = superpod_service.last_good()
    if "release" in changes:
        superpod_files.link_atomic(desired["release"], superpod_paths.EXPORTER_CURRENT)
    superpod_unit.systemctl("daemon-reload")
    if wanted == "stopped":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(superpod_paths.ENABLED_FLAG)
        superpod_unit.systemctl("disable", "--now", unit)
        return ""
    if wanted == "running":
        superpod_files.write_atomic(superpod_paths.ENABLED_FLAG, "Written by the Salt state dcgm.exporter.service.\n")
        superpod_unit.systemctl("enable", unit)
    if "service" not in changes:
        return ""
    superpod_unit.systemctl("restart", unit)
    problem = superpod_unit.await_metrics(unit, *probe)
    if problem:
        return (
            f"dcgm-exporter {desired['release']}: {problem} after {probe[1]} s. {_go_back(unit, good, desired, probe)}"
        )
    superpod_service.remember(desired)
    return ""


def _go_back(unit: str, good: dict[str, Any], bad: dict[str, Any], probe: tuple[str, int]) -> str:
    log = f"See `journalctl -u {unit}`."
    if not superpod_service.can_go_back(good, bad):
        return f"There is no earlier good state to go back to. {log}"
    superpod_service.restore(good)
    superpod_unit.systemctl("daemon-reload")
    superpod_unit.systemctl("restart", unit)
    problem = superpod_unit.await_metrics(unit, *probe)
    if problem:
        return (
            f"Release {good['release']} and its configuration were put back and do not answer either: {problem}. {log}"
        )
    return f"Release {good['release']} and its configuration were put back and answer. {log}"
