"""
The service dcgm-exporter: started or stopped as the node's BCM roles say.

``follows_roles`` is the only state that starts, stops or restarts it. What it does follows from the roles as they are,
not from the event that made it run: applied twice, it changes nothing.
"""

from __future__ import annotations

import os
from typing import Any

from superpod_dcgm.base import files as base_files
from superpod_dcgm.base import maintenance, ownership, paths, state, systemd
from superpod_dcgm.base import roles as node_roles
from superpod_dcgm.config import page_schema
from superpod_dcgm.exporter import installed, last_good, role_call, service

# Given by Salt's loader.
__opts__: dict[str, Any]

_ERRORS = (systemd.UnitError, OSError)
_ROLES_MISSING = (
    "No roles were delivered to this node: look at `salt-run bcm.status` on the head, then `salt-run bcm.sync`"
)


def follows_roles(
    name: str,
    release: str,
    roles: dict[str, Any],
    url: str,
    timeout: int = 60,
    files: list[str] | None = None,
    deploying: bool = False,
    schema: int = 0,
) -> dict[str, Any]:
    """
    Make sure that the exporter runs if the node's roles want it, with this release and its configuration, and else not.

    Unknown roles change neither whether it runs nor whether it starts at boot. A release or configuration that does
    not answer on ``/metrics`` in time, or does not show the GPUs and profiling rows that this node showed just before,
    is taken back, and the state fails. What else is odd with the page is a warning.

    :param name: the unit.
    :param release: the release that shall be current.
    :param roles: the section ``roles`` of the configuration.
    :param url: address of the exporter's own ``/metrics``.
    :param timeout: seconds until it must answer.
    :param files: further files whose change needs a restart.
    :param deploying: this run installs the exporter; without it, a node that has none is left alone.
    :param schema: the metric schema of the release, which its page is held against; 0: it is not.

    .. code-block:: yaml

        Start or stop dcgm-exporter as the node's roles say:
          dcgm_service.follows_roles:
            - name: dcgm-exporter.service
            - release: 4.5.3-4.8.2
            - roles: {source: bcm, run_on: [slurmclient]}
            - url: http://127.0.0.1:9400/metrics
    """
    unit = service.Unit(name, url, timeout, judge=page_schema.judge(release, schema))
    return _follow(unit, (release, schema), roles, tuple(files or ()), deploying, False)


def mod_watch(name: str, sfun: str = "follows_roles", **kwargs: Any) -> dict[str, Any]:
    """Restart the exporter because a watched state changed, or would change, what it runs with."""
    pinned = kwargs["release"], kwargs.get("schema", 0)
    unit = service.Unit(name, kwargs["url"], kwargs.get("timeout", 60), judge=page_schema.judge(*pinned))
    others = tuple(kwargs.get("files") or ())
    return _follow(unit, pinned, kwargs["roles"], others, kwargs.get("deploying", False), True)


def _follow(
    unit: service.Unit,
    pinned: tuple[str, int],
    roles: dict[str, Any],
    others: tuple[str, ...],
    deploying: bool,
    changed: bool,
) -> dict[str, Any]:
    release, _ = pinned
    if not os.path.exists(paths.UNIT_FILE) and not (deploying and __opts__["test"]):
        return state.result(unit.name, not deploying, f"{unit.name} is not deployed on this node yet")
    if __opts__["test"]:
        return _followed(unit, release, roles, others, deploying, changed)
    try:
        with role_call.alone():
            if deploying:
                role_call.remember(unit.name, unit.url, unit.timeout, others, roles, pinned=pinned)
            return _followed(unit, release, roles, others, deploying, changed)
    except base_files.Busy:
        return state.result(unit.name, False, f"{unit.name} is being started or stopped by a role call; apply again")
    except OSError as exc:
        return state.result(unit.name, False, str(exc))


def _followed(
    unit: service.Unit, release: str, roles: dict[str, Any], others: tuple[str, ...], deploying: bool, changed: bool
) -> dict[str, Any]:
    test = __opts__["test"]
    record = node_roles.read(paths.ROLES_FILE)
    decision = node_roles.decide(roles, node_roles.names_in(record))
    if (freed := maintenance.held()) and decision != "stopped":
        return state.result(unit.name, True, f"{unit.name} is left as it is: {maintenance.sentence(freed)}")
    try:
        desired = last_good.fingerprint(_choose(release, deploying), others)
        changes = service.plan(unit, decision, desired, changed)
        if decision != "stopped" and not test:
            service.let_start()
        if changes and not test:
            return _changed(unit, decision, desired, changes, _sentence(unit.name, decision, record))
    except _ERRORS as exc:
        return state.result(unit.name, False, str(exc))
    sentence = _sentence(unit.name, decision, record)
    if changes:
        return state.result(unit.name, None, f"{sentence}: would be changed", changes)
    return _unchanged(unit, decision, sentence, deploying)


def _changed(
    unit: service.Unit, decision: node_roles.Decision, desired: dict[str, Any], changes: dict[str, Any], sentence: str
) -> dict[str, Any]:
    try:
        done = service.act(unit, decision, desired, changes)
    except _ERRORS as exc:
        done = service.Done(str(exc))
    if done.problem and installed.linked_release() != desired["release"]:
        changes = {key: change for key, change in changes.items() if key != "release"}
    return _told(state.result(unit.name, not done.problem, done.problem or sentence, changes), done.notes)


def _told(ret: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """What is odd with the node, and no reason to fail."""
    return {**ret, "warnings": notes} if notes else ret


def _unchanged(unit: service.Unit, decision: node_roles.Decision, sentence: str, deploying: bool) -> dict[str, Any]:
    if decision == "running" and not __opts__["test"]:
        done = service.looked_at(unit)
        return _told(state.result(unit.name, not done.problem, done.problem or sentence), done.notes)
    notes = [_ROLES_MISSING] if decision == "unknown" and deploying else []
    return _told(state.result(unit.name, True, sentence), notes)


def _choose(release: str, deploying: bool) -> str | None:
    """A change of roles never changes the release: one that was taken back stays so until it is deployed again."""
    return release if deploying else installed.linked_release()


def _sentence(name: str, decision: node_roles.Decision, record: dict[str, Any] | None) -> str:
    roles = ", ".join((record or {}).get("roles", [])) or "none"
    return {
        "running": f"{name} runs (roles: {roles})",
        "stopped": f"{name} is stopped and disabled: none of this node's roles wants it (roles: {roles})",
        "unknown": f"{name} is left as it is: the roles of this node are not known yet",
    }[decision]


def stopped(name: str) -> dict[str, Any]:
    """
    Make sure that a unit neither runs nor starts at boot, whatever the roles of the node are.

    :param name: the unit.

    .. code-block:: yaml

        Stop and disable dcgm-exporter.service:
          dcgm_service.stopped:
            - name: dcgm-exporter.service
    """
    try:
        found = systemd.show(name)
        unit_file = found.get("FragmentPath", "")
        if os.path.lexists(unit_file) and not ownership.is_ours(unit_file, paths.EXPORTER_ROOT):
            return state.result(name, True, f"{name} is left as it is: {unit_file} is not ours")
        up, enabled = systemd.is_up(found), found.get("UnitFileState") == "enabled"
        failed = found.get("ActiveState") == "failed"
        if not up and not enabled and not failed:
            return state.result(name, True, f"{name} neither runs nor starts at boot")
        old = "running" if up else "failed" if failed else "enabled"
        changes = {"service": {"old": old, "new": "stopped"}}
        if __opts__["test"]:
            return state.result(name, None, f"{name} would be stopped and disabled", changes)
        systemd.systemctl("disable", "--now", name)
        systemd.forget_failure(name)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"{name} is stopped and disabled", changes)
