"""Which installed releases may go, and what an installation is checked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from superpod_dcgm.exporter import artifacts, installed

from tests.exporter_node import NEW, OLD, ExporterNode

OLDEST, OLDER = "4.4.1-4.6.0", "4.5.0-4.7.1"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    """Return a node with four releases, installed one after the other, and a folder of somebody else."""
    here = ExporterNode(tmp_path, monkeypatch)
    for age, release in enumerate((NEW, OLD, OLDER, OLDEST, "somebody's")):
        folder = here.install(release)
        os.utime(folder, (1000 - age, 1000 - age))
    (here.root / "opt/4.0.0-file").write_text("")
    (here.root / "opt/4.0.0-link").symlink_to(NEW)
    return here


@pytest.mark.parametrize(
    ("keep", "wanted", "linked", "good", "expected"),
    [
        (2, NEW, NEW, None, [OLDER, OLDEST]),
        (1, NEW, NEW, None, [OLD, OLDER, OLDEST]),
        (3, NEW, OLDEST, None, [OLDER]),
        (1, NEW, OLDEST, OLDER, [OLD]),
        (1, OLDEST, OLDEST, OLDEST, [NEW, OLD, OLDER]),
        (4, NEW, NEW, None, []),
        (9, NEW, NEW, None, []),
        (1, "9.9.9-9.9.9", None, None, [OLD, OLDER, OLDEST]),
    ],
)
def test_the_oldest_that_nobody_needs_go(
    here: ExporterNode, keep: int, wanted: str, linked: str | None, good: str | None, expected: list[str]
) -> None:
    here.link(linked)
    if good:
        (here.root / "var/running.json").write_text(f'{{"release": "{good}", "files": {{}}}}')
    assert installed.surplus(keep, wanted) == expected


def test_a_node_without_releases_has_none_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = ExporterNode(tmp_path, monkeypatch)
    (here.root / "opt").rmdir()
    assert installed.surplus(1, NEW) == []
    assert installed.linked_release() is None


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    directory = tmp_path / "store/linux-amd64"
    with artifacts.publishing(str(directory), {"commit": "c"}) as folder:
        binary = Path(folder, artifacts.BINARY)
        binary.write_text("#!/bin/sh\necho one\n")
        binary.chmod(0o755)
        Path(folder, artifacts.COUNTERS).write_text("a, gauge, b\n")
    return directory


@pytest.mark.parametrize(("commit", "expected"), [("", True), ("c", True), ("d", False)])
def test_an_installation_of_another_commit_is_none(artifact: Path, tmp_path: Path, commit: str, expected: bool) -> None:
    installed.install(str(artifact), str(tmp_path / "opt/one"))
    assert installed.is_installed(str(artifact), str(tmp_path / "opt/one"), commit) is expected
    assert installed.is_installed(str(artifact), str(tmp_path / "opt/none"), commit) is False


def test_an_artifact_that_cannot_be_copied_leaves_what_was_installed(artifact: Path, tmp_path: Path) -> None:
    directory = tmp_path / "opt/one"
    installed.install(str(artifact), str(directory))
    (artifact / artifacts.MANIFEST).unlink()
    with pytest.raises(artifacts.ReleaseError, match="cannot be installed to"):
        installed.install(str(artifact), str(directory))
    assert installed.is_installed(str(tmp_path / "out of reach"), str(directory))
    assert [path.name for path in directory.parent.iterdir()] == ["one"]
