"""Directories as a whole: copied from the file server with one change in the report, or removed once they are empty."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import own_code, state

# Given by Salt's loader.
__opts__: dict[str, Any]
__states__: dict[str, Callable[..., dict[str, Any]]]

# Compiled by whoever imports the code: neither copied nor a reason to report a change.
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
