"""Offer a checkout of dcgm-exporter on the head to the builder, for sites whose nodes reach no git server."""

from __future__ import annotations

import os
from typing import Any

from superpod_dcgm.exporter import source

# Given by Salt's loader.
__opts__: dict[str, Any]


def published(name: str, checkout: str, release: str, commit: str) -> dict[str, Any]:
    """
    Make sure that a checkout, where there is one, is offered as a git bundle on shared storage.

    :param name: path of the bundle; it carries the commit, so one that is there is right.
    :param checkout: the folder; when it is missing there is nothing to do.
    :param release: release tag.
    :param commit: what the tag must point to.

    .. code-block:: yaml

        Offer the local checkout of dcgm-exporter to the builder:
          dcgm_source.published:
            - name: /cm/shared/apps/dcgm-exporter/artifacts/source/dcgm-exporter.bundle
            - checkout: /srv/dcgm-exporter
            - release: 4.5.3-4.8.2
            - commit: 691c92762eb551313c825f6efe4ceeee20982801
    """
    ret: dict[str, Any] = {"name": name, "result": True, "changes": {}, "comment": f"{name} is there"}
    if not checkout or not os.path.isdir(checkout):
        return {**ret, "comment": f"There is no checkout {checkout or 'beside the file root'}; the builder clones"}
    if os.path.exists(name):
        return _opened(ret)
    ret["changes"] = {"bundle": {"old": None, "new": commit}}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{checkout} would be offered as {name}"}
    try:
        source.publish(checkout, release, commit, name)
    except (source.SourceError, OSError) as exc:
        return {**ret, "result": False, "changes": {}, "comment": str(exc)}
    return {**ret, "comment": f"{checkout} is offered as {name}"}


def _opened(ret: dict[str, Any]) -> dict[str, Any]:
    """Let who builds read a bundle that is there: a minion with a strict umask may have made it."""
    modes = {os.path.dirname(ret["name"]): 0o755, ret["name"]: 0o644}
    closed = [path for path, mode in modes.items() if os.stat(path).st_mode & mode != mode]
    if not closed:
        return ret
    ret["changes"] = {"modes": closed}
    if __opts__["test"]:
        return {**ret, "result": None, "comment": f"{ret['name']} is there; its modes would be set right"}
    for path in closed:
        os.chmod(path, modes[path])
    return {**ret, "comment": f"{ret['name']} is there; its modes are set right"}
