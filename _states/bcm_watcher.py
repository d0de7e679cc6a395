"""States of the head node that runs the watcher of BCM roles."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import state
from superpod_dcgm.watcher import head, head_link, targets

# Given by Salt's loader.
__opts__: dict[str, Any]
__states__: dict[str, Callable[..., dict[str, Any]]]


def authorities(name: str, files: list[str]) -> dict[str, Any]:
    """
    Join certificate authorities into one file, which the watcher checks CMDaemon's certificate against.

    :param name: the joined file.
    :param files: PEM files on this machine.

    .. code-block:: yaml

        Join the certificate authorities of BCM:
          bcm_watcher.authorities:
            - name: /etc/superpod-dcgm/ca.pem
            - files: [/cm/local/apps/cmd/etc/cacert.pem]
    """
    try:
        contents = head.authorities(files)
    except ValueError as exc:
        return state.result(name, False, str(exc))
    return __states__["file.managed"](name, contents=contents, mode="0644")


def credential(name: str, user: str) -> dict[str, Any]:
    """
    Give a certificate or key to the user that the master runs as, and nobody else. It is never made or copied here.

    :param name: path of the certificate or key.
    :param user: the master's user.

    .. code-block:: yaml

        Restrict the BCM credential to the master's user:
          bcm_watcher.credential:
            - name: /etc/superpod-dcgm/bcm.key
            - user: salt
    """
    if problem := head.credential_problem(name):
        return state.result(name, False, problem)
    return __states__["file.managed"](name, user=user, mode="0600", replace=False)


def configuration_counts(name: str) -> dict[str, Any]:
    """
    Check that no other file of the master's configuration replaces our engines, reactor or module_dirs, or is replaced.

    :param name: our file in master.d.

    .. code-block:: yaml

        Check that no other file of the master's configuration conflicts:
          bcm_watcher.configuration_counts:
            - name: /etc/salt/master.d/superpod-dcgm-watcher.conf
    """
    others = sorted(glob.glob(os.path.join(os.path.dirname(name), "*.conf")))
    main = os.path.join(os.path.dirname(os.path.dirname(name)), "master")
    found = head.conflicts([main, *others], name)
    return state.result(name, not found, "\n".join(found) or "no other file sets engines, reactor or module_dirs")


def targets_removed(name: str) -> dict[str, Any]:
    """
    Remove the target files that the watcher wrote. Files of others stay.

    :param name: the directory.

    .. code-block:: yaml

        Remove the target files that the watcher wrote:
          bcm_watcher.targets_removed:
            - name: /cm/shared/apps/dcgm-exporter/prometheus-targets
    """
    if not os.path.isdir(name):
        return state.result(name, True, "there are no target files")
    hosts = sorted(targets.ours(name))
    changes = {"removed": hosts} if hosts else {}
    if __opts__["test"]:
        return state.result(name, None if hosts else True, f"{len(hosts)} target files to be removed", changes)
    problems = targets.remove_all(name).problems
    return state.result(name, not problems, "\n".join(problems) or f"{len(hosts)} target files removed", changes)


def metrics_linked(name: str, directory: str) -> dict[str, Any]:
    """
    Link the watcher's metrics into the directory of a node_exporter that others run, and remove a link made before.

    :param name: the file that the watcher writes.
    :param directory: where node_exporter reads; empty for no link.

    .. code-block:: yaml

        Link the watcher's metrics:
          bcm_watcher.metrics_linked:
            - name: /var/lib/superpod-dcgm/metrics/superpod-dcgm-head.prom
            - directory: /var/lib/node_exporter
    """
    try:
        changes = head_link.plan(name, directory)
        if not changes:
            return state.result(name, True, f"{head_link.place(name, directory) or 'No link'} is as it should be")
        if __opts__["test"]:
            return state.result(name, None, "Links would be changed", changes)
        head_link.make(name, directory)
    except OSError as exc:
        return state.result(name, False, f"{exc.filename or directory}: {exc.strerror}")
    return state.result(name, True, "Links are changed", changes)
