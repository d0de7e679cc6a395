"""How much of the deciding code the tests run is judged when all of them run, and only then."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import measured

CODE = "def f(x):\n    if x:\n        return 1\n    return 2\n"
FOLDERS = list(measured.FOLDERS)


def asked(*arguments: str, **options: object) -> SimpleNamespace:
    names = ("keyword", "markexpr", "deselect", "ignore", "ignore_glob", "collectonly")
    option = SimpleNamespace(**{**dict.fromkeys(names), **options})
    return SimpleNamespace(
        option=option, args=list(arguments), invocation_params=SimpleNamespace(dir=measured.REPOSITORY)
    )


@pytest.mark.parametrize(
    ("arguments", "options", "whole"),
    [
        (["tests"], {}, True),
        (["."], {}, True),
        (FOLDERS, {}, True),
        ([*FOLDERS, "tests/lint"], {}, True),
        (FOLDERS[1:], {}, False),
        (["tests/unit/exporter/test_probe.py"], {}, False),
        (["tests"], {"keyword": "stale"}, False),
        (["tests"], {"markexpr": "unit"}, False),
        (["tests"], {"ignore": ["tests/unit/lab"]}, False),
        (["tests"], {"collectonly": True}, False),
        (["tests"], {"lf": True}, False),
    ],
)
def test_only_whole_folders_are_measured(arguments: list[str], options: dict[str, object], whole: bool) -> None:
    assert measured.runs_all(asked(*arguments, **options)) is whole


@pytest.mark.parametrize(("lines", "share", "missing"), [([1, 2, 3, 4], 100, ""), ([1, 2, 4], 75, "3"), ([], 0, "1-4")])
def test_a_shortfall_names_file_share_and_lines(tmp_path: Path, lines: list[int], share: int, missing: str) -> None:
    (tmp_path / "a.py").write_text(CODE)
    found = measured.shortfalls({str(tmp_path / "a.py"): lines} if lines else {}, tmp_path, ("a.py",))
    text = f"a.py: {share}.0 % of its lines are run, less than {measured.FLOOR} %; missing are {missing}"
    assert found == {"a.py": text if missing else ""}


def test_lines_of_all_workers_count_together_and_a_crashed_one_has_none() -> None:
    found = measured.Measurement(asked("tests"))
    for output in ({measured._OF_WORKER: {"a.py": [1, 2]}}, {measured._OF_WORKER: {"a.py": [2, 3], "b.py": [1]}}, {}):
        found.pytest_testnodedown(SimpleNamespace(workeroutput=output))
    found.pytest_testnodedown(SimpleNamespace())
    assert found.lines == {"a.py": {1, 2, 3}, "b.py": {1}}


def test_every_file_that_is_held_to_the_floor_is_there() -> None:
    assert [name for name in measured.HELD if not (measured.REPOSITORY / name).is_file()] == []


def test_ci_is_told_how_much_of_all_code_is_run(tmp_path: Path) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(CODE)
    found = measured.share_of_all({str(tmp_path / "a.py"): [1, 2, 3, 4], str(tmp_path / "b.py"): [1, 2]})
    assert found.endswith("run 75.0 % of 8 lines in 2 files")
