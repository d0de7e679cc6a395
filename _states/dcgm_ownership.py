"""Whose files are: nobody's exporter is replaced, and only what is ours is removed."""

from __future__ import annotations

import os
import shutil
from typing import Any

from superpod_dcgm.base import ownership, paths, state, systemd
from superpod_dcgm.base import roles as node_roles
from superpod_dcgm.exporter import claims

# Given by Salt's loader.
__opts__: dict[str, Any]


def granted(name: str, endpoint: str, roles: dict[str, Any]) -> dict[str, Any]:
    """
    Check that no other exporter is on this node: its files, its unit, its port. All that installs ours requires this.

    :param name: the unit of ours.
    :param endpoint: where ours shall listen, as ``address:port``.
    :param roles: the section ``roles`` of the configuration: where ours shall not run, its port is not looked at.

    .. code-block:: yaml

        Check that no other exporter is in the way:
          dcgm_ownership.granted:
            - name: dcgm-exporter.service
            - endpoint: ':9400'
            - roles: {source: bcm, run_on: [slurmclient]}
    """
    decision = node_roles.decide(roles, node_roles.names_in(node_roles.read(paths.ROLES_FILE)))
    try:
        up = systemd.is_up(systemd.show(name))
        found = claims.refusals(endpoint, decision == "running" or (decision == "unknown" and up))
    except (systemd.UnitError, OSError) as exc:
        return state.result(name, False, f"It cannot be found out whether another exporter is on this node: {exc}")
    if found:
        return state.result(name, False, f"Nothing of the exporter is changed on this node. {'. '.join(found)}.")
    return state.result(name, True, "No other exporter is in the way")


def noted(name: str) -> dict[str, Any]:
    """
    Note that the content of a file is ours, so that it can be told from what somebody else puts there later.

    :param name: a file that another state just wrote, and that cannot say itself whose it is; a link can.

    .. code-block:: yaml

        Write down the digest of the counters of dcgm-exporter:
          dcgm_ownership.noted:
            - name: /etc/dcgm-exporter/default-counters.csv
    """
    try:
        if not __opts__["test"]:
            ownership.forget(name) if os.path.islink(name) else ownership.note(name)
    except OSError as exc:
        return state.result(name, False, f"It cannot be noted that {name} is ours: {exc}")
    return state.result(name, True, f"{name} is known as ours")


def removed(name: str, files: list[str], root: str = "", kept: list[str] | None = None) -> dict[str, Any]:
    """
    Remove those of some files and directories that are ours; what others put there stays and is named.

    :param name: what the report calls them.
    :param files: what may be somebody else's: links, and files that say whose they are or were noted.
    :param root: the directory that links of ours lead into; ``/opt/dcgm-exporter`` by default.
    :param kept: what nobody else can have, such as directories below /run that are named after this project.

    .. code-block:: yaml

        Remove the files of dcgm-exporter:
          dcgm_ownership.removed:
            - files: [/usr/bin/dcgm-exporter]
            - kept: [/run/superpod-dcgm]
    """
    there = [path for path in files if os.path.lexists(path)]
    ours = [path for path in there if ownership.is_ours(path, root or paths.EXPORTER_ROOT)]
    foreign = ownership.owners([path for path in there if path not in ours], root or paths.EXPORTER_ROOT)
    stays = "".join(f"; {path} stays: {_whose(owner)}" for path, owner in foreign.items())
    gone = [*ours, *(path for path in kept or [] if os.path.lexists(path))]
    return _remove(name, gone, stays)


def _whose(owner: ownership.Owner) -> str:
    return f"it belongs to {owner.name}" if owner.foreign else "somebody changed it since we wrote it"


def releases_removed(name: str) -> dict[str, Any]:
    """
    Remove all releases that are installed below a directory, and the directory if nothing of others is left in it.

    :param name: /opt/dcgm-exporter.

    .. code-block:: yaml

        Remove all releases of dcgm-exporter:
          dcgm_ownership.releases_removed:
            - name: /opt/dcgm-exporter
    """
    return _emptied(name, claims.ours_in_root())


def node_state_removed(name: str) -> dict[str, Any]:
    """
    Remove what the states of a node keep; what a head keeps in the same directory stays.

    :param name: /var/lib/superpod-dcgm.

    .. code-block:: yaml

        Remove /var/lib/superpod-dcgm:
          dcgm_ownership.node_state_removed:
            - name: /var/lib/superpod-dcgm
    """
    return _emptied(name, [path for path in paths.NODE_FILES if os.path.lexists(path)])


def _emptied(name: str, ours: list[str]) -> dict[str, Any]:
    if not os.path.isdir(name):
        return state.result(name, True, f"{name} is not there")
    others = sorted(set(os.listdir(name)) - {os.path.basename(path) for path in ours})
    stays = f"; {name} stays, because of what others put there: {', '.join(others)}" if others else ""
    # A link to another place is the site's.
    return _remove(name, [*ours, *([] if others or os.path.islink(name) else [name])], stays)


def _remove(name: str, gone: list[str], stays: str) -> dict[str, Any]:
    if not gone:
        return state.result(name, True, f"Nothing of ours is there{stays}")
    changes = {"removed": gone}
    if __opts__["test"]:
        return state.result(name, None, f"{len(gone)} would be removed{stays}", changes)
    try:
        for path in gone:
            # A file of ours that was noted is another's when he puts one there.
            ownership.forget(path)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    except OSError as exc:
        return state.result(name, False, f"{exc.filename or name} cannot be removed: {exc.strerror}")
    left = [path for path in gone if os.path.lexists(path)]
    return state.result(name, not left, f"{len(gone) - len(left)} removed{stays}", changes)
