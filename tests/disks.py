"""What is on the disks of a lab: to compare before and after."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from superpod.lab import Lab

# Type, mode, owner and content of a path; None: it is not there.
State = tuple[str, ...] | None


def state(path: Path) -> State:
    """Return what a path is; times do not count."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == 0:
        # overlayfs' mark of what was removed
        return None
    common = (oct(found.st_mode), f"{found.st_uid}:{found.st_gid}")
    if stat.S_ISLNK(found.st_mode):
        return (*common, os.readlink(path))
    return (*common, hashlib.sha256(path.read_bytes()).hexdigest()) if stat.S_ISREG(found.st_mode) else common


def _walk(root: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(root):
        yield from (Path(directory) / name for name in (*names, *files))


@dataclass(frozen=True)
class Disk:
    """The writable layer of a disk at a moment, above layers that do not change."""

    written: Mapping[str, State]
    below: tuple[Path, ...] = ()

    @classmethod
    def of(cls, writable: Path, *below: Path) -> Disk:
        """Read a layer."""
        written: dict[str, State] = {}
        for path in _walk(writable):
            written[str(path.relative_to(writable))] = state(path)
            if path.is_dir() and not path.is_symlink() and _opaque(path):
                written.update(dict.fromkeys(_hidden(path.relative_to(writable), writable, below)))
        return cls(written, below)

    def at(self, path: str) -> State:
        """Return what a path is on the whole disk."""
        if path in self.written:
            return self.written[path]
        parents = [str(parent) for parent in Path(path).parents]
        if any(self.written.get(parent, ()) is None for parent in parents):
            return None
        return next((found for layer in self.below if (found := state(layer / path))), None)


def _hidden(directory: Path, writable: Path, below: tuple[Path, ...]) -> Iterator[str]:
    for lower in below:
        for path in _walk(lower / directory):
            name = path.relative_to(lower)
            if not os.path.lexists(writable / name):
                yield str(name)


def _opaque(path: Path) -> bool:
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def disks(lab: Lab) -> dict[str, Disk]:
    """Return the disks of all machines and the shared storage."""
    found = {}
    for name in lab.machines:
        disk = lab.layout.disk(name)
        found[name] = Disk.of(disk / "upper", disk / "site", lab.machine(name).image)
    return {**found, "shared": Disk.of(lab.layout.shared)}


def differences(before: Mapping[str, Disk], after: Mapping[str, Disk], allowed: Mapping[str, str]) -> dict[str, str]:
    """
    Return each path that is not as it was, and how it differs.

    :param allowed: why a path (DISK:PATH, with shell patterns; what is below it is meant too) may differ.
    """
    found = {}
    for name, then in before.items():
        now = after[name]
        for path in sorted({*then.written, *now.written}):
            was, is_now = then.at(path), now.at(path)
            place = f"{name}:/{path}"
            if was != is_now and not any(fnmatch(place, rule) or fnmatch(place, f"{rule}/*") for rule in allowed):
                found[place] = f"{was} -> {is_now}"
    return found
