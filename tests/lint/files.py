"""The files of the project, by kind, and the tools that check them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
_SHELLS = ("bash", "sh", "dash")


def _listed() -> list[Path]:
    """What git knows or would take; without git, as in an unpacked archive, all that is there."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if answer.returncode:
        return sorted(REPOSITORY.rglob("*"))
    return [REPOSITORY / name for name in sorted(answer.stdout.split("\0")) if name]


def _is_text(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and b"\0" not in path.read_bytes()[:4096]


FILES = [path for path in _listed() if _is_text(path)]


def name(path: Path) -> str:
    return path.relative_to(REPOSITORY).as_posix()


def interpreter(text: str) -> str:
    """Return the program that a script names in its first line, or an empty string."""
    first = text.split("\n", 1)[0]
    if not first.startswith("#!"):
        return ""
    words = first[2:].split()
    program = words[1] if words[0].endswith("/env") else words[0]
    return program.rpartition("/")[2]


def by_suffix(*suffixes: str) -> list[Path]:
    return [path for path in FILES if path.suffix in suffixes]


SHELL = [path for path in FILES if path.suffix == ".sh" or interpreter(path.read_text()) in _SHELLS]
PYTHON = [path for path in FILES if path.suffix == ".py" or interpreter(path.read_text()).startswith("python")]
STATES = by_suffix(".sls")
YAML = by_suffix(".yaml", ".yml")
TEMPLATES = by_suffix(".jinja")


def tool(program: str) -> str:
    """Return a program of the tests' own environment, or one of the system."""
    own = Path(sys.executable).parent / program
    found = str(own) if own.exists() else shutil.which(program)
    assert found, f"{program} is not installed: requirements-test.txt brings it"
    return found


def run(*command: object, cwd: Path = REPOSITORY, **environment: str) -> str:
    """Return what a tool finds: its output if it fails, else an empty string."""
    answer = subprocess.run(
        [str(word) for word in command], cwd=cwd, capture_output=True, text=True, env=environment or None
    )
    return f"{answer.stdout}{answer.stderr}".strip() if answer.returncode else ""
