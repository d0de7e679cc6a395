"""
Runner ``dcgm``: apply states to nodes, and say how the nodes are.

Every function returns one line per node and ends with exit code 1 if any node failed. The settings are those of the
watcher (runner ``bcm``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from salt.exceptions import SaltClientError, SaltReqTimeoutError
from superpod_dcgm.base import paths, process
from superpod_dcgm.fleet import minions, outcomes, rollout
from superpod_dcgm.fleet import report as fleet_report

# Given by Salt's loader.
__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

# Seconds for a question that a minion answers at once.
_QUESTION = 30


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

        salt-run dcgm.apply dcgm batch=10%
    """
    known, watcher_settings = __salt__["bcm.members"](tgt), __salt__["bcm.settings"]()
    with minions.client(__opts__["conf_file"], timeout or watcher_settings["longest_apply"]) as run:
        up = rollout.answering(run, sorted(known.values()))
        size = str(batch or watcher_settings["watcher"]["batch"])
        found = rollout.apply_states(run, up, sls, size, failhard, sync_mods="all", test=test)
    by_name = {name: found.get(minion, outcomes.DOWN) for name, minion in known.items()}
    return fleet_report.judged(fleet_report.report_on_all(by_name), __context__)


def report(tgt: str | None = None) -> dict[str, Any]:
    """
    Ask every node how it is: roles, release, whether the exporter should run and does. It fails if nobody answers.

    :param tgt: another compound match than ``hosts:nodes``.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.report
    """
    known, watcher_settings = __salt__["bcm.members"](tgt), __salt__["bcm.settings"]()
    with minions.client(__opts__["conf_file"], watcher_settings["watcher"]["deadline"]) as run:
        up = rollout.answering(run, sorted(known.values()))
        returns = run(up, "bcm.health", [watcher_settings["roles"]], {}) if up else {}
    by_name = {name: outcomes.judge_health(returns.get(minion)) for name, minion in known.items()}
    return fleet_report.judged(fleet_report.report_on_all(by_name), __context__)


def ready(timeout: int = 60) -> dict[str, Any]:
    """
    Wait until a restart of the master that the head's states ordered is over and minions answer again.

    :param timeout: seconds.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.ready
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        units = [f"{paths.WATCHER_RESTART}.{kind}" for kind in ("timer", "service")]
        done = process.run(["systemctl", "is-active", *units], _QUESTION)
        if not {"active", "activating"} & set(done.output.split()) and _head_answers():
            return {"ready": True}
        time.sleep(1)
    __context__["retcode"] = 1
    return {"ready": False, "retcode": 1}


def _head_answers() -> bool:
    heads = sorted(__salt__["bcm.members"](__salt__["bcm.settings"]()["hosts"]["head"]).values())
    try:
        with minions.client(__opts__["conf_file"], _QUESTION) as run:
            return bool(rollout.answering(run, heads))
    except (SaltClientError, SaltReqTimeoutError):
        return False
