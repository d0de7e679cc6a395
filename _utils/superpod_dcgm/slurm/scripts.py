"""The files and links through which slurmd runs prolog and epilog of the job map."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import files, process

_CHECK_SECONDS = 10
_SCRIPT_MODE = 0o755


@dataclass(frozen=True)
class Link:
    """What there is in the place of a link: what it points to, and why it may not be touched (empty: it may)."""

    target: str | None
    obstacle: str


def script_problem(path: str) -> str:
    """Return why slurmd must not be made to run ``path``, or ``""``: a script that fails drains the node."""
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        return f"{path} is not there ({exc.strerror})"
    if not stat.S_ISREG(mode):
        return f"{path} is no regular file"
    if mode & 0o555 != 0o555:
        return f"{path} is not readable and executable for everybody: mode {stat.S_IMODE(mode):04o}"
    return syntax_problem(path)


def syntax_problem(path: str) -> str:
    """Return why bash cannot run ``path``, or ``""``."""
    try:
        with open(path, "rb") as stream:
            first = stream.readline(128)
    except OSError as exc:
        return f"{path} cannot be read: {exc.strerror}"
    if not first.startswith(b"#!"):
        return f"{path} is no valid script: its first line names no interpreter"
    answer = process.run(["bash", "-n", path], _CHECK_SECONDS)
    if answer.code is None:
        return f"{path} cannot be checked: bash {answer.error}"
    return f"{path} is no valid script: {answer.error.strip()}" if answer.code else ""


def script_changes(source: str, path: str) -> dict[str, Any]:
    """Return what ``write_script`` would change: ``sha256`` and ``mode``, each with old and new."""
    new = {"sha256": files.sha256(source), "mode": f"{_SCRIPT_MODE:04o}"}
    old: dict[str, str | None] = {"sha256": None, "mode": None}
    if os.path.isfile(path) and not os.path.islink(path):
        old = {"sha256": files.sha256(path), "mode": f"{stat.S_IMODE(os.stat(path).st_mode):04o}"}
    return {key: {"old": old[key], "new": value} for key, value in new.items() if old[key] != value}


def write_script(source: str, path: str) -> None:
    """
    Copy a script in one step, executable from its first moment.

    :raises OSError: it cannot be read or written; what was there stays.
    """
    with open(source, encoding="utf-8") as stream:
        files.write_atomic(path, stream.read(), _SCRIPT_MODE)


def inspect_link(link: str, target: str) -> Link:
    """
    Return what there is at ``link``.

    Ours is a symbolic link to a script of the same name as ``target``, wherever that lies: it may be moved and
    removed. Everything else belongs to somebody else.
    """
    directory = os.path.dirname(link)
    if not os.path.isdir(directory):
        return Link(None, f"{directory} is not there: Slurm is missing, or finds its scripts elsewhere")
    if not os.path.lexists(link):
        return Link(None, "")
    if not os.path.islink(link):
        return Link(None, f"{link} is not a link of ours; it is left as it is")
    found = os.readlink(link)
    if os.path.basename(found) != os.path.basename(target):
        return Link(found, f"{link} points to {found}, which is not ours; it is left as it is")
    return Link(found, "")
