"""
Which lines are run by tests: of the code that decides, restarts and rolls back enough, or a test fails.

Judged where all of the folders run and pass, in worker processes or not; one who runs a single file is left alone.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# These tests run what is held to the floor, and nothing slow. Measuring all levels makes them take half as long again,
# which is for CI: it also says how much of all code they run.
FOLDERS = ("tests/unit/base", "tests/unit/exporter")
CODE = HELD = (
    *(f"_utils/superpod_dcgm/base/{name}.py" for name in ("roles", "systemd")),
    *(f"_utils/superpod_dcgm/exporter/{name}.py" for name in ("artifacts", "installed", "last_good")),
    *(f"_utils/superpod_dcgm/exporter/{name}.py" for name in ("probe", "service")),
    *(f"_states/dcgm_{name}.py" for name in ("path", "release", "service", "source")),
)
if os.environ.get("CI") == "true":
    FOLDERS, CODE = (
        ("tests/unit", "tests/render", "tests/functional"),
        ("_modules/*", "_states/*", "_utils/*", "_runners/*"),
    )
FLOOR = 95
_OF_WORKER = "superpod_lines"
Lines = dict[str, list[int]]


def runs_all(config: pytest.Config) -> bool:
    """Return whether nothing of the folders is left out by what the user asked for."""
    option = config.option
    chosen = option.keyword or option.markexpr or option.deselect or option.ignore or option.ignore_glob
    if chosen or option.collectonly or getattr(option, "lf", False) or getattr(option, "stepwise", False):
        return False
    asked = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    return all(any((REPOSITORY / folder).is_relative_to(path) for path in asked) for folder in FOLDERS)


def _with(lines: Lines) -> coverage.Coverage:
    measured = coverage.Coverage(data_file=None, config_file=False)
    measured.set_option("run:disable_warnings", ["no-data-collected"])
    measured.get_data().add_lines(lines)
    return measured


def shortfalls(
    lines: Lines, root: Path = REPOSITORY, held: tuple[str, ...] = HELD, floor: int = FLOOR
) -> dict[str, str]:
    """Return what is missing, by file; empty for a file of which enough was run."""
    measured = _with(lines)
    found = {}
    for name in held:
        _, statements, _, missing, text = measured.analysis2(str(root / name))
        share = 100 * (1 - len(missing) / len(statements))
        problem = f"{name}: {share:.1f} % of its lines are run, less than {floor} %; missing are {text}"
        found[name] = "" if share >= floor else problem
    return found


def share_of_all(lines: Lines) -> str:
    """Return one line on all code that was imported; what no test imports is not in it."""
    measured = _with(lines)
    counts = [measured.analysis2(file) for file in lines]
    total, missing = sum(len(count[1]) for count in counts), sum(len(count[3]) for count in counts)
    return f"{', '.join(FOLDERS)} run {100 * (1 - missing / total):.1f} % of {total} lines in {len(counts)} files"


class Measurement:
    """Collects lines in every process that runs tests, and judges in the one that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.lines: dict[str, set[int]] = {}
        self.tracer: coverage.Coverage | None = None

    def start(self) -> None:
        """Take the lines that an import runs, before the tests' own modules import the code."""
        if not self.config.pluginmanager.hasplugin("dsession"):
            self.tracer = coverage.Coverage(
                data_file=None, config_file=False, include=[str(REPOSITORY / name) for name in CODE]
            )
            with self.tracer.collect():
                for name in HELD:
                    if name.startswith("_utils/"):
                        importlib.import_module(name.removeprefix("_utils/").removesuffix(".py").replace("/", "."))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        if self.tracer and item.nodeid.startswith(FOLDERS):
            with self.tracer.collect():
                return (yield)
        return (yield)

    def add(self, lines: Lines) -> None:
        for file, numbers in lines.items():
            self.lines.setdefault(file, set()).update(numbers)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        done = yield
        if self.tracer:
            data = self.tracer.get_data()
            self.add({file: data.lines(file) or [] for file in data.measured_files()})
        collected = {file: sorted(numbers) for file, numbers in self.lines.items()}
        if hasattr(self.config, "workeroutput"):
            self.config.workeroutput[_OF_WORKER] = collected
        elif not session.testsfailed:
            self._judge(collected)
        return done

    def _judge(self, lines: Lines) -> None:
        for name, problem in shortfalls(lines).items():
            nodeid, location = f"tests/measured.py::{name}", ("tests/measured.py", None, name)
            outcome: Any = "failed" if problem else "passed"
            report = pytest.TestReport(nodeid, location, {}, outcome, problem or None, "call")
            self.config.hook.pytest_runtest_logreport(report=report)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if CODE is not HELD and self.lines:
            terminalreporter.line(share_of_all({file: sorted(numbers) for file, numbers in self.lines.items()}))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(getattr(node, "workeroutput", {}).get(_OF_WORKER, {}))


def measure(config: pytest.Config) -> None:
    """Begin, where all of the folders are run."""
    if runs_all(config):
        measurement = Measurement(config)
        config.pluginmanager.register(measurement)
        measurement.start()
