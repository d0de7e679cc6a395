"""setup.sh hands over to the command line; the environment that it makes is there already."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("line", "directory", "words"),
    [
        ("job 4711 --html page.html", "elsewhere", "-IB -m superpod job 4711 --html page.html"),
        ("report --csv", "elsewhere", "-IB -m superpod report --csv"),
        ("top", "elsewhere", "-IB -m superpod top"),
        ("nothing", "checkout", "-m superpod nothing"),
    ],
)
def test_files_of_reports_are_meant_from_where_the_user_is(
    line: str, directory: str, words: str, tmp_path: Path
) -> None:
    checkout, venv, bin_ = tmp_path / "checkout", tmp_path / "venv", tmp_path / "bin"
    for folder in (checkout, venv / "bin", bin_, tmp_path / "elsewhere"):
        folder.mkdir(parents=True)
    for name in ("setup.sh", "requirements.txt"):
        shutil.copy(REPOSITORY / name, checkout)
    digest = hashlib.sha256((checkout / "requirements.txt").read_bytes()).hexdigest()[:16]
    (venv / "superpod.stamp").write_text(f"requirements.txt {digest} {platform.python_version()} command\n")
    (venv / "bin/python").write_text('#!/bin/sh\necho "$PWD: $*"\n')
    (bin_ / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for program in (venv / "bin/python", bin_ / "python3"):
        program.chmod(0o755)
    environment = {"PATH": f"{bin_}:{os.environ['PATH']}", "SUPERPOD_VENV": str(venv)}
    answer = subprocess.run(
        [str(checkout / "setup.sh"), *line.split()],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (answer.stdout, answer.stderr) == (f"{tmp_path / directory}: {words}\n", "")
