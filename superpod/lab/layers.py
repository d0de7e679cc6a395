"""Layers of a machine's disk: how files get into them, and what BCM's synchronisation at boot leaves."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from superpod.errors import SuperpodError

# What the exclude lists of the lab's "BCM" keep on a node when its disk becomes the image again.
KEPT = ("etc/salt/pki/minion", "etc/salt/minion_id", "etc/machine-id", "var/log")


def make_parents(layer: Path, path: str, below: Sequence[Path]) -> Path:
    """Make the directories above `path` with the mode and owner of those below: overlayfs shows the topmost."""
    current = layer
    for part in Path(path).parts[:-1]:
        current /= part
        make_directory(current, current.relative_to(layer), below)
    return layer / path


def make_directory(directory: Path, relative: Path, below: Sequence[Path]) -> None:
    """Make one directory of a layer unless it is there."""
    if directory.is_dir():
        return
    directory.mkdir(mode=0o755)
    os.chmod(directory, 0o755)
    for layer in below:
        twin = layer / relative
        if twin.is_symlink():
            raise SuperpodError(
                f"/{relative} is a link in the machine image and cannot be a directory of the lab's files."
            )
        if twin.is_dir():
            _copy_owner(twin, directory)
            return


def _copy_owner(source: Path, target: Path) -> None:
    found = source.stat()
    os.chown(target, found.st_uid, found.st_gid)
    os.chmod(target, found.st_mode & 0o7777)


def write(
    layer: Path,
    path: str,
    content: str | bytes,
    below: Sequence[Path],
    mode: int = 0o644,
    owner: tuple[int, int] = (0, 0),
) -> None:
    """Write a file of a layer with its mode and owner."""
    target = make_parents(layer, path, below)
    data = content.encode() if isinstance(content, str) else content
    target.write_bytes(data)
    os.chown(target, *owner)
    os.chmod(target, mode)


def link(layer: Path, path: str, destination: str, below: Sequence[Path]) -> None:
    """Make a symbolic link in a layer."""
    target = make_parents(layer, path, below)
    target.unlink(missing_ok=True)
    target.symlink_to(destination)


def copy_tree(source: Path, layer: Path, below: Sequence[Path]) -> None:
    """Copy a tree of the checkout into a layer: links as links, executables 0755, all else 0644, everything root's."""
    if not source.is_dir():
        return
    for directory, names, files in os.walk(source):
        names[:] = sorted(name for name in names if name != "__pycache__")
        relative = Path(directory).relative_to(source)
        linked = [name for name in names if (Path(directory) / name).is_symlink()]
        for name in [*files, *linked]:
            _copy_file(Path(directory) / name, layer, str(relative / name), below)
        for name in names:
            if name not in linked:
                make_parents(layer, str(relative / name / "x"), below)


def _copy_file(source: Path, layer: Path, path: str, below: Sequence[Path]) -> None:
    if source.name == ".gitkeep":
        make_parents(layer, path, below)
    elif source.is_symlink():
        link(layer, path, os.readlink(source), below)
    else:
        write(layer, path, source.read_bytes(), below, 0o755 if os.access(source, os.X_OK) else 0o644)


def wipe(upper: Path, below: Sequence[Path], kept: Sequence[str] = KEPT) -> None:
    """Make an upper layer empty but for the kept paths."""
    fresh = upper.with_name("upper.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o755)
    for path in kept:
        if os.path.lexists(upper / path):
            os.rename(upper / path, make_parents(fresh, path, below))
    shutil.rmtree(upper)
    fresh.rename(upper)
