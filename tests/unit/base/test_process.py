"""What comes of a program that runs, fails, hangs, cannot be executed or is not there."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest
from superpod_dcgm.base import process
from superpod_dcgm.base.process import Answer


@pytest.fixture
def program(tmp_path: Path) -> str:
    """A file that is executable and no program."""
    path = tmp_path / "program"
    path.write_bytes(b"\0")
    path.chmod(0o755)
    return str(path)


def test_output_error_and_code_are_told() -> None:
    script = "echo out; echo err >&2; exit 3"
    assert process.run(["sh", "-c", script], 20) == Answer(3, "out\n", "err\n")
    together = process.run(["sh", "-c", script], 20, together=True)
    assert together == Answer(3, "out\nerr\n")


def test_it_gets_the_environment_that_is_given_and_nothing_to_read() -> None:
    answer = process.run(["/bin/sh", "-c", "cat; echo $A$HOME; pwd"], 20, {"A": "a"}, "/usr")
    assert answer == Answer(0, "a\n/usr\n")


def test_one_that_hangs_is_late() -> None:
    began = time.monotonic()
    assert process.run(["sleep", "20"], 0.2) == Answer(None, error="does not answer", late=True)
    assert time.monotonic() - began < 15


def test_only_the_program_itself_counts_as_missing(program: str, tmp_path: Path) -> None:
    assert process.run([str(tmp_path / "none")], 20).missing is True
    assert process.run(["no-such-program"], 20).missing is True
    elsewhere = process.run(["true"], 20, directory=str(tmp_path / "none"))
    assert (elsewhere.code, elsewhere.missing, elsewhere.late) == (None, False, False)
    assert "No such file" in elsewhere.problem
    broken = process.run([program], 20)
    assert (broken.code, broken.missing, broken.late) == (None, False, False)
    assert "Exec format error" in broken.problem


LEAKS = ("BASH_ENV", "http_proxy", "GIT_DIR", "GOFLAGS", "SLURM_CONF", "LANG", "LANGUAGE", "HOME")


def test_a_program_gets_nothing_of_the_callers_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LEAKS:
        monkeypatch.setenv(name, "/leaked")
    monkeypatch.setenv("PATH", "/leaked")
    lines = process.run(["env"], 20).output.splitlines()
    assert "leaked" not in "".join(lines)
    assert {"LC_ALL=C", f"PATH={process.PATH}"} <= set(lines)
    assert process.surroundings(GIT_X="1").keys() - {"HOME", "USER", "LOGNAME"} == {"PATH", "LC_ALL", "GIT_X"}


@pytest.mark.parametrize(
    ("script", "problem"),
    [
        ("echo fatal: a >&2; echo hint: b >&2; exit 1", "fatal: a"),
        ("echo on standard output; exit 1", "on standard output"),
        ("exit 3", "exit code 3"),
        ("kill -9 $$", "ended by SIGKILL"),
        ("kill -35 $$", "ended by signal 35"),
    ],
)
def test_the_problem_is_what_tells_why(script: str, problem: str) -> None:
    assert process.run(["bash", "-c", script], 20).problem == problem


# name: (program, seconds, bytes; code, output, what ended it)
BOUNDED = {
    "ends": ("print('x')", 20, 100, (0, "x\n", "")),
    "fails": ("import sys; print('x'); sys.exit('why')", 20, 100, (1, "x\n", "")),
    "says too much": ("while True: print('x' * 99)", 20, 100, (None, f"{'x' * 99}\n", "cut")),
    "hangs": ("import time; print('x', flush=True); time.sleep(60)", 0.7, 100, (None, "x\n", "late")),
    "says little and complains without end": (
        "import sys\nprint('x', flush=True)\nwhile True: print('y' * 9999, file=sys.stderr)",
        *(0.7, 100, (None, "x\n", "late")),
    ),
    "leaves one that holds its output": (
        "import os, time\nif os.fork() == 0:\n os.setsid()\n time.sleep(3)\nelse: print('x', flush=True)",
        *(0.7, 100, (None, "x\n", "late")),
    ),
}


@pytest.mark.parametrize(("program", "seconds", "most", "expected"), BOUNDED.values(), ids=BOUNDED.keys())
def test_what_a_program_says_is_bounded_in_time_and_bytes(program, seconds, most, expected) -> None:
    began = time.monotonic()
    answer = process.run_bounded([sys.executable, "-c", program], seconds, most)
    ended = "cut" if answer.cut else "late" if answer.late else ""
    assert (answer.code, answer.output, ended) == expected
    assert len(answer.error) < 100_000
    assert time.monotonic() - began < 10
    if answer.code == 1:
        assert answer.problem == "why"


def test_a_program_that_is_missing_is_told_when_bounded_too() -> None:
    answer = process.run_bounded(["no-such-program"], 1, 1)
    assert (answer.code, answer.missing) == (None, True)
