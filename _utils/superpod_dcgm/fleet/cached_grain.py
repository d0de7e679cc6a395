"""
The grain ``bcm`` in the master's cache, by which Salt finds out whom a match such as ``G@bcm:roles:slurmclient`` means.

Salt puts a minion's grains there when it asks for its pillar. A role call asks for none, since that is rendered for
each node; without this the master would match by the roles before until the next state run.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import salt.cache
from salt.exceptions import SaltException

from superpod_dcgm.base.names import timestamp
from superpod_dcgm.fleet.minions import Run

log = logging.getLogger(__name__)


def keeping(opts: dict[str, Any], run: Run) -> Run:
    """
    Return a function that does as ``run`` does, and notes the roles that nodes took in at a role call.

    A cache that cannot be written is logged: the roles are delivered all the same.

    :param opts: the options of the master.
    """

    def kept(ids: Sequence[str], fun: str, arg: Sequence[Any], kwarg: dict[str, Any]) -> dict[str, dict[str, Any]]:
        returns = run(ids, fun, arg, kwarg)
        called = kwarg["nodes"] if fun == "bcm.role_call" else {}
        changed = {name: called[name] for name in _changed(returns) if name in called}
        if changed and opts.get("minion_data_cache"):
            try:
                _note(opts, changed, timestamp())
            except (SaltException, OSError) as exc:
                log.warning("bcm: the master's cache keeps the roles before of %s: %s", ", ".join(changed), exc)
        return returns

    return kept


def _changed(returns: Mapping[str, dict[str, Any]]) -> list[str]:
    said = {name: one.get("ret") for name, one in returns.items()}
    return sorted(name for name, ret in said.items() if isinstance(ret, dict) and ret.get("changed") is True)


def _note(opts: dict[str, Any], nodes: Mapping[str, Mapping[str, Any]], now: str) -> None:
    """Write the grain of minions, as the master sent the roles to them; of one that is not cached nothing is noted."""
    cache = salt.cache.factory(opts)
    for minion, entry in nodes.items():
        times = {"since": now, "updated": now}
        grain = {"known": True, "roles": sorted(entry["roles"]), "category": entry["category"], **times}
        if (grains := cache.fetch("grains", minion)) and isinstance(grains, dict):
            cache.store("grains", minion, {**grains, "bcm": grain})
        # Salt 3006 has grains and pillar of a minion in one record.
        data = cache.fetch(f"minions/{minion}", "data")
        if data and isinstance(data, dict) and isinstance(data.get("grains"), dict):
            cache.store(f"minions/{minion}", "data", {**data, "grains": {**data["grains"], "bcm": grain}})
