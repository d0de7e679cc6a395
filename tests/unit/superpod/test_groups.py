"""Which tests share a worker process, and in which order groups begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.groups import LABS, group, rank

LAB = Path(__file__).resolve().parents[2] / "lab"


@pytest.mark.parametrize(
    ("nodeid", "name"),
    [
        ("tests/lab/test_0_lifecycle.py::test_down_leaves_nothing", "lab 1"),
        ("tests/lab/test_0_preflight.py::test_x[a full disk]", "lab 1"),
        ("tests/lab/test_1_deployment.py::TestAfter::test_a_job[8]", "lab 2"),
        ("tests/lab/test_new.py::test_x", "tests/lab/test_new.py"),
        ("tests/unit/config/test_schema.py::test_x[a::b]", "tests/unit/config/test_schema.py"),
        ("tests/unit/test_0.py::test_x", "tests/unit/test_0.py"),
    ],
)
def test_a_worker_gets_a_whole_file_and_files_that_share_a_lab_together(nodeid: str, name: str) -> None:
    assert group(nodeid) == name


def test_what_takes_longest_begins_first() -> None:
    files = [
        "tests/lint/a.py",
        "tests/integration/a.py",
        "tests/lab/test_1_a.py",
        "tests/lab/a.py",
        "tests/lab/test_0.py",
    ]
    assert sorted(files, key=rank) == [files[4], files[2], files[1], files[3], files[0]]


def test_every_name_of_a_half_is_of_files_that_are_there_and_of_one_half() -> None:
    names = [name for half in LABS.values() for name in half]
    assert len(set(names)) == len(names)
    assert [name for name in names if not list(LAB.glob(f"{name}*.py"))] == []
