"""
Runner ``bcm``: the roles of the nodes, as the watcher on this master knows and delivers them.

All of it works on the settings in /etc/superpod-dcgm/watcher.json, which the state ``dcgm.watcher`` writes.
Functions that return a per-node report end with exit code 1 if any node failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import salt.utils.event
from salt.exceptions import CommandExecutionError, SaltException
from superpod_dcgm.base import files, paths
from superpod_dcgm.fleet import audit as fleet_audit
from superpod_dcgm.fleet import cached_grain, health, minions, pending, repair, role_calls
from superpod_dcgm.fleet import members as fleet_members
from superpod_dcgm.fleet import report as fleet_report
from superpod_dcgm.watcher import owed, snapshot
from superpod_dcgm.watcher import poll as watcher_poll
from superpod_dcgm.watcher import status as watcher_status

# Given by Salt's loader.
__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)

CHANGED = "superpod/bcm/roles/changed"
# Seconds for a question that a minion answers at once.
_QUESTION = 30
# For a role call, which starts or stops a service; who takes longer is tried again by a later poll.
_CALL = 20
# And for one that a poll waits for.
_QUICK_QUESTION = 5


def settings() -> dict[str, Any]:
    """
    Return the watcher's settings.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.settings
    """
    path = __opts__.get("superpod_dcgm_settings", paths.WATCHER_SETTINGS)
    found = files.read_json(path)
    if not isinstance(found, dict):
        raise CommandExecutionError(f"{path} is missing or unreadable: apply dcgm.watcher to the head node first")
    return found


def members(match: str | None = None) -> dict[str, str]:
    """
    Return the accepted minions that are nodes, ``{short name: minion id}``, whether they are up or not.

    :param match: another compound match than ``hosts:nodes``.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.members
    """
    return _members(match).nodes


def disputed(match: str | None = None) -> dict[str, str]:
    """
    Return what is wrong with the keys of nodes, ``{short name: sentence}``: two accepted keys that are of one node.

    :param match: another compound match than ``hosts:nodes``.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.disputed
    """
    return _members(match).problems


def _members(match: str | None = None) -> fleet_members.Members:
    known = settings()
    found = fleet_members.find(__opts__, known["hosts"]["nodes"], known)
    return found if match is None else fleet_members.find(__opts__, match, known).renamed(found)


def status(ask: bool = False, tgt: str | None = None) -> dict[str, Any]:
    """
    Show in one screen what the watcher knows: of itself, and of each node what is wanted, what it last was, and why.

    What a node last was is what it said when it was last asked. ``--out=json`` gives everything as data.

    :param ask: ask every node first; the same as ``dcgm.report``.
    :param tgt: only the nodes of this compound match.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.status
        salt-run bcm.status ask=True
        salt-run bcm.status --out=json
    """
    if ask:
        report: dict[str, Any] = __salt__["dcgm.report"](tgt)
        return report
    watcher_settings, known = settings(), _members()
    chosen = known if tgt is None else _members(tgt)
    heads = members(watcher_settings["hosts"]["head"])
    remembered = snapshot.read_snapshot(watcher_settings["snapshot"])
    nodes = {**known.nodes, **chosen.nodes}
    problems = {**known.problems, **chosen.problems}
    found = watcher_status.status(watcher_settings, remembered, nodes, heads, problems, known.remarks)
    for name, why in pending.rollouts(__opts__, remembered, nodes).items():
        found["nodes"][name]["problem"] = found["nodes"][name]["problem"] or why
    if tgt is not None:
        found["nodes"] = {name: found["nodes"][name] for name in sorted({**chosen.nodes, **chosen.problems})}
    # By this key Salt prints the return as a table, unless the command line asks for another outputter.
    return {"outputter": "bcm_status", **found}


def poll(news: dict[str, list[str]] | None = None, accept: bool = False) -> dict[str, Any]:
    """
    Ask for the roles now, as the engine does at every interval; changed nodes get a role call.

    Fires ``superpod/bcm/roles/changed`` {seq} when nodes are owed something.

    Nodes that lack something are repaired with the configuration of their last apply; nobody waits for that.

    :param news: minions by what the engine heard of them: ``started``, ``deployed``, ``applied``, ``removed``,
        ``roleless``, ``strayed``.
    :param accept: see ``bcm.accept``.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.poll
    """
    watcher_settings, found = settings(), _members()
    known_nodes = found.nodes
    heard = {kind: {found.name_of(name) for name in heard_of} for kind, heard_of in (news or {}).items()}
    done = watcher_poll.poll(watcher_settings, known_nodes or None, owed.News(**heard), accept, found.uncertain)
    if done.claimed:
        _fire(CHANGED, {"seq": done.snapshot["seq"]})
    lines, unanswered = _repair(watcher_settings, known_nodes, heard.get("applied", set()), done.snapshot)
    for line in [*done.lines, *lines]:
        log.warning("bcm: %s", line)
    _ask_unsettled(watcher_settings, known_nodes, done.snapshot)
    return {
        "unanswered": sorted(unanswered),
        "believed": done.believed,
        "error": done.snapshot["error"],
        "claimed": done.claimed,
        **{key: done.snapshot[key] for key in ("seq", "updated", "failures")},
    }


def _repair(
    watcher_settings: dict[str, Any], known_nodes: dict[str, str], told: set[str], found: snapshot.Snapshot
) -> tuple[list[str], set[str]]:
    """Keep the configurations of new applies, look after repairs; return lines for the log, and who did not answer."""
    asked = told & known_nodes.keys()
    if not asked and not found["repairs"]:
        return [], set()
    try:
        with minions.jobs(__opts__["conf_file"], _QUICK_QUESTION) as jobs:
            return repair.look_after(watcher_settings, known_nodes, asked, jobs)
    except (SaltException, OSError) as exc:
        return [f"nodes are not repaired at this poll: {exc}"], asked


def accept() -> dict[str, Any]:
    """
    Believe the next list of devices although it lacks many nodes, because you know that they are gone.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.accept
    """
    return poll(accept=True)


def audit() -> dict[str, list[str]]:
    """
    Ask the nodes how they are; return those that an event was missed of, as ``bcm.poll`` takes them.

    The engine does it once when it starts, and every ``watcher:audit`` seconds.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.audit
    """
    watcher_settings = settings()
    with minions.client(__opts__["conf_file"], _QUESTION) as run:
        return fleet_audit.missed(
            watcher_settings, snapshot.read_snapshot(watcher_settings["snapshot"]), members(), run
        )


def sync(nodes: Sequence[str] | str = ()) -> dict[str, Any]:
    """
    Call all nodes or those named with the roles that are known, whether they are owed it or not; return the report.

    A node that is busy, or lacks something, is listed under ``owed``: the watcher goes on by itself.

    :param nodes: names, as a list or with commas.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.sync dgx-01,dgx-02
    """
    named = fleet_members.listed(nodes)
    found = _members()
    known = found.nodes
    chosen = {found.name_of(name) for name in named} or set(known)
    if unclear := [found.problems[name] for name in sorted(chosen & (found.rivals.keys() - known.keys()))]:
        raise CommandExecutionError("; ".join(unclear))
    if strange := sorted(chosen - known.keys()):
        raise CommandExecutionError(f"no accepted minion that hosts:nodes matches is called {', '.join(strange)}")
    watcher_settings = settings()
    with minions.client(__opts__["conf_file"], _CALL) as run:
        noting = cached_grain.keeping(__opts__, run)
        try:
            return fleet_report.judged(role_calls.carry_out(watcher_settings, known, noting, again=chosen), __context__)
        except files.Busy as exc:
            raise CommandExecutionError(f"{exc}: look at `salt-run jobs.active` and try again") from exc


def deliver_changes() -> dict[str, Any]:
    """
    Make the role calls of the current change set; the reactor calls this, and by hand ``dcgm.orch.roles_changed``.

    Each node gets one role call, which renders nothing and so rolls nothing out. Nodes that are down or busy stay
    pending, are listed, and are no failure.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.deliver_changes
    """
    watcher_settings = settings()
    with minions.client(__opts__["conf_file"], _CALL) as run:
        try:
            found = role_calls.carry_out(watcher_settings, members(), cached_grain.keeping(__opts__, run))
            return fleet_report.judged(found, __context__, owed_is_well=True)
        except role_calls.AtWork as exc:
            log.info("bcm: %s: a later poll does what is left", exc)
            return {"nodes": {}, "failed": [], "down": [], "busy": str(exc)}
        except files.Busy as exc:
            raise CommandExecutionError(f"{exc}: whatever was done is not noted and comes again") from exc


def _ask_unsettled(watcher_settings: dict[str, Any], known_nodes: dict[str, str], found: snapshot.Snapshot) -> None:
    """Ask nodes that were just deployed what they are, so that ``status`` knows it; a poll never fails for that."""
    chosen = watcher_status.unsettled(watcher_settings, found, known_nodes, time.time())
    if not chosen:
        return
    try:
        with minions.client(__opts__["conf_file"], _QUICK_QUESTION) as run:
            health.ask(watcher_settings, known_nodes, chosen, run)
    except (SaltException, OSError) as exc:
        log.info("bcm: the deployed nodes cannot be asked how they are: %s", exc)


def _fire(tag: str, data: dict[str, Any]) -> None:
    with salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=False) as bus:
        bus.fire_event(data, tag)
