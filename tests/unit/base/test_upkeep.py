"""A unit that comes and goes does not run, whatever systemd says at one moment."""

from __future__ import annotations

import http.server
import threading
import time
from typing import Any

import pytest
from superpod_dcgm.base import systemd, upkeep

UP = {"ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "NRestarts": "0", "Result": "success"}
BETWEEN = {**UP, "ActiveState": "activating", "SubState": "auto-restart", "Result": "exit-code"}
DEAD = {**UP, "ActiveState": "inactive", "SubState": "dead"}
FAILED = {**DEAD, "ActiveState": "failed", "SubState": "failed", "Result": "exit-code"}


def since(seconds: float, **more: str) -> dict[str, str]:
    """Return a unit that has been up for so long when it is asked."""
    return {**UP, "age": str(seconds), **more}


class Systemd:
    """Says one state after another of the unit, the last one for ever, and one of what a timer runs."""

    def __init__(self, *states: dict[str, str], runs: dict[str, str] | None = None, refuses: str = "") -> None:
        self.states, self.runs, self.refuses = list(states), runs or {}, refuses
        self.calls: list[str] = []
        self.answering = True

    def show(self, name: str) -> dict[str, str]:
        if name == "x.service":
            return self.runs
        found = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if "age" not in found:
            return found
        return {**found, "ActiveEnterTimestampMonotonic": str(int((time.monotonic() - float(found["age"])) * 1e6))}

    def systemctl(self, *words: str) -> str:
        self.calls.append(" ".join(words))
        if self.refuses and words[0] == self.refuses:
            raise systemd.UnitError(f"systemctl {self.refuses}: refused")
        return ""

    def unit(self, **options: Any) -> upkeep.Unit:
        reached = {"systemctl": self.systemctl, "show": self.show, "last_words": lambda name: f"words of {name}"}
        others = {"answers": lambda port: self.answering, "sleep": lambda seconds: None}
        return upkeep.Unit("x.timer" if "runs" in options else "y.service", **options, **reached, **others)


@pytest.mark.parametrize(
    ("states", "problem"),
    [
        ([since(60)], ""),
        ([since(0), since(1), since(5)], ""),
        ([since(60, NRestarts="4")], ""),
        ([since(0), since(1), BETWEEN], "does not stay up (auto-restart, result exit-code): words of y.service"),
        ([since(0), since(1, NRestarts="1")], "does not stay up"),
        ([since(0), FAILED], "does not stay up (failed, result exit-code)"),
        ([DEAD], "does not stay up (dead, result success)"),
        ([{**UP, "ActiveState": "activating", "SubState": "start"}], "is not up after"),
        ([{**UP, "ActiveEnterTimestampMonotonic": ""}], "is not up after"),
    ],
)
def test_a_service_has_to_stay_up(monkeypatch: pytest.MonkeyPatch, states: list[dict[str, str]], problem: str) -> None:
    monkeypatch.setattr(upkeep, "_PATIENCE", 0.05)
    found = upkeep.problem(Systemd(*states).unit())
    assert problem in found and bool(found) is bool(problem)
    assert not problem or "See `journalctl -u y.service`" in found


def test_a_service_has_to_answer_on_its_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "_PATIENCE", 0.05)
    there = Systemd(since(60))
    assert upkeep.problem(there.unit(port=9401)) == ""
    there.answering = False
    assert "does not answer on port 9401" in upkeep.problem(there.unit(port=9401))


@pytest.mark.parametrize(
    ("state", "changed", "expected", "calls"),
    [
        (since(60), False, {}, []),
        (since(60), True, {"service": {"old": "running", "new": "restarted"}}, ["daemon-reload", "restart y.service"]),
        (DEAD, False, {"service": {"old": "stopped", "new": "running"}}, ["daemon-reload", "restart y.service"]),
        (FAILED, True, {"service": {"old": "failed", "new": "running"}}, ["daemon-reload", "restart y.service"]),
        (
            since(60, UnitFileState="disabled"),
            *(False, {"boot": {"old": "does not start", "new": "starts"}}, ["daemon-reload", "enable y.service"]),
        ),
        (since(60, NeedDaemonReload="yes"), False, {}, ["daemon-reload"]),
    ],
)
def test_what_is_planned_is_done(
    state: dict[str, str], changed: bool, expected: dict[str, Any], calls: list[str]
) -> None:
    there = Systemd(state)
    assert upkeep.plan(there.unit(), changed) == expected
    there.states = [state, state, since(60)]
    upkeep.act(there.unit(), expected)
    assert there.calls == calls


@pytest.mark.parametrize(
    ("runs", "changed", "ran"),
    [({}, False, False), ({}, True, True), (FAILED, False, True), ({"Result": "timeout"}, False, True)],
)
def test_what_a_timer_runs_is_run_when_it_changed_or_failed(runs: dict[str, str], changed: bool, ran: bool) -> None:
    there = Systemd(since(0), runs=runs)
    unit = there.unit(runs="x.service", seconds=0)
    changes = upkeep.plan(unit, changed)
    assert ("run" in changes) is ran
    found = upkeep.act(unit, changes)
    assert ("start x.service" in there.calls) is ran
    assert ("x.service failed when it last ran" in found) is bool(runs)


@pytest.mark.parametrize("verb", ["restart", "start"])
def test_a_start_that_fails_says_what_the_program_said(verb: str) -> None:
    there = Systemd(since(0), runs={}, refuses=verb)
    unit = there.unit(runs="x.service", seconds=0)
    assert "does not start" in upkeep.act(unit, upkeep.plan(unit, True))


def test_whatever_answers_http_counts_and_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as server:
        threading.Thread(target=server.handle_request).start()
        assert upkeep.answers(server.server_port)
        port = server.server_port
    assert not upkeep.answers(port)
