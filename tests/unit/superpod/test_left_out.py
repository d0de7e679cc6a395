"""Which tests were not run is said at the end, whoever found it out."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tests import left_out


class _Terminal:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.section = self.line = self.lines.append


def _config(reportchars: str = "a") -> SimpleNamespace:
    return SimpleNamespace(stash=pytest.Stash(), option=SimpleNamespace(reportchars=reportchars))


def _summary(config: SimpleNamespace) -> list[str]:
    terminal = _Terminal()
    left_out.pytest_terminal_summary(terminal, config)
    return terminal.lines


@pytest.mark.parametrize(("asked", "names"), [("a", []), ("fE", []), ("s", ["not run", "tests/lab/test_a.py::test_b"])])
def test_what_a_worker_left_out_is_counted_and_named_if_asked_also_if_another_one_crashed(
    asked: str, names: list[str]
) -> None:
    config = _config(asked)
    told = {left_out._OF_WORKER: {"no root": ["tests/lab/test_a.py::test_b"]}}
    left_out.pytest_testnodedown(SimpleNamespace(config=config, workeroutput=told))
    left_out.pytest_testnodedown(SimpleNamespace(config=config))
    assert _summary(config) == [*names, "not run: 1 of the lab's tests: no root (-rs lists them)"]


def test_a_run_that_left_nothing_out_says_nothing() -> None:
    assert _summary(_config("s")) == []


def test_tests_that_were_left_out_for_two_reasons_are_told_with_both() -> None:
    config = _config()
    deselected: list[str] = []
    config.hook = SimpleNamespace(pytest_deselected=lambda items: deselected.extend(item.nodeid for item in items))
    items = [SimpleNamespace(nodeid=name) for name in "abc"]
    left_out.leave_out(config, items, "no repository", [items[0]])
    left_out.leave_out(config, items, "no root", [items[0]])
    assert [item.nodeid for item in items] == ["c"] and deselected == ["a", "b"]
    assert [line.partition(" (")[0] for line in _summary(config)] == [
        "not run: 1 of the lab's tests: no repository",
        "not run: 1 of the lab's tests: no root",
    ]
