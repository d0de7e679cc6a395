"""Disks of a lab are compared: what was added, changed or removed is found, whichever layer it is in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.disks import Disk, differences


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    """An image with a file in a folder, and a writable layer above it."""
    image, upper = tmp_path / "image", tmp_path / "upper"
    (image / "etc").mkdir(parents=True)
    (image / "etc/conf").write_text("as shipped")
    (image / "etc/link").symlink_to("conf")
    upper.mkdir()
    return upper, image


def found(layers: tuple[Path, Path], change: Callable[[Path], object], *allowed: str) -> list[str]:
    """Return the paths that are different after a change."""
    upper, image = layers
    before = {"node": Disk.of(upper, image)}
    change(upper)
    return list(differences(before, {"node": Disk.of(upper, image)}, dict.fromkeys(allowed, "")))


def write(text: str, mode: int = 0o644) -> Callable[[Path], None]:
    def change(upper: Path) -> None:
        (upper / "etc").mkdir()
        (upper / "etc/conf").write_text(text)
        (upper / "etc/conf").chmod(mode)

    return change


def link(upper: Path) -> None:
    (upper / "etc").mkdir()
    (upper / "etc/link").symlink_to("other")


def add(upper: Path) -> None:
    (upper / "opt/ours").mkdir(parents=True)
    (upper / "opt/ours/file").touch()


@pytest.mark.parametrize(
    ("change", "paths"),
    [
        (write("as shipped"), []),
        (write("changed"), ["node:/etc/conf"]),
        (write("as shipped", 0o600), ["node:/etc/conf"]),
        (link, ["node:/etc/link"]),
        (add, ["node:/opt", "node:/opt/ours", "node:/opt/ours/file"]),
    ],
    ids=["copied up as it was", "content", "mode", "target of a link", "added"],
)
def test_a_change_is_found(layers: tuple[Path, Path], change: Callable[[Path], object], paths: list[str]) -> None:
    assert found(layers, change) == paths


def test_what_may_differ_is_named_by_pattern_with_all_below_it(layers: tuple[Path, Path]) -> None:
    assert found(layers, add, "*:/opt/ours") == ["node:/opt"]


def test_a_removed_file_is_found_wherever_it_was(layers: tuple[Path, Path]) -> None:
    image = layers[1]
    before = {"node": Disk({"home": ("dir",), "home/new": ("file",)}, (image,))}
    after = {"node": Disk({"home": ("dir",), "etc": None}, (image,))}
    assert set(differences(before, after, {})) == {"node:/home/new", "node:/etc"}
    assert after["node"].at("etc/conf") is None, "its folder is removed"
