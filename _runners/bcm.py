"""
Runner ``bcm``: what the watcher of BCM roles on this master knows, and what to make it do.

All of it works on the settings in /etc/superpod-dcgm/watcher.json, which the state ``dcgm.watcher`` writes.
Functions that return a per-node report end with exit code 1 if any node failed.
"""

from __future__ import annotations

import contextlib
import logging
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import salt.utils.event
import salt.utils.minions
import superpod_apply
import superpod_audit
import superpod_files
import superpod_minions
import superpod_paths
import superpod_pending
import superpod_poll
import superpod_roles
import superpod_serve
import superpod_snapshot
import superpod_status
from salt.exceptions import CommandExecutionError, SaltClientError, SaltReqTimeoutError

log = logging.getLogger(__name__)

CHANGED = "superpod/bcm/roles/changed"
# Seconds for a question that a minion answers at once.
_QUESTION = 30


def settings() -> dict[str, Any]:
    """
    Return the watcher's settings.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.settings
    """
    path = __opts__.get("superpod_dcgm_settings", superpod_paths.WATCHER_SETTINGS)
    found = superpod_files.read_json(path)
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
    wanted = settings()["hosts"]["nodes"] if match is None else match
    if not wanted:
        return {}
    found = salt.utils.minions.CkMinions(__opts__).check_minions(wanted, "compound")
    return {superpod_roles.short(name): name for name in sorted(found["minions"])}


def status() -> dict[str, Any]:
    """
    Return what the watcher knows: source, age and problems, and of each node roles, target and what it is owed.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.status
    """
    now = settings()
    return superpod_status.status(now, superpod_snapshot.load(now["snapshot"]), members())


def poll(news: dict[str, list[str]] | None = None, accept: bool = False) -> dict[str, Any]:
    """
    Ask for the roles now, as the engine does at every interval; changed nodes are served by the orchestration.

    Fires ``superpod/bcm/roles/changed`` {seq} when nodes are to be served.

    :param news: minions by what the engine heard of them: ``started``, ``deployed``, ``removed``, ``roleless``.
    :param accept: see ``bcm.accept``.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.poll
    """
    heard = {kind: {superpod_roles.short(name) for name in names} for kind, names in (news or {}).items()}
    done = superpod_poll.poll(settings(), members() or None, superpod_pending.News(**heard), accept)
    for line in done.lines:
        log.warning("bcm: %s", line)
    if done.claimed:
        _fire(CHANGED, {"seq": done.snapshot["seq"]})
    return {
        "believed": done.believed,
        "error": done.snapshot["error"],
        "served": done.claimed,
        **{key: done.snapshot[key] for key in ("seq", "updated", "failures")},
    }


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
    Ask the deployed nodes how they are; return those that an event was missed of, as ``bcm.poll`` takes them.

    The engine does it once when it starts, and every ``watcher:audit`` seconds.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.audit
    """
    now = settings()
    with _client(_QUESTION) as run:
        return superpod_audit.missed(now, superpod_snapshot.load(now["snapshot"]), members(), run)


def sync(nodes: Sequence[str] | str = ()) -> dict[str, Any]:
    """
    Deliver the known roles again and apply the service state, to all nodes or those named; return the report.

    :param nodes: names, as a list or with commas.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.sync dgx-01,dgx-02
    """
    names = nodes.split(",") if isinstance(nodes, str) else list(nodes)
    known = members()
    chosen = {superpod_roles.short(name) for name in names} or set(known)
    if strange := sorted(chosen - known.keys()):
        raise CommandExecutionError(f"no accepted minion that hosts:nodes matches is called {', '.join(strange)}")
    now = settings()
    with _client(now["watcher"]["deadline"]) as run:
        try:
            return _judged(superpod_serve.serve(now, known, run, anew=chosen))
        except superpod_snapshot.Busy as exc:
            raise CommandExecutionError(f"{exc}: look at `salt-run jobs.active` and try again") from exc


def serve() -> dict[str, Any]:
    """
    Serve the nodes of the current change set; called by the orchestration ``dcgm.orch.roles_changed``.

    Roles are delivered, then changed nodes get ``dcgm.exporter.service`` and nodes whose minion started the whole
    ``dcgm``. Nodes that are down stay pending, are listed, and are no failure.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.serve
    """
    now = settings()
    with _client(now["watcher"]["deadline"]) as run:
        try:
            return _judged(superpod_serve.serve(now, members(), run))
        except superpod_serve.Serving as exc:
            log.info("bcm: %s: a later poll serves what is left", exc)
            return {"nodes": {}, "failed": [], "down": [], "busy": str(exc)}
        except superpod_snapshot.Busy as exc:
            raise CommandExecutionError(f"{exc}: what was served, if anything, is not noted and comes again") from exc


def apply(
    sls: str,
    tgt: str | None = None,
    batch: str | None = None,
    failhard: bool = True,
    test: bool = False,
    timeout: int | None = None,
) -> dict[str, Any]:
    """
    Apply states to the nodes in batches and return one line per node. Nodes that are down are listed.

    It is a failure when nobody is matched or nobody answers.

    :param tgt: another compound match than ``hosts:nodes``.
    :param batch: another size of the batches than ``watcher:batch``: a number or a percentage.
    :param failhard: leave the later batches alone when a node failed.
    :param timeout: seconds that a batch is waited for; by default long enough for a build.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.apply dcgm batch=10%
    """
    known, now = members(tgt), settings()
    with _client(timeout or now["longest_apply"]) as run:
        up = superpod_apply.answering(run, sorted(known.values()))
        size = str(batch or now["watcher"]["batch"])
        outcomes = superpod_apply.apply_states(run, up, sls, size, failhard, sync_mods="all", test=test)
    by_name = {name: outcomes.get(minion, superpod_apply.DOWN) for name, minion in known.items()}
    return _judged(superpod_serve.report_on_all(by_name))


def report(tgt: str | None = None) -> dict[str, Any]:
    """
    Ask every node how it is: roles, release, whether the exporter should run and does. It fails if nobody answers.

    :param tgt: another compound match than ``hosts:nodes``.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.report
    """
    known, now = members(tgt), settings()
    with _client(now["watcher"]["deadline"]) as run:
        up = superpod_apply.answering(run, sorted(known.values()))
        returns = run(up, "bcm.health", [now["roles"]], {}) if up else {}
    by_name = {name: superpod_apply.judge_health(returns.get(minion)) for name, minion in known.items()}
    return _judged(superpod_serve.report_on_all(by_name))


def ready(timeout: int = 60) -> dict[str, Any]:
    """
    Wait until a restart of the master that the head's states ordered is over and minions answer again.

    :param timeout: seconds.

    CLI Example:

    .. code-block:: bash

        salt-run bcm.ready
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        units = [f"{superpod_paths.WATCHER_RESTART}.{kind}" for kind in ("timer", "service")]
        done = subprocess.run(["systemctl", "is-active", *units], capture_output=True, text=True, check=False)
        if not {"active", "activating"} & set(done.stdout.split()) and _head_answers():
            return {"ready": True}
        time.sleep(1)
    __context__["retcode"] = 1
    return {"ready": False, "retcode": 1}


def _head_answers() -> bool:
    heads = sorted(members(settings()["hosts"]["head"]).values())
    try:
        with _client(_QUESTION) as run:
            return bool(superpod_apply.answering(run, heads))
    except (SaltClientError, SaltReqTimeoutError):
        return False


def _judged(found: dict[str, Any]) -> dict[str, Any]:
    # Salt takes the exit code of `salt-run` from the key, and the result of an orchestration's step from the context.
    if found["failed"] or found.get("problem"):
        __context__["retcode"] = found["retcode"] = 1
    return found


def _fire(tag: str, data: dict[str, Any]) -> None:
    with salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=False) as bus:
        bus.fire_event(data, tag)


def _client(seconds: float) -> contextlib.AbstractContextManager[superpod_apply.Run]:
    # Not with these options: an orchestration's have another cachedir where root_dir is set, and there is no key.
    return superpod_minions.client(__opts__["conf_file"], seconds)
