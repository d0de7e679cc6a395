"""The package of our own Grafana: by a repository that these states add, or by a file of a known checksum."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import files, state
from superpod_dcgm.monitoring import grafana_own, grafana_repository, grafana_server, written

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def repository(name: str, url: str, key: str) -> dict[str, Any]:
    """
    Make sure that this machine has a package repository for Grafana, or that ours is gone.

    :param name: a sentence.
    :param url: its address; empty: there is to be none of ours.
    :param key: the file with its public key, as ``salt://…`` or path.

    .. code-block:: yaml

        Add the repository of Grafana:
          dcgm_grafana_package.repository:
            - url: https://apt.grafana.com
            - key: salt://site/grafana.asc
    """
    try:
        wanted = grafana_repository.texts(url, _text(key)) if url else {}
        todo = {path: "written" for path, text in wanted.items() if written.File(path, text).differences()}
        todo |= {path: "removed" for path in grafana_repository.present() if path not in wanted}
        if not todo:
            return state.result(name, True, "It is there" if url else "There is none of ours")
        if __opts__["test"]:
            return state.result(name, None, "Its files would be changed", todo)
        for path in todo:
            if path in wanted:
                grafana_own.make_above(path)
                written.File(path, wanted[path]).write()
            else:
                os.unlink(path)
        __salt__["pkg.refresh_db"]()
    except (OSError, KeyError, ValueError) as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, "It is there" if url else "It is removed", todo)


def _text(source: str) -> str:
    path = __salt__["cp.cache_file"](source) if source.startswith("salt://") else source
    return files.read_bounded(path or source, 1 << 20).decode()


def installed(name: str, file: str = "", sha256: str = "") -> dict[str, Any]:
    """
    Make sure that the package is installed: by the machine's repositories, or a file of a known checksum.

    :param name: the package.
    :param file: a deb or rpm, as ``salt://…`` or path; then its version is what counts.
    :param sha256: its checksum.

    .. code-block:: yaml

        Install Grafana:
          dcgm_grafana_package.packaged:
            - name: grafana
            - file: salt://site/grafana_13.0.1_amd64.deb
            - sha256: '…'
    """
    now = __salt__["pkg.version"](name) or ""
    wanted, path = "", file
    if file:
        path = __salt__["cp.cache_file"](file) if file.startswith("salt://") else file
        if wrong := grafana_server.wrong_file(path or file, sha256):
            return state.result(name, False, wrong)
        wanted = grafana_server.version(name, path)
        if not wanted:
            return state.result(name, False, f"dcgm:grafana:package_file: {file} is no package of the name {name}")
    if now and (not file or now == wanted):
        if not __opts__["test"]:
            grafana_own.note(ours=True)
        return state.result(name, True, f"{name} {now} is installed")
    changes = {name: {"old": now or None, "new": wanted or "installed"}}
    if __opts__["test"]:
        return state.result(name, None, f"{name} {wanted} would be installed", changes)
    return _installed(name, path, wanted, changes)


def _installed(name: str, path: str, wanted: str, changes: dict[str, Any]) -> dict[str, Any]:
    try:
        # Before: what is half done is ours, too.
        grafana_own.note(ours=True, package=name)
        sources = {"sources": [{name: path}]} if path else {"name": name, "refresh": True}
        __salt__["pkg.install"](**sources)
    except Exception as exc:
        return state.result(name, False, f"{name} cannot be installed: {exc}")
    now = __salt__["pkg.version"](name)
    if now and wanted not in ("", now):
        return state.result(name, False, f"{name} {now} is installed, not {wanted} of {path}")
    if not now:
        where = path or "the repositories of this machine (dcgm:grafana:repository, package_file)"
        return state.result(name, False, f"{name} is not installed: it is not to be had from {where}")
    return state.result(name, True, f"{name} {now} is installed", changes)
