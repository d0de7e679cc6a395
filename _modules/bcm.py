"""
BCM roles on a node: what the watcher on the master delivers, and what it means here.

The master's snapshot travels over Salt's own bus, so that no node holds a BCM credential.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import salt.config
import salt.utils.event
import salt.utils.minion
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import maintenance, names, paths, systemd
from superpod_dcgm.base import roles as node_roles
from superpod_dcgm.config import page_schema
from superpod_dcgm.exporter import page, service
from superpod_dcgm.exporter import role_call as call

# Given by Salt's loader.
__grains__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def role_call(version: int, nodes: dict[str, dict[str, Any]], seq: int) -> dict[str, Any]:
    """
    Take this node's roles in, start or stop the exporter as they say, and tell how this node is.

    The watcher makes it, for many nodes in one job. Nothing is rendered and no file is asked for, so
    that it can roll nothing out. It waits for nobody: where states run on this node, the roles are stored and ``state``
    is ``busy``.

    Returns ``state`` (``ok``, ``idle``: nothing is deployed here, ``busy``, ``starting``, ``lacking``: something that
    the last apply put here is missing, ``failed``, or ``version``: this node does not know such a call), ``text``,
    ``changed``, ``roles``, ``release``, ``lacking``, ``applied`` (digest of the last apply's configuration),
    ``deployed`` and ``boot``.

    :param version: of this call; another one than this node's changes nothing.
    :param nodes: ``{name: {"roles": [...], "category": ...}}``, by minion id or host name.
    :param seq: number of the change set.
    :raises CommandExecutionError: this node is not among them, or the record cannot be written.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' bcm.role_call 1 '{"dgx-01": {"roles": ["slurmclient"], "category": "dgx"}}' 1
    """
    if version != call.VERSION:
        return {"version": call.VERSION, "state": "version", "text": f"this node knows role calls of {call.VERSION}"}
    name = names.find(_names(), nodes)
    if name is None:
        raise CommandExecutionError(f"No roles were delivered for this node, which is called {' or '.join(_names())}")
    try:
        found = call.answer(nodes[name], seq, names.timestamp(), _at_work(), _state(), _unit())
    except (OSError, ValueError) as exc:
        raise CommandExecutionError(f"The roles of this node cannot be stored: {exc}") from exc
    if found["changed"]:
        _refresh_grains()
    return found


def _refresh_grains() -> None:
    with salt.utils.event.get_event("minion", sock_dir=__opts__["sock_dir"], opts=__opts__, listen=False) as bus:
        # As saltutil.refresh_grains does, but without the pillar, a render per node for something that every state run
        # renders anyway; and past the minion's `grains_cache`, which would keep the roles before for minutes.
        bus.fire_event({"force_refresh": bool(__opts__.get("grains_cache"))}, "module_refresh")
        # The matchers keep the grains that they were loaded with: `salt -G bcm:roles:…` would match as before.
        bus.fire_event({}, "matchers_refresh")


def _at_work() -> str:
    """Why the service may not be touched: an administrator's command comes first."""
    # As saltutil.is_running does, without loading its module, which each job of a minion would do anew.
    running = [job for job in salt.utils.minion.running(__opts__) if str(job.get("fun")).startswith("state.")]
    return f"{running[0]['fun']} runs here (job {running[0]['jid']})" if running else ""


def roles() -> dict[str, Any]:
    """
    Return what was last delivered to this node: roles, category, since, updated, seq; empty when nothing was.

    CLI Example:

    .. code-block:: bash

        salt '*dgx*' bcm.roles
    """
    return node_roles.read(os.path.join(_state(), paths.ROLES_RECORD)) or {}


def health(roles: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return how this node is, without changing anything: roles, release, whether the exporter should run and does.

    Besides it returns what ``bcm.role_call`` tells: ``lacking``, ``applied``, ``deployed``, ``boot``; and ``freed``:
    since when its GPUs are free for maintenance (``dcgm_gpu.free``), which is right without the exporter. ``at_work``
    is the state run that is at work here, or empty. ``shortages`` says what is odd with what the exporter shows: GPUs
    without rows, no profiling rows although its counters file has them, an answer that takes seconds, names of another
    metric schema than the release has.
    ``profiling_lost``: they were there after its start, and a restart brings them back, which the watcher's next audit
    or an apply does.

    :param roles: the section ``roles`` of a configuration; by default that of this node's last apply.

    CLI Example:

    .. code-block:: bash

        salt '*dgx*' bcm.health
    """
    record = node_roles.read(os.path.join(_state(), paths.ROLES_RECORD))
    runs, freed = __salt__["service.status"](paths.UNIT), maintenance.held()
    rules = (call.recall(_state()) or {}).get("roles", roles)
    wanted = node_roles.decide(rules, node_roles.names_in(record)) if rules else "unknown"
    return {
        **call.condition(_state()),
        "roles": record["roles"] if record else None,
        "wanted": wanted,
        "service": "running" if runs else "stopped",
        "freed": (freed or {}).get("since"),
        "at_work": _at_work(),
        **_page(bool(runs) and freed is None),
        "right": freed is not None or wanted in ("unknown", "running" if runs else "stopped"),
    }


def _page(shown: bool) -> dict[str, Any]:
    """What is odd with the exporter's page; nothing where none is to be expected."""
    try:
        return page.oddities(_state(), _unit()) if shown else page.NONE
    except systemd.UnitError:
        return page.NONE


def _unit() -> Callable[[str, str, int], service.Unit]:
    """What makes the exporter's unit, whose page is held against the metric schema of its release."""
    return functools.partial(service.Unit, judge=page_schema.recorded(call.recall(_state()) or {}))


def applied(known: Sequence[str] = ()) -> dict[str, Any]:
    """
    Return the record of this node's last apply that succeeded: ``digest``, and ``configuration`` if it is not known.

    The watcher keeps it on the head: a node that is re-provisioned gets what it had. Secrets are not in it.

    :param known: digests of which the configuration need not be sent.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' bcm.applied
    """
    record = call.applied(_state())
    left_out = ("places", "configuration") if record.get("digest") in known else ("places",)
    return {key: value for key, value in record.items() if key not in left_out}


def master_user() -> str:
    """
    Return the user that the Salt master of this machine runs as: packaged masters are not root.

    CLI Example:

    .. code-block:: bash

        salt 'bcm-01' bcm.master_user
    """
    path = os.path.join(os.path.dirname(__opts__["conf_file"]), "master")
    return str(salt.config.master_config(path)["user"])


def _names() -> list[str]:
    return list(dict.fromkeys(name.lower() for name in (__grains__["id"], __grains__["host"])))


def _state() -> str:
    """The directory of this node's records; a minion of the tests has its own."""
    return str(__opts__.get("superpod_dcgm_state", paths.NODE_STATE))
