"""Artifacts appear whole, are checked before they are used, and never replace something good by something bad."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import files
from superpod_dcgm.exporter import artifacts, installed

Maker = Callable[[str], None]


def program(text: str = "dcgm-exporter version 1", code: int = 0) -> Maker:
    def make(folder: str) -> None:
        binary = Path(folder, "dcgm-exporter")
        binary.write_text(f"#!/bin/sh\necho '{text}'\nexit {code}\n")
        binary.chmod(0o755)
        Path(folder, "default-counters.csv").write_text("a, gauge, b\n")

    return make


def publish(directory: Path, make: Maker, **facts: str) -> None:
    with artifacts.publishing(str(directory), facts) as folder:
        make(folder)


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    directory = tmp_path / "store/4.5.3-4.8.2/linux-amd64"
    publish(directory, program(), release="4.5.3-4.8.2", commit="c" * 40)
    return directory


def test_an_artifact_has_sums_and_says_where_it_comes_from(artifact: Path) -> None:
    artifacts.verify(str(artifact))
    manifest = json.loads((artifact / "artifact.json").read_text())
    assert manifest["commit"] == "c" * 40
    assert {"built_on", "built_at", "libc"} <= manifest.keys()
    assert [entry.name for entry in artifact.parent.iterdir()] == ["linux-amd64"]


@pytest.mark.parametrize(("commit", "stored"), [("c" * 40, True), ("d" * 40, False), ("", True)])
def test_an_artifact_counts_only_for_its_commit(artifact: Path, tmp_path: Path, commit: str, stored: bool) -> None:
    assert artifacts.is_stored(str(tmp_path / "store"), "4.5.3-4.8.2", "amd64", commit) is stored


def test_every_user_can_read_an_artifact_and_an_installation_whatever_the_umask(tmp_path: Path, strict: None) -> None:
    directory, place = tmp_path / "store/4.5.3-4.8.2/linux-amd64", tmp_path / "opt/4.5.3-4.8.2"
    publish(directory, program(), commit="c" * 40)
    installed.install(str(directory), str(place))
    for folder in (directory, place):
        assert artifacts.closed(str(folder)) == {}
        assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
            **dict.fromkeys(("default-counters.csv", "SHA256SUMS", "artifact.json"), 0o644),
            "dcgm-exporter": 0o755,
        }
        assert [up.stat().st_mode & 0o777 for up in (folder, folder.parent)] == [0o755, 0o755]


def test_what_a_killed_builder_left_goes_with_the_next_build(artifact: Path) -> None:
    for left in (".build-linux-amd64-x1", ".build-linux-arm64-x2"):
        (artifact.parent / left).mkdir()
    publish(artifact, program(), commit="d" * 40)
    # That of another architecture may be at work.
    assert sorted(entry.name for entry in artifact.parent.iterdir()) == [".build-linux-arm64-x2", "linux-amd64"]


def test_a_build_that_raises_leaves_nothing_in_the_store(artifact: Path) -> None:
    def fails(folder: str) -> None:
        Path(folder, "half").touch()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        publish(artifact, fails)
    assert [entry.name for entry in artifact.parent.iterdir()] == ["linux-amd64"]


def test_a_release_is_installed_whole_and_found_installed_afterwards(artifact: Path, tmp_path: Path) -> None:
    directory = tmp_path / "opt/4.5.3-4.8.2"
    assert not installed.is_installed(str(artifact), str(directory))
    installed.install(str(artifact), str(directory))
    assert installed.is_installed(str(artifact), str(directory))
    assert [entry.name for entry in directory.parent.iterdir()] == ["4.5.3-4.8.2"]


def test_an_artifact_with_a_wrong_checksum_is_refused_and_the_installed_one_stays(
    artifact: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "opt/4.5.3-4.8.2"
    installed.install(str(artifact), str(directory))
    (artifact / "dcgm-exporter").write_text("#!/bin/sh\necho tampered\n")
    with pytest.raises(artifacts.ReleaseError, match=r"dcgm-exporter has SHA-256 .* not used"):
        installed.install(str(artifact), str(directory))
    artifacts.verify(str(directory))


def test_a_damaged_installation_is_noticed(artifact: Path, tmp_path: Path) -> None:
    directory = tmp_path / "opt/4.5.3-4.8.2"
    installed.install(str(artifact), str(directory))
    (directory / "dcgm-exporter").write_text("damaged")
    assert not installed.is_installed(str(artifact), str(directory))


def test_an_installed_release_needs_no_store(artifact: Path, tmp_path: Path) -> None:
    directory = tmp_path / "opt/4.5.3-4.8.2"
    installed.install(str(artifact), str(directory))
    artifact.parent.rename(tmp_path / "away")
    assert installed.is_installed(str(artifact), str(directory))


def test_a_rebuilt_artifact_is_installed_again(artifact: Path, tmp_path: Path) -> None:
    directory = tmp_path / "opt/4.5.3-4.8.2"
    installed.install(str(artifact), str(directory))
    publish(artifact, program("dcgm-exporter version 2"), commit="d" * 40)
    assert not installed.is_installed(str(artifact), str(directory))


def test_a_missing_artifact_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(artifacts.ReleaseError, match=r"no artifact in .*apply dcgm.exporter.build"):
        artifacts.await_artifact(str(tmp_path / "none"), "", 0)


def test_waiting_ends_as_soon_as_the_artifact_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_SHARED_PAUSE", 0.01)
    directory = tmp_path / "store/r/linux-amd64"
    waiter = threading.Thread(target=artifacts.await_artifact, args=(str(directory), "d" * 40, 30))
    waiter.start()
    publish(directory, program(), commit="c" * 40)
    publish(directory, program(), commit="d" * 40)
    waiter.join(timeout=10)
    assert not waiter.is_alive()


def test_waiting_ends_when_the_builder_says_that_it_failed(tmp_path: Path) -> None:
    directory = str(tmp_path / "linux-amd64")
    artifacts.note_failure(directory, "make binary: exit code 2")
    with pytest.raises(artifacts.ReleaseError, match="failed on another node: make binary: exit code 2"):
        artifacts.await_artifact(directory, "c" * 40, 30)


def test_an_artifact_of_another_commit_is_not_taken(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(artifacts.ReleaseError, match="no artifact of commit d"):
        artifacts.await_artifact(str(artifact), "d" * 40, 0)
    installed.install(str(artifact), str(tmp_path / "opt/r"))
    assert not installed.is_installed(str(artifact), str(tmp_path / "opt/r"), "d" * 40)


def test_one_builds_and_the_other_waits_for_its_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX locks are between processes, so the holder is another one."""
    monkeypatch.setattr(files, "_SHARED_PAUSE", 0.05)
    directory = str(tmp_path / "store/r/linux-amd64")
    code = (
        f"import sys, time; sys.path[:0] = {sys.path!r}; from superpod_dcgm.exporter import artifacts\n"
        f"with artifacts.lock({directory!r}, 1):\n print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(artifacts.ReleaseError, match="another node has been building"),
            artifacts.lock(directory, 0.2),
        ):
            pass
        holder.stdin.close()
        started = time.monotonic()
        with artifacts.lock(directory, 30):
            assert time.monotonic() - started < 30


def test_what_another_node_says_is_bounded_and_clean(tmp_path: Path) -> None:
    directory = str(tmp_path / "linux-amd64")
    artifacts.note_failure(directory, "no \x1b[31mspace\x1b[0m\n" + "x" * 100_000)
    with pytest.raises(artifacts.ReleaseError, match="failed on another node: no space\nx") as caught:
        artifacts.await_artifact(directory, "", 30)
    assert len(str(caught.value)) < 10_000


def test_an_earlier_failure_of_a_node_whose_clock_was_ahead_is_not_of_now(tmp_path: Path) -> None:
    directory = str(tmp_path / "linux-amd64")
    artifacts.note_failure(directory, "an earlier one")
    ahead = time.time() + 5 * 3600
    os.utime(tmp_path / ".linux-amd64.failed", (ahead, ahead))
    with pytest.raises(artifacts.ReleaseError, match="There is no artifact"):
        artifacts.await_artifact(directory, "", 0)


@pytest.mark.parametrize("clock", [-3600, 3600])
def test_a_failure_counts_whatever_the_builders_clock_says(tmp_path: Path, clock: int, monkeypatch: Any) -> None:
    directory = str(tmp_path / "linux-amd64")
    artifacts.note_failure(directory, "an earlier one")
    old = time.time() - 7200
    os.utime(tmp_path / ".linux-amd64.failed", (old, old))

    def fail(seconds: float) -> None:
        artifacts.note_failure(directory, "this one")
        moment = time.time() + clock
        os.utime(tmp_path / ".linux-amd64.failed", (moment, moment))

    monkeypatch.setattr(artifacts.time, "sleep", fail)
    with pytest.raises(artifacts.ReleaseError, match="failed on another node: this one"):
        artifacts.await_artifact(directory, "", 30)


def test_a_pipe_in_the_place_of_a_failure_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".linux-amd64.failed")
    with pytest.raises(artifacts.ReleaseError, match="no artifact"):
        artifacts.await_artifact(str(tmp_path / "linux-amd64"), "", 0)
