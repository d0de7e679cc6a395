"""A source repository whose `make binary` is quick, for the real chain of a build; and state modules to call."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from superpod_dcgm.exporter import build

RELEASE = "4.5.3-4.8.2"
MAKEFILE = """binary:
\tprintf '#!/bin/sh\\necho version one\\n' > cmd/dcgm-exporter/dcgm-exporter
\tchmod 755 cmd/dcgm-exporter/dcgm-exporter
"""


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "init.defaultBranch=main"]
    answer = subprocess.run(
        ["git", *identity, "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


@pytest.fixture
def strict() -> Iterator[None]:
    """Work with the umask of a hardened site's minion."""
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a checkout with the tag RELEASE."""
    folder = tmp_path / "source"
    (folder / "cmd/dcgm-exporter").mkdir(parents=True)
    (folder / "etc").mkdir()
    (folder / "cmd/dcgm-exporter/main.txt").write_text("not Go\n")
    (folder / "etc/default-counters.csv").write_text("DCGM_FI_DEV_GPU_UTIL, gauge, utilisation\n")
    (folder / "Makefile").write_text(MAKEFILE)
    git(folder, "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "-m", "Release")
    git(folder, "tag", "-a", "-m", RELEASE, RELEASE)
    return folder


@pytest.fixture
def plan(source: Path, tmp_path: Path) -> Callable[..., build.Plan]:
    """Return a function that makes a build plan, with values replaced by keyword."""

    def make(**values: object) -> build.Plan:
        settings = {
            "release": RELEASE,
            "commit": git(source, "rev-parse", f"{RELEASE}^{{commit}}"),
            "source": str(source),
            "go": "/usr",
            "directory": str(tmp_path / "build/dcgm"),
            "timeout": 60,
        }
        return build.Plan(**{**settings, **values})

    return make


@pytest.fixture
def move_tag(source: Path) -> Callable[[str], None]:
    """Return a function that commits another Makefile and moves the release tag there."""

    def move(makefile: str) -> None:
        (source / "Makefile").write_text(makefile)
        git(source, "commit", "--quiet", "-am", "Another Makefile")
        git(source, "tag", "-f", RELEASE)

    return move


@pytest.fixture
def call(load: Callable[..., Any]) -> Callable[..., SimpleNamespace]:
    """
    Return a function that calls a state and returns its return: ``call("dcgm_path.emptied", test=True, name=…)``.

    Through Salt's loader a call takes a hundred times as long, which is for the functional level.
    """

    def run(function: str, test: bool = False, states: dict[str, Any] | None = None, **arguments: Any) -> Any:
        module, name = function.split(".")
        loaded = load(f"_states/{module}.py", __opts__={"test": test}, __states__=states or {})
        return SimpleNamespace(**{"warnings": [], **getattr(loaded, name)(**arguments)})

    return run
