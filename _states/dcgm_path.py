"""Directories as a whole: copied from the file server with one change in the report, or removed once they are empty."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import files, leftovers, own_code, state

# Given by Salt's loader.
__opts__: dict[str, Any]
__states__: dict[str, Callable[..., dict[str, Any]]]

# Compiled by whoever imports the code: neither copied nor a reason to report a change.
_MODE = 0o755
_NOT_COPIED = r"E@(^|/)__pycache__(/|$)|[.]pyc$"


def copied(name: str, source: str, folders: list[str]) -> dict[str, Any]:
    """
    Make sure that folders hold just the files of those on the file server, and report that as one change.

    :param name: the directory.
    :param source: the directory on the file server, as ``salt://…``.
    :param folders: the folders in it.

    .. code-block:: yaml

        Install the code of the watcher:
          dcgm_path.copied:
            - name: /usr/local/lib/superpod-dcgm
            - source: salt://
            - folders: [_engines, _runners, _utils]
    """
    options: dict[str, Any] = {"exclude_pat": _NOT_COPIED, "clean": True, "dir_mode": "0755", "file_mode": "0644"}
    changed: set[str] = set()
    # Salt makes it with the minion's umask, and whoever runs the code may be somebody else.
    if os.path.isdir(name) and (os.stat(name).st_mode & 0o777) != _MODE:
        changed.add(name)
    if not __opts__["test"]:
        files.make_directory(name, _MODE)
        os.chmod(name, _MODE)
    for folder in folders:
        origin = f"salt://{os.path.join(source.removeprefix('salt://'), folder)}"
        ret = __states__["file.recurse"](os.path.join(name, folder), origin, **options)
        if ret["result"] is False:
            return state.result(name, False, ret["comment"], _summary(changed | set(ret["changes"])))
        changed |= set(ret["changes"])
    if not changed:
        return state.result(name, True, f"{name} is up to date")
    test = __opts__["test"]
    comment = f"{name} {'would be' if test else 'is'} brought up to date"
    return state.result(name, None if test else True, comment, _summary(changed))


def _summary(changed: set[str]) -> dict[str, Any]:
    """Salt lists what ``clean`` removes under one key."""
    return {"files": f"{len(changed)} differed"} if changed else {}


def parts_copied(name: str, parts: list[str]) -> dict[str, Any]:
    """
    Make sure that a directory holds just some parts of this project's package, as this minion has it.

    Nothing is asked of the master: ``state.apply`` without a name syncs the package before states run, and
    ``sync_mods=all`` does so for a state that is named.

    :param name: the directory, which gets a folder ``superpod_dcgm``.
    :param parts: folders of the package.

    .. code-block:: yaml

        Install the code of the agent:
          dcgm_path.parts_copied:
            - name: /usr/local/lib/superpod-dcgm-node
            - parts: [base, agent]
    """
    differing = own_code.differences(name, parts)
    if not differing:
        return state.result(name, True, f"{name} is up to date")
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be brought up to date", _summary(differing))
    try:
        own_code.copy(name, parts)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be brought up to date: {exc}")
    return state.result(name, True, f"{name} is brought up to date", _summary(differing))


def made(name: str, not_of: str = "") -> dict[str, Any]:
    """
    Make a directory that is missing, and its missing parents, as root's that all may enter; one that is there stays.

    :param name: the directory, which may be somebody else's.
    :param not_of: whoever shall not own it: releases before gave him the directory above one that is his.

    .. code-block:: yaml

        Create /cm/shared/apps/dcgm-exporter:
          dcgm_path.made:
            - name: /cm/shared/apps/dcgm-exporter
    """
    there = os.path.isdir(name)
    if there and not (wrong := _belongs_to(name, not_of)):
        return state.result(name, True, f"{name} is there")
    changes = {"owner": {"old": not_of, "new": "root"}} if there and wrong else {"directory": "made"}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be made root's", changes)
    try:
        files.make_directory(name)
        if there:
            os.chown(name, 0, 0)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be made: {exc}")
    return state.result(name, True, f"{name} is root's", changes)


def _belongs_to(name: str, user: str) -> bool:
    """Whether a directory that has our name in its own belongs to a user; any other may be meant to."""
    if user in ("", "root") or "dcgm" not in os.path.basename(name):
        return False
    with contextlib.suppress(KeyError):
        return os.stat(name).st_uid == pwd.getpwnam(user).pw_uid
    return False


def swept(name: str, directories: list[str]) -> dict[str, Any]:
    """
    Remove temporary files of this project that are older than an hour: whoever wrote them was killed.

    :param name: what they are called in the report.
    :param directories: where they may be.

    .. code-block:: yaml

        Remove what killed writers left:
          dcgm_path.swept:
            - directories: [/var/lib/superpod-dcgm]
    """
    found = [os.path.join(place, left) for place in directories for left in leftovers.kept_by_nobody(place)]
    if not found:
        return state.result(name, True, "There is none")
    changes = {"removed": found}
    if __opts__["test"]:
        return state.result(name, None, "They would be removed", changes)
    for place in directories:
        leftovers.sweep(place)
    return state.result(name, True, "They are removed", changes)


def emptied(name: str) -> dict[str, Any]:
    """
    Remove a directory if nothing is left in it: what others put there is theirs.

    :param name: the directory.

    .. code-block:: yaml

        Remove /etc/dcgm-exporter if it is empty:
          dcgm_path.emptied:
            - name: /etc/dcgm-exporter
    """
    if not os.path.isdir(name):
        return state.result(name, True, f"{name} is not there")
    left = sorted(os.listdir(name))
    if left and not __opts__["test"]:
        return state.result(name, True, f"{name} stays, because of what others put there: {', '.join(left)}")
    if __opts__["test"]:
        return state.result(
            name, None, f"{name} would be removed if nothing of others is left in it", {"removed": name}
        )
    os.rmdir(name)
    return state.result(name, True, f"{name} is removed", {"removed": name})
