"""What a node tells the watcher on the master: that it is deployed, or removed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import files, paths, roles, state

# Given by Salt's loader.
__opts__: dict[str, Any]
__running__: dict[str, dict[str, Any]]
__salt__: dict[str, Callable[..., Any]]

_APPLIED = "superpod/dcgm/applied"


def deployed(name: str) -> dict[str, Any]:
    """
    Tell the watcher that the administrator deploys to this node: from now on it is repaired when it lacks something.

    Fires ``superpod/dcgm/deployed`` {roles_known}; where no roles are known, the watcher calls the node again.

    :param name: a sentence.

    .. code-block:: yaml

        Tell the watcher that this node is deployed:
          bcm_node.deployed: []
    """
    known = roles.read(os.path.join(_state(), paths.ROLES_RECORD)) is not None
    comment = "Its roles are known" if known else "Its roles are not known yet; the watcher delivers them"
    return _tell(name, "superpod/dcgm/deployed", {"roles_known": known}, comment)


def applied(name: str) -> dict[str, Any]:
    """
    Keep the configuration of an apply that succeeded, without secrets, and tell the watcher.

    With it, and with no newer pillar, the watcher repairs this node when it was re-provisioned. Where a state of the
    run failed, the record stays as it is. Fires ``superpod/dcgm/applied`` {digest}, but not where the watcher itself
    made the run.

    :param name: a sentence.

    .. code-block:: yaml

        Write the record of this apply:
          bcm_node.applied:
            - order: last
    """
    failed = sum(one.get("result") is False for one in __running__.values())
    if failed:
        return state.result(name, True, f"The record of the last good apply stays: {failed} states of this run failed")
    record = __salt__["dcgm_config.applied"]()
    repair = record.pop("repair", False)
    path = os.path.join(_state(), paths.APPLIED_RECORD)
    known = files.read_json(path)
    if known == record:
        return _applied(name, record, repair, f"{path} is up to date")
    old = known.get("digest") if isinstance(known, dict) else None
    changes = (
        {"configuration": {"old": old and old[:12], "new": record["digest"][:12]}} if old != record["digest"] else {}
    )
    if __opts__["test"]:
        return state.result(name, None if changes else True, f"{path} would be written", changes)
    try:
        files.write_atomic(path, json.dumps(record, sort_keys=True) + "\n")
    except OSError as exc:
        return state.result(name, False, f"{path} cannot be written: {exc}")
    return {**_applied(name, record, repair, f"{path} is written"), "changes": changes}


def _applied(name: str, record: dict[str, Any], repair: bool, comment: str) -> dict[str, Any]:
    if repair:
        return state.result(name, True, comment)
    return _tell(name, _APPLIED, {"digest": record["digest"]}, comment)


def removed(name: str) -> dict[str, Any]:
    """
    Tell the watcher that this node was cleaned: from now on nothing is repaired on it.

    Fires ``superpod/dcgm/removed``.

    :param name: a sentence.

    .. code-block:: yaml

        Tell the watcher that this node is removed:
          bcm_node.removed: []
    """
    return _tell(name, "superpod/dcgm/removed", {}, "From now on nothing is repaired on this node")


def _tell(name: str, tag: str, data: dict[str, Any], comment: str) -> dict[str, Any]:
    # A message, not a change of this node: it is sent at every apply and reported as none.
    if not __opts__["test"]:
        __salt__["event.send"](tag, data)
    return {"name": name, "result": True, "comment": comment, "changes": {}}


def _state() -> str:
    """The directory of this node's records; a minion of the tests has its own."""
    return str(__opts__.get("superpod_dcgm_state", paths.NODE_STATE))
