"""
Who starts, stops and restarts the exporter, and takes a release back that does not answer.

Everything is compared with how the node is, so that a second call finds nothing to do.
"""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.base import files, paths, systemd
from superpod_dcgm.base.roles import Decision
from superpod_dcgm.exporter import claims, environment, gate, installed, last_good, probe, rows
from superpod_dcgm.exporter import verdict as verdicts
from superpod_dcgm.exporter.unit import Unit as Unit

_COMPARED = ("release", "binary", "files")


class InTheWay(systemd.UnitError):
    """The exporter's program or port is another's, or the port cannot be bound. Its text says whose, and what to do."""


@dataclass(frozen=True)
class Done:
    """What came of a change: why it did not succeed and what was put back, and what is odd with the node besides."""

    problem: str = ""
    notes: list[str] = field(default_factory=list)


def plan(unit: Unit, decision: Decision, desired: dict[str, Any], changed: bool, mend: bool = True) -> dict[str, Any]:
    """
    Return what is to be done so that the unit is as decided; empty when it is.

    :param decision: what ``base.roles.decide`` says.
    :param desired: the fingerprint to run with (``last_good.fingerprint``).
    :param changed: restart it in any case when it runs.
    :param mend: restart it where it lost its profiling rows.
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
    elif up and (changed or found or is_stale(desired) or (mend and verdicts.lost_profiling(unit))):
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


def is_stale(desired: dict[str, Any]) -> bool:
    """Return whether the exporter was last good with something else than ``desired`` (a fingerprint)."""
    good = last_good.read()
    return any(good.get(key) != desired[key] for key in _COMPARED)


def let_start() -> None:
    """
    Let the unit start in this boot: after a boot it waits for that, since the roles may have gone meanwhile.

    :raises OSError: /run cannot be written.
    """
    files.make_directory(paths.NODE_RUNTIME)
    files.write_atomic(paths.MAY_START, "")


def act(unit: Unit, decision: Decision, desired: dict[str, Any], changes: dict[str, Any]) -> Done:
    """
    Carry out ``changes`` (of ``plan``).

    What does not answer, or does not show what this node showed just before, is taken back.

    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    good = last_good.read()
    restarts = "service" in changes and decision != "stopped"
    before = _shown_before(unit) if restarts else None
    if "release" in changes:
        files.link_atomic(desired["release"], paths.EXPORTER_CURRENT)
    since = time.monotonic()
    switch(unit, decision, "service" in changes)
    if not restarts:
        return Done()
    verdict = verdicts.judged(unit, since, before)
    if verdict.problem:
        back = go_back(unit, good, desired, before=before) if verdict.is_bad else "Nothing is taken back."
        return Done(f"dcgm-exporter {desired['release']}: {verdict.problem}. {back}")
    asked = {"url": unit.url, "timeout": unit.timeout, "profiling": verdicts.profiling(good, verdict.shown)}
    last_good.remember(desired, asked)
    return Done(notes=verdicts.shortages(unit, verdict.shown, before))


def looked_at(unit: Unit) -> Done:
    """
    Return how a unit is that runs and is not changed; one that is slow is waited for.

    :raises OSError: what it shows cannot be noted.
    """
    if problem := unit.problem(patience=rows.PATIENCE):
        return Done(problem)
    now = unit.shows()
    if verdicts.profiling(last_good.read(), now) == "shown":
        last_good.note_profiling("shown")
    return Done(notes=verdicts.shortages(unit, now))


def _shown_before(unit: Unit) -> rows.Shown | None:
    """What the page showed just before the change; None where nothing ran that could tell."""
    before = gate.noted()
    with contextlib.suppress(FileNotFoundError):
        os.unlink(paths.SHOWN_RECORD)
    if before is None and systemd.is_up(unit.show(unit.name)):
        before = unit.shows()
    return None if before is None or before.fault in ("down", "hidden") else before


def switch(unit: Unit, decision: Decision, restart: bool) -> None:
    """
    Start or stop the unit, now and for the next boot.

    :param restart: whether one that shall run is started, or restarted where it runs.
    :raises UnitError: systemd refused.
    :raises OSError: the flag of the unit's condition cannot be written.
    """
    # `enable` and `disable` reload systemd as daemon-reload does (systemctl(1)).
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
    else:
        unit.systemctl("daemon-reload")
    if restart:
        unit.systemctl("restart", unit.name)


def go_back(
    unit: Unit,
    good: dict[str, Any],
    bad: dict[str, Any],
    longest: int | None = None,
    before: rows.Shown | None = None,
) -> str:
    """
    Put the last good state back, if there is one, and return what came of it.

    :param good: its fingerprint (``last_good.read``).
    :param bad: the one that does not answer.
    :param longest: most seconds in which it must answer; by default those in which it did.
    :param before: what the page showed before the change.
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
    unit, put_back = unit.as_in(good, longest), f"Release {good['release']} and its configuration were put back"
    if problem := unit.problem(since, gate.patience(before, probe.ANSWER_TIMEOUT)):
        return f"{put_back} and do not answer either: {problem}. {log}"
    if before and (
        gone := gate.gone(before, gate.settle(unit.shows, before, rows.wanted(), unit.timeout), rows.wanted())
    ):
        return f"{put_back} and answer, and it is the same with them: {gone}. {log}"
    return f"{put_back} and answer. {log}"
