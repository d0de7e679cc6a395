"""The lab's stand-in answers as NVIDIA's program of the same release did."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import comparison
import pytest
import questions
from subject import Program, subject

from tests import standin

# One that answers in the second metric schema is asked in tests/unit/lab.
RENAMED = "4.9.0"
RELEASES = ("4.2.3-4.2.0", "4.4.2-4.7.1", "4.5.2-4.8.1", "4.5.3-4.8.2", comparison.INFERRED)
TABLE = comparison.table()


def test_every_question_has_an_answer_with_its_source() -> None:
    assert set(TABLE) == set(questions.QUESTIONS)
    for name, row in TABLE.items():
        assert set(row) <= {"source", "answer", "others", "inferred"}, name
        assert re.search(r"\b[RLSN]\b", row["source"]), name
        assert set(row.get("others", ())) < set(RELEASES) - {comparison.INFERRED}, name


@pytest.mark.parametrize("question", questions.QUESTIONS)
@pytest.mark.parametrize("release", RELEASES)
def test_the_standin_answers_by_the_table(
    answers: Callable[[str], dict[str, Any]], release: str, question: str
) -> None:
    lines = comparison.differences(comparison.expected(TABLE[question], release), answers(release)[question])
    assert not lines, "\n".join(["expected, answered:", *lines])


def test_releases_of_the_lab_are_those_of_the_table() -> None:
    listed = json.loads((standin.MAKE_REPOSITORY.parent / "releases.json").read_text())
    assert [one["tag"] for one in listed if "-lab" not in one["tag"]] == [*RELEASES, RENAMED]


def test_a_program_that_does_not_start_is_told_and_not_taken_for_an_answer(program: Callable[[str], Program]) -> None:
    found = program(RELEASES[3])
    broken = Program("/bin/false", found.counters, found.host_engine, found.gpus)
    assert "RuntimeError" in questions.ask(broken, "health", {"identity": 1})["not answered"]


@pytest.mark.parametrize(
    ("one", "other", "lines"),
    [
        ({"a": 1, "b": [1]}, {"a": 1, "b": [1]}, []),
        ({"a": 1}, {"a": 2}, ["a: 1, 2"]),
        ({"a": {"b": 1}}, {"a": {"b": 2, "c": 3}}, ["a/b: 1, 2", "a/c: 'nothing', 3"]),
        ([1], {"a": 1}, [": [1], {'a': 1}"]),
    ],
)
def test_differences_are_named_by_their_place(one: Any, other: Any, lines: list[str]) -> None:
    assert comparison.differences(one, other) == lines


def test_the_release_is_part_of_what_version_says(program: Callable[[str], Program]) -> None:
    for release in RELEASES:
        with subject(program(release), {}) as found:
            found.start("--version")
            assert found.ends() == 0 and found.log() == f"DCGM Exporter version {release}\n"


def test_the_program_has_the_names_that_its_release_knows_among_its_bytes(program: Callable[[str], Program]) -> None:
    old, new = ((standin.REPOSITORY / program(tag).exporter).read_bytes() for tag in (RELEASES[0], RELEASES[3]))
    for name in ("DCGM_FI_DEV_GPU_UTIL", "DCGM_EXP_XID_ERRORS_COUNT", "dcgm_gpu_temp"):
        assert name.encode() in old and name.encode() in new
    assert b"DCGM_EXP_P2P_STATUS" in new and b"DCGM_EXP_P2P_STATUS" not in old
