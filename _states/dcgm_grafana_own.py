"""Our own Grafana on the monitoring host: a package, files, secrets that are made once, and a service that is well."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import files, paths, state, systemd
from superpod_dcgm.monitoring import (
    grafana_boards,
    grafana_folder,
    grafana_own,
    grafana_repository,
    grafana_server,
    page,
    written,
)

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__states__: dict[str, Callable[..., dict[str, Any]]]

_ERRORS = (OSError, KeyError, systemd.UnitError, grafana_server.ServerError, grafana_boards.BoardError)


def possible(name: str, port: int, package: str) -> dict[str, Any]:
    """
    Check that our Grafana takes nothing of others: port, service, data, files. Nothing is changed.

    :param name: a sentence.
    :param port: where it is to listen.
    :param package: the package that brings it.

    .. code-block:: yaml

        Check that grafana-server.service takes nothing of others:
          dcgm_grafana_own.possible:
            - port: 3000
            - package: grafana
    """
    found = grafana_own.obstacles(port, package)
    return state.result(name, not found, "\n".join(found) or f"port {port} and {paths.GRAFANA_UNIT} are free or ours")


def repository(name: str, url: str, key: str) -> dict[str, Any]:
    """
    Make sure that this machine has a package repository for Grafana, or that ours is gone.

    :param name: a sentence.
    :param url: its address; empty: there is to be none of ours.
    :param key: the file with its public key, as ``salt://…`` or path.

    .. code-block:: yaml

        Add the repository of Grafana:
          dcgm_grafana_own.repository:
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
    except (*_ERRORS, ValueError) as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, "It is there" if url else "It is removed", todo)


def _text(source: str) -> str:
    path = __salt__["cp.cache_file"](source) if source.startswith("salt://") else source
    return files.read_bounded(path or source, 1 << 20).decode()


def packaged(name: str, file: str = "", sha256: str = "") -> dict[str, Any]:
    """
    Make sure that the package is installed: by the machine's repositories, or a file of a known checksum.

    :param name: the package.
    :param file: a deb or rpm, as ``salt://…`` or path; then its version is what counts.
    :param sha256: its checksum.

    .. code-block:: yaml

        Install Grafana:
          dcgm_grafana_own.packaged:
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
    return _installed(name, path, changes)


def _installed(name: str, path: str, changes: dict[str, Any]) -> dict[str, Any]:
    try:
        # Before: what is half done is ours, too.
        grafana_own.note(ours=True, package=name)
        sources = {"sources": [{name: path}]} if path else {"name": name, "refresh": True}
        __salt__["pkg.install"](**sources)
    except Exception as exc:
        return state.result(name, False, f"{name} cannot be installed: {exc}")
    now = __salt__["pkg.version"](name)
    if not now:
        where = path or "the repositories of this machine (dcgm:grafana:repository, package_file)"
        return state.result(name, False, f"{name} is not installed: it is not to be had from {where}")
    return state.result(name, True, f"{name} {now} is installed", changes)


def secrets(name: str) -> dict[str, Any]:
    """
    Make the administrator's password and the secret key, once. They are shown nowhere, and never made anew.

    :param name: a sentence.

    .. code-block:: yaml

        Make the secrets of Grafana:
          dcgm_grafana_own.secrets: []
    """
    changes = grafana_own.missing_secrets()
    if not changes:
        return state.result(name, True, "They are there")
    if __opts__["test"]:
        return state.result(name, None, "They would be made, or closed to others", changes)
    try:
        grafana_own.make_secrets()
    except _ERRORS as exc:
        return state.result(name, False, f"They cannot be made: {exc}")
    left = grafana_own.missing_secrets()
    return state.result(name, not left, f"The password of the user admin is in {paths.GRAFANA_PASSWORD}", changes)


def configured(name: str, contents: str) -> dict[str, Any]:
    """
    Write a file of our Grafana as root's, which the group grafana can read, as its package has them.

    :param name: the file.
    :param contents: its text; there is no secret in it.

    .. code-block:: yaml

        Write /etc/grafana/grafana.ini:
          dcgm_grafana_own.configured:
            - name: /etc/grafana/grafana.ini
            - contents: '[server]'
    """
    file = written.File(name, contents, group=paths.GRAFANA_USER)
    try:
        # In test mode, before the package came, there is no group.
        difference = file.differences() if os.path.lexists(name) else "New file"
        if not difference:
            return state.result(name, True, f"{name} is as it should be")
        if __opts__["test"]:
            return state.result(name, None, f"{name} would be written", {"diff": difference})
        if name == paths.GRAFANA_INI:
            grafana_own.keep_original()
        grafana_own.make_above(name)
        file.write()
        left = file.differences()
    except _ERRORS as exc:
        return state.result(name, False, f"{name} cannot be written: {exc}")
    return state.result(name, not left, f"{name} is written", {"diff": difference})


def boards(name: str, sources: list[str], title: str, data_source: str = "") -> dict[str, Any]:
    """
    Make sure that our folder has these dashboards. A file that Grafana would not take stops it before one is written.

    :param name: a sentence.
    :param sources: JSON files, as ``salt://…`` or path on this machine.
    :param title: what Grafana calls the folder.
    :param data_source: uid of the data source for exported dashboards that ask for one.

    .. code-block:: yaml

        Write the dashboards:
          dcgm_grafana_own.boards:
            - sources: [salt://dcgm/grafana/files/superpod-cluster.json]
            - title: SuperPOD
    """
    try:
        folder = grafana_folder.Folder(__salt__["dcgm_grafana.boards"](sources, data_source), title)
        if obstacles := folder.obstacles():
            return state.result(name, False, "\n".join([*obstacles, "No dashboard was written"]))
        todo = folder.differences()
        if not todo:
            return state.result(name, True, f"{len(sources)} dashboards are there")
        if __opts__["test"]:
            return state.result(name, None, "They would be changed; Grafana reads them within a minute", todo)
        folder.install(todo)
        left = folder.differences()
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(
        name, not left, f"{len(sources)} dashboards are there; Grafana reads them within a minute", todo
    )


def serving(name: str, package: str, texts: dict[str, str], page: dict[str, Any], timeout: int) -> dict[str, Any]:
    """
    Make sure that our Grafana runs by its files, starts at boot, and says of itself that it is well.

    Another grafana.ini or package is a restart; provisioning files it reads anew while it runs; dashboards need
    nothing. With files by which it does not come up, those of the last time are put back, and the state fails.

    :param name: its unit.
    :param package: its package.
    :param texts: its files by path.
    :param page: how it is asked: ``port``, ``host``, ``tls``, ``ca``, ``prefix``.
    :param timeout: seconds that it may take.

    .. code-block:: yaml

        Start grafana-server.service:
          dcgm_grafana_own.serving:
            - name: grafana-server.service
            - package: grafana
            - texts: {/etc/grafana/grafana.ini: '[server]'}
            - page: {port: 3000}
            - timeout: 120
    """
    try:
        wanted = _server(package, texts, page, timeout)
        todo = grafana_server.differences(wanted)
        if __opts__["test"] or not todo:
            words = ", ".join(f"{what} to be {done}" for what, done in todo.items()) or "it runs as it should"
            return state.result(name, None if todo else True, words, todo)
        hint = grafana_server.apply(wanted, todo)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    words = f"{name} is well and listens on port {wanted.page.port}"
    return state.result(name, True, f"{words}; {hint}" if hint else words, todo)


def _server(package: str, texts: dict[str, str], asked: dict[str, Any], timeout: int) -> grafana_server.Server:
    version = str(__salt__["pkg.version"](package) or "")
    return grafana_server.Server(texts, page.Page(**asked), version, timeout)


def removed(name: str) -> dict[str, Any]:
    """
    Remove our Grafana, and give the package its own grafana.ini back. Package and data stay, and secrets with the data.

    :param name: its unit.

    .. code-block:: yaml

        Remove grafana-server.service:
          dcgm_grafana_own.removed:
            - name: grafana-server.service
    """
    there = [*grafana_own.present(), *grafana_repository.present()]
    kept = [paths.GRAFANA_DATA, *grafana_own.secrets_there()] if grafana_own.has_data() else []
    stays = f"its data stays, with what reads it: remove it with rm -r {' '.join(kept)}" if kept else "it has no data"
    if not there:
        return state.result(name, True, f"{name} of ours is not there")
    changes: dict[str, Any] = {"removed": there, **({"kept": kept} if kept else {})}
    if package := grafana_own.record().get("package"):
        changes["package that stays"] = package
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed; {stays}", changes)
    try:
        grafana_own.remove()
        for path in grafana_repository.present():
            os.unlink(path)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"{name} is removed; {stays}", changes)
