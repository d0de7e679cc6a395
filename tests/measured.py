"""
Which lines the tests below ran, and the least that they may run of the code that restarts and rolls back.

Judged where all of these tests run and pass, in worker processes or not; one who runs a single file is left alone.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import coverage
import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# The lab and the integration level run the code in other processes.
LEVELS = ("tests/unit", "tests/render", "tests/functional")
CODE = ("_modules", "_states", "_utils/superpod_dcgm")
FLOOR = 95
# What decides whether the exporter runs, restarts it, and takes a release back.
HELD = (
    *(f"_utils/superpod_dcgm/base/{name}.py" for name in ("roles", "systemd")),
    *(
        f"_utils/superpod_dcgm/exporter/{name}.py"
        for name in ("artifacts", "installed", "last_good", "probe", "service")
    ),
    *(f"_states/dcgm_{name}.py" for name in ("path", "release", "service", "source")),
)
_OF_WORKER = "superpod_lines"
Lines = dict[str, list[int]]


def runs_whole_levels(config: pytest.Config) -> bool:
    """Return whether nothing of the levels is left out by what the user asked for."""
    option = config.option
    chosen = option.keyword or option.markexpr or option.deselect or option.ignore or option.ignore_glob
    if chosen or option.collectonly or getattr(option, "lf", False) or getattr(option, "stepwise", False):
        return False
    asked = [(config.invocation_params.dir / arg).resolve() for arg in config.args]
    return all(any((REPOSITORY / level).is_relative_to(path) for path in asked) for level in LEVELS)


def shortfalls(
    lines: Lines, root: Path = REPOSITORY, held: tuple[str, ...] = HELD, floor: int = FLOOR
) -> dict[str, str]:
    """Return what is missing, by file; empty for a file of which enough was run."""
    measured = coverage.Coverage(data_file=None, config_file=False)
    measured.set_option("run:disable_warnings", ["no-data-collected"])
    measured.get_data().add_lines(lines)
    found = {}
    for name in held:
        _, statements, _, missing, text = measured.analysis2(str(root / name))
        share = 100 * (1 - len(missing) / len(statements))
        problem = f"{name}: {share:.1f} % of its lines are run, less than {floor} %; missing are {text}"
        found[name] = "" if share >= floor else problem
    return found


class Measurement:
    """Collects lines in every process that runs tests, and judges in the one that prints."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.lines: dict[str, set[int]] = {}
        self.tracer: coverage.Coverage | None = None

    def start(self) -> None:
        if not self.config.pluginmanager.hasplugin("dsession"):
            include = [str(REPOSITORY / folder / "*") for folder in CODE]
            self.tracer = coverage.Coverage(data_file=None, config_file=False, include=include)
            self.tracer.start()

    def add(self, lines: Lines) -> None:
        for file, numbers in lines.items():
            self.lines.setdefault(file, set()).update(numbers)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        done = yield
        if self.tracer:
            self.tracer.stop()
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

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.add(getattr(node, "workeroutput", {}).get(_OF_WORKER, {}))


def measure(config: pytest.Config) -> None:
    """Begin, where whole levels are run; before the tests' own modules import the code."""
    if runs_whole_levels(config):
        measurement = Measurement(config)
        config.pluginmanager.register(measurement)
        measurement.start()
