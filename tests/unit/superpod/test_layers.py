"""Layers of a machine's disk, and what re-provisioning leaves of the upper one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.lab import layers


@pytest.fixture
def below(tmp_path: Path) -> Path:
    image = tmp_path / "image"
    (image / "etc/munge").mkdir(parents=True)
    (image / "etc/munge").chmod(0o700)
    (image / "tmp").mkdir()
    (image / "tmp").chmod(0o1777)
    (image / "usr/lib").mkdir(parents=True)
    (image / "lib").symlink_to("usr/lib")
    return image


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    (tmp_path / "layer").mkdir()
    return tmp_path / "layer"


def write(layer: Path, path: str, below: Path, mode: int = 0o644) -> None:
    layers.write(layer, path, "text", [below], mode, (os.getuid(), os.getgid()))


@pytest.mark.parametrize(("path", "mode"), [("etc/munge/munge.key", 0o700), ("tmp/x", 0o1777), ("new/x", 0o755)])
def test_directories_keep_the_mode_that_the_image_gives_them(layer: Path, below: Path, path: str, mode: int) -> None:
    write(layer, path, below)
    assert (layer / path).parent.stat().st_mode & 0o7777 == mode


def test_a_file_has_the_mode_that_was_asked_for_whatever_the_umask(layer: Path, below: Path) -> None:
    before = os.umask(0o077)
    try:
        write(layer, "etc/one", below, 0o644)
    finally:
        os.umask(before)
    assert (layer / "etc/one").stat().st_mode & 0o777 == 0o644


def test_a_directory_where_the_image_has_a_link_is_refused(layer: Path, below: Path) -> None:
    with pytest.raises(SuperpodError, match="/lib is a link in the machine image"):
        write(layer, "lib/systemd/x", below)


def test_provisioning_keeps_the_exclude_list_and_nothing_else(layer: Path, below: Path) -> None:
    upper = layer.rename(layer.with_name("upper"))
    for path in (
        "etc/salt/pki/minion/minion.pem",
        "etc/salt/minion_id",
        "etc/other",
        "var/log/a/b",
        "var/lib/x",
        "opt/y",
    ):
        write(upper, path, below)
    layers.wipe(upper, [below])
    left = sorted(str(path.relative_to(upper)) for path in upper.rglob("*") if path.is_file())
    assert left == ["etc/salt/minion_id", "etc/salt/pki/minion/minion.pem", "var/log/a/b"]


def test_provisioning_an_untouched_machine_leaves_an_empty_layer(layer: Path, below: Path) -> None:
    upper = layer.rename(layer.with_name("upper"))
    layers.wipe(upper, [below])
    assert list(upper.iterdir()) == []
