"""The state of a unit that has to stay up, as Salt's loader calls it."""

from __future__ import annotations

import functools
import time
from typing import Any

import pytest
from superpod_dcgm.base import systemd, upkeep


class Systemd:
    """A unit that comes up when it is started, and stays up unless it is told not to."""

    def __init__(self) -> None:
        self.up = self.enabled = False
        self.broken = self.refuses = False
        self.calls: list[str] = []

    def show(self, name: str) -> dict[str, str]:
        active = "activating" if self.up and self.broken else "active" if self.up else "inactive"
        return {
            "ActiveState": active,
            "SubState": "auto-restart" if self.up and self.broken else "running",
            "UnitFileState": "enabled" if self.enabled else "disabled",
            "ActiveEnterTimestampMonotonic": str(int((time.monotonic() - 60) * 1e6)),
        }

    def systemctl(self, *words: str) -> str:
        if self.refuses:
            raise systemd.UnitError("systemd does not answer")
        self.calls.append(words[0])
        self.up = self.up or words[0] == "restart"
        self.enabled = self.enabled or words[0] == "enable"
        return ""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Systemd:
    found = Systemd()
    reached = {"systemctl": found.systemctl, "show": found.show, "last_words": lambda name: "Permission denied"}
    monkeypatch.setattr(upkeep, "Unit", functools.partial(upkeep.Unit, **reached))
    return found


def test_a_unit_is_brought_up_once_and_restarted_for_a_change(here: Systemd, states: Any) -> None:
    run = functools.partial(states.dcgm_unit.running, name="y.service")
    foretold = run(test=True)
    assert (foretold.result, here.calls) == (None, [])
    done = run()
    assert (done.result, done.changes) == (True, foretold.changes)
    assert run().changes == {}
    assert run(test=True).result is True
    changed = states.dcgm_unit.mod_watch(name="y.service", sfun="running", seconds=1)
    assert changed.changes == {"service": {"old": "running", "new": "restarted"}}


def test_a_unit_that_does_not_stay_up_fails_with_the_reason(here: Systemd, states: Any) -> None:
    here.broken = True
    done = states.dcgm_unit.running(name="y.service")
    assert done.result is False
    assert "y.service does not stay up" in done.comment and "Permission denied" in done.comment


def test_systemd_that_refuses_is_a_failure(here: Systemd, states: Any) -> None:
    here.refuses = True
    assert states.dcgm_unit.running(name="y.service").comment == "systemd does not answer"
