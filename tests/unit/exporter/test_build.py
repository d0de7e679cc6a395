"""A build makes what the commit says, fails with a reason, and never leaves its directory behind."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from superpod_dcgm.base import process
from superpod_dcgm.exporter import build as exporter_build
from superpod_dcgm.exporter import go
from superpod_dcgm.exporter import source as exporter_source

Make = Callable[..., exporter_build.Plan]
Move = Callable[[str], None]
RELEASE = "4.5.3-4.8.2"
PRODUCT = "cmd/dcgm-exporter/dcgm-exporter"
MAKEFILE = f"binary:\n\tprintf '#!/bin/sh\\n' > {PRODUCT}; chmod 755 {PRODUCT}\n"


def build(plan: exporter_build.Plan, tmp_path: Path) -> Path:
    result = tmp_path / "result"
    result.mkdir()
    try:
        exporter_build.build(plan, str(result))
    finally:
        assert not os.path.exists(plan.directory)
    return result


def test_the_binary_and_the_counters_of_the_tag_are_collected(plan: Make, tmp_path: Path, source: Path) -> None:
    (source / "Makefile").write_text("binary:\n\tfalse\n")  # not committed: must not count
    result = build(plan(), tmp_path)
    assert "version one" in (result / "dcgm-exporter").read_text()
    assert (result / "default-counters.csv").read_text().startswith("DCGM_FI_DEV_GPU_UTIL")


def test_a_tag_that_was_moved_is_not_built(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    pinned = plan()
    move_tag("binary:\n\techo evil\n")
    with pytest.raises(exporter_build.BuildError, match=rf"not to {pinned.commit}.*dcgm:exporter:commit"):
        build(pinned, tmp_path)


def test_an_unreachable_source_is_named(plan: Make, tmp_path: Path) -> None:
    with pytest.raises(exporter_build.BuildError, match="/nowhere/dcgm-exporter"):
        build(plan(source="/nowhere/dcgm-exporter"), tmp_path)


def test_a_build_that_fails_shows_its_last_lines(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    move_tag("binary:\n\t@echo undefined: thing\n\t@false\n")
    with pytest.raises(exporter_build.BuildError, match=r"(?s)make binary: exit code 2.*undefined: thing"):
        build(plan(), tmp_path)


def test_the_reason_of_a_failure_comes_first(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    move_tag("binary:\n\t@echo 'a.go:1:2: undefined: thing'\n\t@seq 40\n\t@printf '\\033[31mon\\n'\n\t@false\n")
    with pytest.raises(exporter_build.BuildError) as caught:
        build(plan(), tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0] == "make binary: exit code 2: a.go:1:2: undefined: thing"
    assert ("on" in lines, "\x1b" in str(caught.value), len(lines)) == (True, False, 17)


def test_a_directory_that_no_build_made_is_not_removed(plan: Make, tmp_path: Path) -> None:
    wanted = plan()
    (Path(wanted.directory) / "thesis").mkdir(parents=True)
    with pytest.raises(exporter_build.BuildError, match=r"no build made it.*dcgm:exporter:build:directory"):
        exporter_build.build(wanted, str(tmp_path))
    assert (Path(wanted.directory) / "thesis").is_dir()


def test_what_an_earlier_build_left_is_removed(plan: Make, tmp_path: Path) -> None:
    wanted = plan()
    (Path(wanted.directory) / "dcgm-exporter/.git").mkdir(parents=True)
    assert (build(wanted, tmp_path) / "dcgm-exporter").exists()


@pytest.mark.parametrize("kind", ["a file", "a link"])
def test_what_is_no_directory_is_not_built_in(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "dcgm"
    path.write_text("") if kind == "a file" else path.symlink_to(tmp_path)
    assert exporter_build.is_ours(str(path)) is False


def test_a_build_gets_nothing_of_the_callers_environment_and_writes_only_in_its_directory(
    plan: Make, tmp_path: Path, move_tag: Move, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("BASH_ENV", "GIT_CONFIG_GLOBAL", "GOFLAGS", "https_proxy", "CGO_CFLAGS"):
        monkeypatch.setenv(name, "/leaked")
    out = tmp_path / "environment"
    move_tag(f"{MAKEFILE}\tenv > {out}; cat $$XDG_CONFIG_HOME/go/telemetry/mode >> {out}; touch $$TMPDIR/x\n")
    wanted = plan(environment={"HTTPS_PROXY": "http://proxy:1"})
    build(wanted, tmp_path)
    found = out.read_text()
    assert "leaked" not in found
    assert found.endswith("off")
    variables = dict(line.split("=", 1) for line in found.splitlines() if "=" in line)
    assert variables["HTTPS_PROXY"] == "http://proxy:1"
    homes = ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "TMPDIR", "GOCACHE", "GOPATH")
    assert [name for name in homes if not variables[name].startswith(wanted.directory)] == []


def test_asking_go_for_its_version_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = tmp_path / "go"
    command.write_text(
        '#!/bin/sh\nmkdir -p "$HOME/.config/x" && echo "$HOME" > "$0.home" && echo go version go1.26.2\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv("GOFLAGS", "-broken")
    assert go.version(str(command)) == "1.26.2"
    home = Path((tmp_path / "go.home").read_text().strip())
    assert (home.exists(), home.is_relative_to("/nonexistent")) == (False, False)


def test_a_build_that_leaves_no_binary_is_not_a_success(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    move_tag("binary:\n\t@true\n")
    with pytest.raises(exporter_build.BuildError, match="left no cmd/dcgm-exporter/dcgm-exporter"):
        build(plan(), tmp_path)


def test_a_result_that_does_not_run_is_no_success(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    binary = "cmd/dcgm-exporter/dcgm-exporter"
    move_tag(f"binary:\n\t@printf '#!/bin/sh\\necho GLIBC_2.38 not found\\nexit 1\\n' > {binary}; chmod 755 {binary}\n")
    with pytest.raises(
        exporter_build.BuildError, match=r"(?s)dcgm-exporter --version: exit code 1.*GLIBC_2.38 not found"
    ):
        build(plan(), tmp_path)


@pytest.mark.parametrize("how", ["link", "fifo", "folder"])
def test_only_a_file_of_the_build_is_taken(plan: Make, tmp_path: Path, move_tag: Move, how: str) -> None:
    # The counters: nobody runs them.
    secret = tmp_path / "secret"
    secret.write_text("secret\n")
    make = {"link": f"ln -sf {secret}", "fifo": "rm -f $$f; mkfifo", "folder": "rm -f $$f; mkdir"}[how]
    binary = "cmd/dcgm-exporter/dcgm-exporter"
    good = f"printf '#!/bin/sh\\n' > {binary}; chmod 755 {binary}"
    move_tag(f"binary:\n\t@{good}; f=etc/default-counters.csv; {make} $$f\n")
    with pytest.raises(exporter_build.BuildError, match=r"default-counters\.csv"):
        build(plan(), tmp_path)
    assert not (tmp_path / "result/default-counters.csv").exists()


def test_a_bundle_can_be_read_by_all_whatever_the_umask(plan: Make, tmp_path: Path, source: Path, strict: None) -> None:
    bundle = tmp_path / "store/source/x.bundle"
    exporter_source.publish(str(source), RELEASE, plan().commit, str(bundle))
    assert [path.stat().st_mode & 0o777 for path in (bundle, *bundle.parents[:2])] == [0o644, 0o755, 0o755]


def test_a_build_that_hangs_is_ended_with_its_children(plan: Make, tmp_path: Path, move_tag: Move) -> None:
    pid_file = tmp_path / "pid"
    move_tag(f"binary:\n\t@sleep 300 & echo $$! > {pid_file}; wait\n")
    with pytest.raises(exporter_build.BuildError, match="not finished after 2 s"):
        build(plan(timeout=2), tmp_path)
    deadline = time.monotonic() + 10
    while _runs(int(pid_file.read_text())) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _runs(int(pid_file.read_text()))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_build_can_come_from_a_bundle(plan: Make, tmp_path: Path, source: Path) -> None:
    pinned = plan()
    bundle = exporter_source.bundle(str(tmp_path / "store"), pinned.commit)
    exporter_source.publish(str(source), RELEASE, pinned.commit, bundle)
    shutil.rmtree(source)
    settings = {"path": "", "url": "https://example.com/dcgm-exporter.git"}
    result = build(dataclasses.replace(pinned, source=exporter_source.choose(settings, bundle)), tmp_path)
    assert "version one" in (result / "dcgm-exporter").read_text()


def test_a_checkout_of_another_user_is_read_also_by_old_git(
    plan: Make, tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = plan().commit
    # git's own tests use this variable; git before 2.38 takes no trust from the command line, as this wrapper does not.
    pretend = "export GIT_TEST_ASSUME_DIFFERENT_OWNER=1"
    wrapper = tmp_path / "bin/git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\n{pretend}\n[ "$1" = -c ] && shift 2\nexec {shutil.which("git")} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(process, "PATH", f"{wrapper.parent}:/usr/bin:/bin")
    exporter_source.publish(str(source), RELEASE, commit, str(tmp_path / "store/x.bundle"))
    assert (tmp_path / "store/x.bundle").exists()


def test_a_checkout_at_another_commit_is_not_offered(source: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "store/source/x.bundle"
    with pytest.raises(exporter_source.SourceError, match="not offered"):
        exporter_source.publish(str(source), RELEASE, "0" * 40, str(bundle))
    assert not bundle.exists()


@pytest.mark.parametrize(
    ("found", "minimum", "enough"),
    [("1.26.2", "1.26.0", True), ("1.26", "1.26.0", True), ("1.18.1", "1.26.0", False), ("1.27rc1", "1.26.0", True)],
)
def test_go_versions_are_compared_by_number(found: str, minimum: str, enough: bool) -> None:
    assert go.is_new_enough(found, minimum) is enough


@pytest.mark.parametrize(
    ("settings", "prefix"),
    [
        ({"enabled": True, "method": "archive", "directory": "/opt/go", "version": "1.26.2"}, "/opt/go/go1.26.2/go"),
        ({"enabled": True, "method": "package", "directory": "/opt/go", "version": "1.26.2"}, "/usr"),
    ],
)
def test_the_prefix_of_go_follows_the_method(settings: dict[str, object], prefix: str) -> None:
    assert go.prefix(settings) == prefix
