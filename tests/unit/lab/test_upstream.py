"""The stand-in for upstream's repository is the same each time, and its releases build as upstream's do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from standins import UPSTREAM

from tests.standin import FIELDS

CURRENT, OLDER, OLDEST = "4.5.3-4.8.2", "4.5.2-4.8.1", "4.2.3-4.2.0"
# Of the second metric schema: a row more, and a tag without DCGM's version.
RENAMED = "4.9.0"
Build = Callable[[str], Path]
Upstream = tuple[Path, dict[str, str]]


def test_the_repository_is_the_same_each_time(upstream: Upstream, tmp_path: Path) -> None:
    again = subprocess.run(
        [UPSTREAM / "make-repository", tmp_path / "again"], capture_output=True, text=True, check=True
    )
    assert dict(line.split() for line in again.stdout.splitlines()) == upstream[1]


def test_the_repository_replaces_itself_but_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("x")
    refused = subprocess.run([UPSTREAM / "make-repository", tmp_path], capture_output=True, text=True)
    assert refused.returncode == 1 and "was left as it is" in refused.stderr and (tmp_path / "precious").exists()
    for _ in range(2):
        subprocess.run([UPSTREAM / "make-repository", tmp_path / "repo"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("tag", "lines"),
    [
        (OLDER, ["go 1.24.0", "toolchain go1.24.13"]),
        (CURRENT, ["go 1.26.0", "toolchain go1.26.2"]),
    ],
)
def test_a_release_says_the_go_that_it_needs(upstream: Upstream, tag: str, lines: list[str]) -> None:
    command = ["git", f"--git-dir={upstream[0]}", "show", f"{tag}:go.mod"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert [line for line in text.splitlines() if line.startswith(("go ", "toolchain "))] == lines


def test_the_source_passes_go_vet_gofmt_and_its_own_tests(built: Build, go_environment: dict[str, str]) -> None:
    for command in (["go", "vet", "./..."], ["make", "check-format"], ["make", "test"]):
        done = subprocess.run(command, cwd=built(CURRENT), env=go_environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_is_linked_to_the_libc_of_the_builder(built: Build) -> None:
    program = built(CURRENT) / "cmd/dcgm-exporter/dcgm-exporter"
    linked = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    assert "libc.so.6" in linked


@pytest.mark.parametrize("tag", [CURRENT, RENAMED])
def test_the_program_says_its_release(built: Build, tag: str) -> None:
    program = built(tag) / "cmd/dcgm-exporter/dcgm-exporter"
    version = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert version == f"DCGM Exporter version {tag}\n"


def test_install_puts_the_program_and_the_counters_in_place(
    built: Build, go_environment: dict[str, str], tmp_path: Path
) -> None:
    command = ["make", "install", f"DESTDIR={tmp_path}"]
    subprocess.run(command, cwd=built(CURRENT), env=go_environment, check=True, capture_output=True)
    assert (tmp_path / "usr/bin/dcgm-exporter").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "etc/dcgm-exporter/default-counters.csv").stat().st_mode & 0o777 == 0o644


def test_one_release_does_not_build(built: Build) -> None:
    with pytest.raises(subprocess.CalledProcessError) as failure:
        built("4.5.3-4.8.2-lab1")
    assert b"undefinedOnPurpose" in failure.value.stderr


@pytest.mark.parametrize(("tag", "number"), [(OLDEST, 25), (OLDER, 26), (CURRENT, 26), (RENAMED, 27)])
def test_the_default_counters_are_those_of_the_release(built: Build, tag: str, number: int) -> None:
    lines = (built(tag) / "etc/default-counters.csv").read_text().splitlines()
    assert len([line for line in lines if line and not line.startswith("#")]) == number


def test_fields_of_the_lab_have_the_numbers_of_their_names() -> None:
    rows = (line.split(",") for line in (UPSTREAM / "source/internal/fields/fields.csv").read_text().splitlines())
    numbers = {name: int(number) for number, name, _ in rows}
    fields = json.loads(FIELDS.read_text())
    assert {name: field["number"] for name, field in fields.items()} == {name: numbers[name] for name in fields}
