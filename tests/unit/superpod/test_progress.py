"""While worker processes run the tests one sees what begins and what fails, and at the end what pytest always says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import progress

CHECKOUT = Path(__file__).resolve().parents[3]
SUITE = {
    "tests/unit/test_a.py": "def test_one(): pass\ndef test_two(): print('said before'); assert 1 == 2\n",
    "tests/unit/test_b.py": "def test_three(): pass\n",
    "tests/integration/test_c.py": "def test_four(): pass\ndef test_five(): pass\n",
}
CONFTEST = (
    "from tests.groups import GroupScheduling\nfrom tests.progress import pytest_sessionstart\n"
    "def pytest_xdist_make_scheduler(config, log): return GroupScheduling(config, log)\n"
)


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What a run of a small suite in two worker processes prints, without the seconds."""
    root = tmp_path_factory.mktemp("suite")
    for name, text in {"tests/conftest.py": CONFTEST, "pytest.ini": "[pytest]\n", **SUITE}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-p", "xdist.plugin", "-n", "2", "--dist", "loadfile"]
    # Other plugins take longer to load than the suite to run.
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    return [re.sub(r"[0-9.]+ ?s\b", "", line).strip() for line in done.stdout.splitlines()]


def test_files_and_slow_tests_are_told_when_they_begin_and_failures_at_once(lines: list[str]) -> None:
    assert {line.partition("/5  ")[2] for line in lines if "/5  " in line} == {
        "tests/unit/test_a.py",
        "tests/unit/test_b.py",
        "tests/integration/test_c.py::test_four",
        "tests/integration/test_c.py::test_five",
        "FAILED tests/unit/test_a.py::test_two (call)",
    }


def test_a_failure_is_told_in_full_and_the_last_line_counts(lines: list[str]) -> None:
    assert [line for line in lines if line.startswith("E ") and "assert 1 == 2" in line]
    assert "said before" in lines
    assert any(line.startswith("FAILED tests/unit/test_a.py::test_two - ") for line in lines)
    assert lines[-1].strip("= ") == "1 failed, 4 passed in"


@pytest.mark.parametrize(("verbose", "there", "taken"), [(0, True, 1), (1, True, 0), (-1, True, 0), (0, False, 0)])
def test_it_takes_over_where_workers_run_and_nothing_else_is_asked_for(verbose: int, there: bool, taken: int) -> None:
    registered: list[object] = []
    plugins = SimpleNamespace(hasplugin=lambda _: there, getplugin=lambda _: None, register=registered.append)
    config = SimpleNamespace(pluginmanager=plugins, option=SimpleNamespace(verbose=verbose))
    progress.pytest_sessionstart(SimpleNamespace(config=config))  # type: ignore[arg-type]
    assert len(registered) == taken


def test_a_line_of_a_worker_is_seen_at_once_and_kept_for_the_report(
    capfd: pytest.CaptureFixture[str],
) -> None:
    config = SimpleNamespace(workerinput={progress.BEGAN: 0.0}, pluginmanager=SimpleNamespace(getplugin=_no_capture))
    progress.say(config, 0.0, "lab 1: Booting head")  # type: ignore[arg-type]
    out, err = capfd.readouterr()
    assert out.split() == err.split()
    assert re.fullmatch(r" *[0-9.]+ s  lab 1: Booting head\n", out)


def _no_capture(_name: str) -> SimpleNamespace:
    return SimpleNamespace(global_and_fixture_disabled=nullcontext)
