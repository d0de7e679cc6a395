"""
Runner ``dcgm``: apply states to nodes, and say how the nodes are.

Every function returns one line per node and ends with exit code 1 if any node failed. The settings are those of the
watcher (runner ``bcm``).
"""

from __future__ import annotations

import itertools
import socket
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

from salt.exceptions import CommandExecutionError, SaltClientError, SaltReqTimeoutError
from superpod_dcgm.base import files, names, paths, process
from superpod_dcgm.config import counters, resolve
from superpod_dcgm.config import releases as known_releases
from superpod_dcgm.exporter import artifacts
from superpod_dcgm.fleet import cached_grain, health, judge, minions, outcomes, role_calls, rollout
from superpod_dcgm.fleet import members as fleet_members
from superpod_dcgm.fleet import report as fleet_report
from superpod_dcgm.watcher import holds

# Given by Salt's loader.
__context__: dict[str, Any]
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

# Seconds for systemd, and for pings: the first may be lost, since it is sent too early; a busy master needs longer.
_SYSTEMD = 30
_PINGS = (1, 1, 2, 4, 8)
_PAUSE = 0.3
# Seconds for a role call; hours that a node may be held without being held for good.
_CALL = 20
_MOST = 8760


def apply(
    sls: str,
    tgt: str | None = None,
    batch: str | None = None,
    failhard: bool = True,
    test: bool = False,
    timeout: int | None = None,
) -> dict[str, Any]:
    """
    Apply states to the nodes in batches and return one line per node. Nodes that are down or held are listed.

    It is a failure when nobody is matched or nobody answers. A node where another state run is at work is waited for.
    After the whole ``dcgm``, each node gets a role call: it starts or stops the exporter and looks whether it answers.

    :param tgt: another compound match than ``hosts:nodes``.
    :param batch: another size of the batches than ``watcher:batch``: a number or a percentage.
    :param failhard: leave the later batches alone when a node failed.
    :param timeout: seconds that a batch is waited for; by default long enough for a build.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.apply dcgm batch=10%
    """
    known, watcher_settings = __salt__["bcm.members"](tgt), __salt__["bcm.settings"]()
    size = str(batch or watcher_settings["watcher"]["batch"])
    if not rollout.is_batch(size):
        raise CommandExecutionError(
            f"batch: {batch!r} is not allowed; it must be a number such as 4, or one such as 10%"
        )
    held = holds.read(holds.path(watcher_settings), time.time()).keys() & known.keys()
    free = {name: minion for name, minion in known.items() if name not in held}
    with minions.client(__opts__["conf_file"], timeout or watcher_settings["longest_apply"]) as run:
        up = rollout.answering(run, sorted(free.values()))
        found = rollout.apply_states(run, up, sls, size, failhard, sync_mods="all", test=test)
    by_name = {name: found.get(minion, outcomes.DOWN) for name, minion in free.items()}
    if sls == "dcgm" and not test:
        by_name = _called(watcher_settings, free, by_name)
    by_name.update(dict.fromkeys(held, outcomes.HELD))
    by_name.update(_disputed(tgt, known))
    return fleet_report.judged(fleet_report.report_on_all(by_name), __context__)


def _called(
    watcher_settings: dict[str, Any], known: dict[str, str], by_name: dict[str, outcomes.Outcome]
) -> dict[str, outcomes.Outcome]:
    """Call the nodes whose apply succeeded; one that does not follow its roles then is no success."""
    done = [name for name, outcome in by_name.items() if outcome.state == "ok"]
    try:
        with minions.client(__opts__["conf_file"], _CALL) as run:
            said = role_calls.outcomes_of(watcher_settings, known, cached_grain.keeping(__opts__, run), done)
    except files.Busy as exc:
        said = dict.fromkeys(done, outcomes.Outcome("busy", f"applied; its role call is left to the next poll: {exc}"))
    return {**by_name, **{name: outcome for name, outcome in said.items() if outcome.state != "ok"}}


def _disputed(tgt: str | None, served: Collection[str] = ()) -> dict[str, outcomes.Outcome]:
    """The nodes of which two keys are accepted, but for those ``served`` all the same: only one of the two answers."""
    found = __salt__["bcm.disputed"](tgt)
    return {name: outcomes.Outcome("failed", why) for name, why in found.items() if name not in served}


def hold(nodes: str, hours: float | None = None) -> dict[str, Any]:
    """
    Hold nodes: the watcher and ``dcgm.apply`` leave them alone until they are let go.

    Roles are followed again after that. The exporter stays as it is now. Returns the holds that count now.

    :param nodes: names, with commas.
    :param hours: let them go by itself after that; by default they are held until ``dcgm.unhold``.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.hold dgx-01
        salt-run dcgm.hold dgx-01,dgx-02 8
    """
    chosen = _named(nodes)
    # Salt's command line gives what looks like a number as one, and all else as it is.
    given: Any = hours
    if given is not None and (given is True or not isinstance(given, (int, float)) or not 0 < given <= _MOST):
        raise CommandExecutionError(f"hours: {hours!r} is not allowed; it must be a number above 0 up to {_MOST}")
    path = holds.path(__salt__["bcm.settings"]())
    holds.hold(path, chosen, hours, time.time(), names.timestamp())
    return _holds(path)


def unhold(nodes: str) -> dict[str, Any]:
    """
    Let held nodes go. What they are owed comes with the next poll. Returns the holds that are left.

    :param nodes: names, with commas.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.unhold dgx-01
    """
    path = holds.path(__salt__["bcm.settings"]())
    # A node that went away may be held still.
    known = fleet_members.Members({**dict.fromkeys(holds.read(path, time.time()), ""), **__salt__["bcm.members"]()})
    chosen = {known.name_of(name) for name in fleet_members.listed(nodes)}
    found = holds.unhold(path, chosen, time.time())
    if strange := sorted(chosen - set(found)):
        raise CommandExecutionError(f"not held: {', '.join(strange)}; held are {', '.join(_holds(path)) or 'none'}")
    return _holds(path)


def _named(nodes: str) -> list[str]:
    known = fleet_members.Members(__salt__["bcm.members"]())
    chosen = [known.name_of(name) for name in fleet_members.listed(nodes)]
    if strange := sorted(set(chosen) - known.nodes.keys()):
        raise CommandExecutionError(f"no accepted minion that hosts:nodes matches is called {', '.join(strange)}")
    return chosen


def _holds(path: str) -> dict[str, Any]:
    return {name: holds.text(one) for name, one in sorted(holds.read(path, time.time()).items())}


def check() -> dict[str, Any]:
    """
    Judge the pillar, before anything is applied: each problem in a sentence, or in a few lines what would happen.

    It needs no watcher. Before the head was applied to, ``salt-run saltutil.sync_all`` brings it (README, step 4), or
    ``runner_dirs`` and ``utils_dirs`` in the master's configuration do. With problems it ends with exit code 1.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.check
    """
    files = judge.served(__opts__, ("defaults", "schema", "compatibility", "fields"))

    def resolved(pillar: Any) -> dict[str, Any]:
        found = resolve.configuration(files["defaults"], files["schema"], files["compatibility"], pillar)
        if wrong := counters.problems(found["exporter"], files["fields"], judge.reader(__opts__)):
            raise resolve.ConfigurationError("\n".join(wrong))
        return found

    found, plan = judge.judged(__opts__, resolved, _missing_to_build)
    if not found:
        return {"right": True, "plan": plan}
    __context__["retcode"] = 1
    return {"right": False, "problems": found, "retcode": 1}


def _missing_to_build(configuration: dict[str, Any], arch: str) -> list[str]:
    """What is missing for a build, unless its artifact is in the store already."""
    exporter = configuration["exporter"]
    stored = artifacts.is_stored(exporter["store"], exporter["release"], arch, exporter["facts"]["commit"])
    return [] if stored else resolve.build_errors(configuration, arch)


def releases() -> dict[str, Any]:
    """
    Show what is known of each release of dcgm-exporter, and what only release notes say. Nothing is asked or changed.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.releases
        salt-run dcgm.releases --out=json
    """
    files = judge.served(__opts__, ("compatibility",))
    # By this key Salt prints the return as a table, unless the command line asks for another outputter.
    return {"outputter": "dcgm_releases", "releases": known_releases.table(files["compatibility"])}


def report(tgt: str | None = None, short: bool = False) -> dict[str, Any]:
    """
    Ask every node how it is: roles, release, whether the exporter should run and does. It fails if nobody answers.

    A node fails whose exporter does not follow its roles, or whose release is not the pillar's.

    :param tgt: another compound match than ``hosts:nodes``.
    :param short: return one sentence per node, as orchestrations end with, in place of all that is known.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.report
        salt-run dcgm.report 'dgx-01'
    """
    known, watcher_settings = __salt__["bcm.members"](tgt), __salt__["bcm.settings"]()
    with minions.client(__opts__["conf_file"], watcher_settings["watcher"]["deadline"]) as run:
        answers = health.ask(watcher_settings, known, known, run)
    exporter = watcher_settings["exporter"]
    release = exporter.get("release") if exporter["enabled"] else None
    by_name = {name: outcomes.judge_health(answers.get(name), release) for name in known}
    by_name.update(_disputed(tgt))
    if short:
        return fleet_report.judged(fleet_report.report_on_all(by_name), __context__)
    return fleet_report.judged(fleet_report.on_health(__salt__["bcm.status"](tgt=tgt), by_name), __context__)


def ready(timeout: int = 180) -> dict[str, Any]:
    """
    Wait until a restart of the master that the head's states ordered is over and minions answer again.

    Returns ``ready`` and the seconds that it ``waited``.

    :param timeout: seconds.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.ready
    """
    began = time.monotonic()
    pings = itertools.chain(_PINGS, itertools.repeat(_PINGS[-1]))
    while not (found := not _restarts() and _listens() and _head_answers(pings)) and time.monotonic() < began + timeout:
        time.sleep(_PAUSE)
    waited = round(time.monotonic() - began, 1)
    if found:
        return {"ready": True, "waited": waited}
    __context__["retcode"] = 1
    return {"ready": False, "waited": waited, "retcode": 1}


def _restarts() -> bool:
    units = [f"{paths.WATCHER_RESTART}.{kind}" for kind in ("timer", "service")]
    done = process.run(["systemctl", "is-active", *units], _SYSTEMD)
    return bool({"active", "activating"} & set(done.output.split()))


def _head_answers(pings: Iterator[int]) -> bool:
    """Ask the head's minion, and soon again: what is sent before it has subscribed to the new master is lost."""
    heads = sorted(__salt__["bcm.members"](__salt__["bcm.settings"]()["hosts"]["head"]).values())
    try:
        with minions.client(__opts__["conf_file"], next(pings)) as run:
            return bool(rollout.answering(run, heads))
    except (SaltClientError, SaltReqTimeoutError):
        return False


def _listens() -> bool:
    """Whether the master takes requests: to one that does not, Salt's client would wait long in vain."""
    address = __opts__["interface"] if __opts__["interface"] not in ("0.0.0.0", "::") else "localhost"
    try:
        socket.create_connection((address, __opts__["ret_port"]), _PINGS[0]).close()
    except OSError:
        return False
    return True
