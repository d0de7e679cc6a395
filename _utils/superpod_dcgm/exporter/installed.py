"""Releases of dcgm-exporter that are installed on this node, side by side below /opt/dcgm-exporter."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile

from superpod_dcgm.base import files, ownership, paths
from superpod_dcgm.exporter import artifacts, claims, last_good


def linked_release() -> str | None:
    """Return the release that the link ``current`` chooses, or None."""
    try:
        return os.path.basename(os.readlink(paths.EXPORTER_CURRENT))
    except OSError:
        return None


def surplus(keep: int, wanted: str) -> list[str]:
    """
    Return installed releases that can go: all but the newest ``keep``, never the current, wanted or last good one.

    :param keep: how many may stay.
    """
    root = paths.EXPORTER_ROOT
    with contextlib.suppress(FileNotFoundError):
        folders = [entry for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
        newest = sorted(folders, key=lambda entry: entry.stat().st_mtime, reverse=True)
        # Anything else in the directory is not ours to remove.
        releases = [entry.name for entry in newest if claims.is_release(entry.path)]
        needed = [name for name in (wanted, linked_release(), last_good.read().get("release")) if name in releases]
        others = [name for name in releases if name not in needed]
        return others[max(0, keep - len(set(needed))) :]
    return []


def counters_edited() -> bool:
    """Return whether the counters file has another content than the states left: the release's, or what was noted."""
    path = paths.EXPORTER_COUNTERS
    with contextlib.suppress(OSError, artifacts.ReleaseError):
        if os.path.islink(path):
            # It leads into the release, and through it an editor writes there.
            folder = os.path.dirname(os.path.realpath(path))
            return files.sha256(path) != artifacts.read_sums(folder).get(artifacts.COUNTERS)
        return ownership.noted().get(path, "") not in ("", files.sha256(path))
    return False


def is_installed(artifact: str, directory: str, commit: str = "") -> bool:
    """
    Return whether ``directory`` holds that artifact, whole; an artifact out of reach is not asked for.

    :param commit: what it must have been built from; empty for any.
    """
    try:
        artifacts.verify(directory)
        if commit and artifacts.built_from(directory) != commit:
            return False
        return not os.path.isdir(artifact) or artifacts.read_sums(directory) == artifacts.read_sums(artifact)
    except artifacts.ReleaseError:
        return False


def install(artifact: str, directory: str, user: str = "") -> None:
    """
    Copy an artifact to ``directory`` on this node, after checking its sums and that it runs here.

    :param user: as whom it is tried.
    :raises ReleaseError: it is not whole or does not run; what was installed stays.
    """
    artifacts.verify(artifact)
    parent = os.path.dirname(directory)
    files.make_directory(parent)
    fresh = tempfile.mkdtemp(prefix=".install-", dir=parent)
    try:
        for name in (artifacts.BINARY, artifacts.COUNTERS, artifacts.SUMS, artifacts.MANIFEST):
            shutil.copyfile(os.path.join(artifact, name), os.path.join(fresh, name))
        artifacts.verify(fresh)
        artifacts.open_to_all(fresh)
        artifacts.check_runs(os.path.join(fresh, artifacts.BINARY), user)
        files.replace_directory(fresh, directory)
    except OSError as exc:
        raise artifacts.ReleaseError(f"{artifact} cannot be installed to {directory}: {exc}") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
