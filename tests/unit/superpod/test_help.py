"""Help is answered by setup.sh itself, with the words of the command line, and installs nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from superpod import help as superpod_help

REPOSITORY = Path(__file__).resolve().parents[3]
PAGES = dict(page.split("\n", 1) for page in superpod_help.text().split("== ")[1:])
Ask = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Run setup.sh of a fresh checkout on a machine that has bash and dirname, and nothing that could install."""
    (tmp_path / "superpod").mkdir()
    (tmp_path / "bin").mkdir()
    for tool in ("bash", "dirname"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or "")
    shutil.copy(REPOSITORY / "setup.sh", tmp_path)
    shutil.copy(superpod_help.FILE, tmp_path / "superpod")
    before = sorted(tmp_path.rglob("*"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(tmp_path / "bin/bash"), str(tmp_path / "setup.sh"), *arguments]
        environment = {"PATH": str(tmp_path / "bin"), "HOME": os.devnull}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=20, check=False)
        assert sorted(tmp_path.rglob("*")) == before
        return done

    return run


def test_the_pages_are_what_the_command_line_says() -> None:
    assert superpod_help.FILE.read_text() == superpod_help.text(), "run python -m superpod.help"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_has_its_help_where_nothing_is_installed(ask: Ask, page: str) -> None:
    done = ask(*page.split()[1:], "--help")
    assert (done.returncode, done.stdout, done.stderr) == (0, PAGES[page], "")


@pytest.mark.parametrize(
    ("line", "page"),
    [
        ("", "./setup.sh"),
        ("-h", "./setup.sh"),
        ("lab --name other -h", "./setup.sh lab"),
        ("lab --name other up --nodes 3 -h", "./setup.sh lab up"),
        ("lab exec dgx-01 --help", "./setup.sh lab exec"),
        ("test --fast -k one -h", "./setup.sh test"),
    ],
)
def test_help_is_found_among_other_words(ask: Ask, line: str, page: str) -> None:
    assert ask(*line.split()).stdout == PAGES[page]


@pytest.mark.parametrize("line", ["nothing", "lab nothing"])
def test_help_for_an_unknown_command_is_an_error(ask: Ask, line: str) -> None:
    done = ask(*line.split(), "--help")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f'Error: There is no command "{line}".\n')


def test_help_behind_two_dashes_is_not_ours(ask: Ask) -> None:
    done = ask("lab", "exec", "dgx-01", "--", "nvidia-smi", "--help")
    assert done.returncode == 1
    assert "Usage" not in done.stdout
