"""Whether this node's places and port are free for our exporter, or ours: asked before anything of it is changed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from superpod_dcgm.base import ownership, paths, systemd
from superpod_dcgm.exporter import artifacts, listener

# NVIDIA's package brings it; it runs an engine of its own, and holds the port.
FOREIGN_UNITS = ("nvidia-dcgm-exporter.service",)
# A name of a release, and of what an installation that was ended left.
_RELEASE = re.compile(r"\d+\.\d+\.\d+(-\d+\.\d+\.\d+)?(-[a-z0-9]+)?")
_LEFT_OVER = re.compile(r"\.install-\w+(\.old)?|\.current\.superpod-\d+")
_KEEP = "or keep that exporter and set dcgm:exporter:enabled: false"
_OWN_COUNTERS = ". To use these counters, copy them elsewhere and name the copy in dcgm:exporter:counters"


def places() -> tuple[str, ...]:
    """Return the files of the exporter that others may have as well."""
    return (paths.EXPORTER_LINK, paths.EXPORTER_COUNTERS, paths.EXPORTER_ENVIRONMENT, paths.UNIT_FILE)


def refusals(listen: str, starts: bool) -> list[str]:
    """
    Return why our exporter may not be put on this node: one sentence for each owner of something in its way.

    :param listen: where it would listen, as ``address:port``.
    :param starts: whether it will run: else it is in nobody's way.
    :raises UnitError: systemd does not answer.
    """
    found = [*_files(), *_units()]
    if starts and not found:
        found = _running() or [text for text in (listener.obstacle(listen, paths.UNIT),) if text]
    return found


def _files() -> list[str]:
    if os.path.realpath(paths.UNIT_FILE) == "/dev/null":
        return [
            f"{paths.UNIT} is masked on this node: `systemctl unmask {paths.UNIT}`, "
            "or set dcgm:exporter:enabled: false where no exporter shall run"
        ]
    found = foreign(places())
    return found if root_is_ours() else [*found, f"{paths.EXPORTER_ROOT} holds what is no release of ours: {_rest()}"]


def foreign(wanted: Iterable[str]) -> list[str]:
    """Return a sentence for each owner of those paths that are not ours to replace."""
    theirs: dict[ownership.Owner, list[str]] = {}
    for path, owner in ownership.owners(wanted, paths.EXPORTER_ROOT).items():
        if owner.foreign:
            theirs.setdefault(owner, []).append(path)
    return [
        f"{' and '.join(files)} {'belong' if len(files) > 1 else 'belongs'} to {owner.name}: {owner.advice}, {_KEEP}"
        f"{_OWN_COUNTERS if paths.EXPORTER_COUNTERS in files else ''}"
        for owner, files in theirs.items()
    ]


def _rest() -> str:
    return f"{', '.join(_entries()[:5])}. Move it away, {_KEEP}"


def _units() -> list[str]:
    """A unit of the same name elsewhere would be hidden by ours."""
    candidates = [os.path.join(folder, paths.UNIT) for folder in systemd.DIRECTORIES]
    there = [path for path in candidates if os.path.lexists(path) and not _same(path, paths.UNIT_FILE)]
    if not there:
        return []
    owner = ownership.owners(there[:1], paths.EXPORTER_ROOT)[there[0]]
    whose = f"belongs to {owner.name}: {owner.advice}" if owner.foreign else "would be hidden by ours: move it away"
    return [f"{there[0]} {whose}, {_KEEP}"]


def _same(one: str, other: str) -> bool:
    """By their folders: on most systems /lib is a link to /usr/lib."""
    return os.path.realpath(os.path.dirname(one)) == os.path.realpath(os.path.dirname(other))


def _running() -> list[str]:
    found = []
    for unit in FOREIGN_UNITS:
        state = systemd.show(unit)
        up, enabled = systemd.is_up(state), state.get("UnitFileState") == "enabled"
        if up or enabled:
            what = "runs" if up else "starts at boot"
            name = unit.removesuffix(".service")
            found.append(f"{unit} {what} on this node: `systemctl disable --now {name}`, {_KEEP}")
    return found


def root_is_ours() -> bool:
    """Return whether the directory of the releases is missing, empty, or has something of ours in it."""
    entries = _entries()
    # It is replaced, whatever else is there.
    if os.path.lexists(paths.EXPORTER_CURRENT) and not _is_ours(os.path.basename(paths.EXPORTER_CURRENT)):
        return False
    return not entries or any(_is_ours(name) for name in entries)


def ours_in_root() -> list[str]:
    """Return what of ours is in the directory of the releases."""
    return [os.path.join(paths.EXPORTER_ROOT, name) for name in _entries() if _is_ours(name)]


def _entries() -> list[str]:
    try:
        return sorted(os.listdir(paths.EXPORTER_ROOT))
    except FileNotFoundError:
        return []
    except NotADirectoryError:
        return [os.path.basename(paths.EXPORTER_ROOT)]


def _is_ours(name: str) -> bool:
    path = os.path.join(paths.EXPORTER_ROOT, name)
    if path == paths.EXPORTER_CURRENT:
        return os.path.islink(path) and bool(_RELEASE.fullmatch(os.readlink(path)))
    return bool(_LEFT_OVER.fullmatch(name)) or is_release(path)


def is_release(path: str) -> bool:
    """Return whether ``path`` is a release that we installed: its name alone proves nothing."""
    if not _RELEASE.fullmatch(os.path.basename(path)) or os.path.islink(path):
        return False
    parts = (artifacts.BINARY, artifacts.COUNTERS, artifacts.SUMS, artifacts.MANIFEST)
    return os.path.isdir(path) and any(os.path.lexists(os.path.join(path, part)) for part in parts)
