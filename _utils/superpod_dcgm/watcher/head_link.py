"""The link by which a node_exporter of others finds the watcher's metrics, where it is wanted and where it was made."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from typing import Any

from superpod_dcgm.base import files, paths


def place(target: str, directory: str) -> str:
    """Return where the link belongs, or ``""``."""
    return os.path.join(directory, os.path.basename(target)) if directory else ""


def plan(target: str, directory: str) -> dict[str, Any]:
    """
    Return which links are to be made and removed, as changes of a state.

    :param target: the file that the watcher writes.
    :param directory: where node_exporter reads; empty for no link.
    :raises OSError: the directory is missing, or has a file of somebody else with this name.
    """
    wanted, changes = place(target, directory), dict[str, Any]()
    if wanted and not _leads(wanted, target):
        if os.path.lexists(wanted):
            raise OSError(errno.EEXIST, "is there and not ours; move it away", wanted)
        if not os.path.isdir(directory):
            raise OSError(errno.ENOENT, "dcgm:head_metrics:textfile_directory is no directory here", directory)
        changes[wanted] = {"old": None, "new": target}
    former = _noted()
    if former not in ("", wanted) and _leads(former, target):
        changes[former] = {"old": target, "new": None}
    return changes


def make(target: str, directory: str) -> None:
    """
    Carry out ``plan``, and note where the link is.

    :raises OSError: it cannot be done.
    """
    changes = plan(target, directory)
    # The former one first: where it was is forgotten with the next note.
    for link in [link for link, change in changes.items() if not change["new"]]:
        os.unlink(link)
    if wanted := place(target, directory):
        files.make_directory(os.path.dirname(paths.HEAD_METRICS_LINK))
        files.write_atomic(paths.HEAD_METRICS_LINK, json.dumps({"link": wanted}) + "\n")
        if wanted in changes:
            files.link_atomic(target, wanted)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.HEAD_METRICS_LINK)


def _noted() -> str:
    found = files.read_json(paths.HEAD_METRICS_LINK)
    link = found.get("link") if isinstance(found, dict) else ""
    return link if isinstance(link, str) else ""


def _leads(link: str, target: str) -> bool:
    try:
        return os.readlink(link) == target
    except OSError:
        return False
