"""What a node tells the watcher on the master: that it is deployed, or removed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import paths, roles

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def deployed(name: str) -> dict[str, Any]:
    """
    Tell the watcher that the administrator deploys to this node: from now on it gets the whole apply when it boots.

    Fires ``superpod/dcgm/deployed`` {roles_known}; where no roles are known, the watcher delivers them again.

    :param name: a sentence.

    .. code-block:: yaml

        Tell the watcher that this node is deployed:
          bcm_node.deployed: []
    """
    known = roles.read(__opts__.get("superpod_dcgm_roles", paths.ROLES_FILE)) is not None
    comment = "Its roles are known" if known else "Its roles are not known yet; the watcher delivers them"
    return _tell(name, "superpod/dcgm/deployed", {"roles_known": known}, comment)


def removed(name: str) -> dict[str, Any]:
    """
    Tell the watcher that this node was cleaned: from now on nothing is applied when it boots.

    Fires ``superpod/dcgm/removed``.

    :param name: a sentence.

    .. code-block:: yaml

        Tell the watcher that this node is removed:
          bcm_node.removed: []
    """
    return _tell(name, "superpod/dcgm/removed", {}, "From now on nothing is applied when this node boots")


def _tell(name: str, tag: str, data: dict[str, Any], comment: str) -> dict[str, Any]:
    # A message, not a change of this node: it is sent at every apply and reported as none.
    if not __opts__["test"]:
        __salt__["event.send"](tag, data)
    return {"name": name, "result": True, "comment": comment, "changes": {}}
