"""Which tests were not run is said at the end, whoever found it out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests import left_out


class _Terminal:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.section = self.line = self.lines.append


def test_what_a_worker_left_out_is_listed_also_if_another_one_crashed() -> None:
    config = SimpleNamespace(stash=pytest.Stash())
    told = {left_out._OF_WORKER: ["no root", ["tests/lab/test_a.py::test_b"]]}
    left_out.pytest_testnodedown(SimpleNamespace(config=config, workeroutput=told))
    left_out.pytest_testnodedown(SimpleNamespace(config=config))
    terminal = _Terminal()
    left_out.pytest_terminal_summary(terminal, config)
    assert terminal.lines == ["not run: 1 tests that need the lab", "no root", "  tests/lab/test_a.py::test_b"]


def test_a_run_that_left_nothing_out_says_nothing() -> None:
    terminal = _Terminal()
    left_out.pytest_terminal_summary(terminal, SimpleNamespace(stash=pytest.Stash()))
    assert terminal.lines == []
