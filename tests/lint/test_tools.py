"""The usual checkers find nothing."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from files import PYTHON, REPOSITORY, SHELL, STATES, YAML, run, tool

GO = REPOSITORY / "lab/upstream/source"
# No network and no other toolchain; the home is where Go keeps its cache.
GO_ENVIRONMENT = {"PATH": os.defpath, "HOME": str(Path.home()), "GOTOOLCHAIN": "local", "GOPROXY": "off"}


def clean(found: str) -> None:
    if found:
        pytest.fail(found, pytrace=False)


def test_ruff_finds_nothing_in_the_python_code() -> None:
    clean(run(tool("ruff"), "check", "--no-cache", *PYTHON))


def test_the_python_code_is_formatted() -> None:
    clean(run(tool("ruff"), "format", "--no-cache", "--check", *PYTHON))


def test_mypy_finds_nothing_in_the_code_of_the_product() -> None:
    # All folders that pyproject.toml names, at once; a cache would be left in the checkout.
    clean(run(tool("mypy"), "--cache-dir", os.devnull, "--no-error-summary"))


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    clean(run(tool("shellcheck"), *SHELL))


def test_yamllint_finds_nothing() -> None:
    clean(run(tool("yamllint"), "--strict", *YAML))


def test_salt_lint_finds_nothing_in_the_states() -> None:
    clean(run(tool("salt-lint"), "-c", REPOSITORY / ".salt-lint", *STATES))


def test_the_go_code_is_formatted() -> None:
    root = subprocess.run([tool("go"), "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    answer = subprocess.run([f"{root}/bin/gofmt", "-l", "."], cwd=GO, capture_output=True, text=True)
    assert (answer.stdout, answer.stderr) == ("", "")


def test_go_vet_finds_nothing() -> None:
    clean(run(tool("go"), "vet", "./...", cwd=GO, **GO_ENVIRONMENT))


@pytest.mark.parametrize(
    ("program", "suffix", "text"),
    [
        (("ruff", "check"), ".py", '"""A module."""\nimport os\n'),
        (("ruff", "format", "--check"), ".py", "x = {  'a':1}\n"),
        (("mypy", "--cache-dir", os.devnull, "--config-file", REPOSITORY / "pyproject.toml"), ".py", "x: int = None\n"),
        (("shellcheck",), ".sh", "#!/bin/bash\nrm -rf $1/*\n"),
        (("yamllint", "--strict"), ".yaml", "a: 1\na: 2\n"),
        (("salt-lint",), ".sls", "a:\n  file.managed:\n    - mode: 644\n"),
    ],
)
def test_each_checker_finds_what_it_is_there_for(tmp_path, program, suffix, text) -> None:
    path = tmp_path / f"wrong{suffix}"
    path.write_text(text)
    assert run(tool(program[0]), *program[1:], path) != ""
