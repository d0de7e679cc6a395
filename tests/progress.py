"""What a person sees while worker processes run the tests: what begins, what fails, what a lab does."""

from __future__ import annotations

import os
import time
from collections.abc import Generator
from typing import Any

import pytest

from tests.groups import LABS, group

# Of these every test is told, of the others only the file.
SLOW = ("tests/lab/", "tests/integration/")
BEGAN = "superpod_began"


class Progress:
    """In the process that prints, in place of a row of dots, which would not say what runs."""

    def __init__(self, reporter: Any) -> None:
        self.reporter = reporter
        self.began = time.time()
        self.total = 0
        self.done = 0
        self.over = False
        self.told: set[str] = set()

    def line(self, text: str, **markup: bool) -> None:
        # No share in per cent: a test of the lab takes as long as a hundred others.
        count = f"{self.done:5}/{self.total}"
        self.reporter.ensure_newline()
        self.reporter.write_line(f"{time.time() - self.began:7.1f} s {count}  {text}", **markup)
        self.reporter.flush()

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        node.workerinput[BEGAN] = self.began

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: Any, ids: list[str]) -> None:
        self.total = len(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        name = nodeid if nodeid.startswith(SLOW) else nodeid.partition("::")[0]
        if name not in self.told:
            self.told.add(name)
            where = group(nodeid)
            self.line(f"{where}: {name}" if where in LABS else name)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.done += report.when == "teardown"
        if report.failed:
            self.line(f"FAILED {report.nodeid} ({report.when})", red=True)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self) -> Generator[None, tuple[Any, ...], tuple[Any, ...]]:
        category, letter, word = yield
        # Without letter and word it is counted and not printed; the summary at the end needs the words.
        return (category, letter, word) if self.over else (category, "", "")

    def pytest_sessionfinish(self) -> None:
        self.over = True


def pytest_sessionstart(session: pytest.Session) -> None:
    """Take over where worker processes run the tests; with -v and -q pytest's own progress is what was asked for."""
    config = session.config
    if config.pluginmanager.hasplugin("dsession") and not config.option.verbose:
        config.pluginmanager.register(Progress(config.pluginmanager.getplugin("terminalreporter")))


def say(config: pytest.Config, began: float, text: str) -> None:
    """Print a line past pytest's capturing; one of a worker process is also in the report of a failure."""
    worker = getattr(config, "workerinput", None)
    seconds = time.time() - (worker or {}).get(BEGAN, began)
    if worker is not None:
        print(f"{seconds:7.1f} s  {text}")
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        if worker is None:
            reporter = config.pluginmanager.getplugin("terminalreporter")
            reporter.ensure_newline()
            reporter.write_line(f"{seconds:7.1f} s  {text}")
        else:
            # A worker has no terminal; its standard error is that of the process that prints.
            os.write(2, f"{seconds:7.1f} s {'':10}  {text}\n".encode())
