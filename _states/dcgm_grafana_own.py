"""Our own Grafana on the monitoring host: a package, files, secrets that are made once, and a service that is well."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import paths, state, systemd
from superpod_dcgm.monitoring import (
    grafana_boards,
    grafana_folder,
    grafana_own,
    grafana_repository,
    grafana_server,
    written,
)
from superpod_dcgm.monitoring import page as pages

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
        if not grafana_server.is_as_it_ran(name):
            # Somebody's, who may have put a secret into it.
            difference = difference if difference == "New file" else "(not shown: it is not as these states wrote it)"
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


def serving(
    name: str,
    package: str,
    texts: dict[str, str],
    page: dict[str, Any],
    timeout: int,
    certificates: list[str] | None = None,
    secrets: list[str] | None = None,
) -> dict[str, Any]:
    """
    Make sure that our Grafana runs by its files, starts at boot, and says of itself that it is well.

    Another grafana.ini or package is a restart; provisioning files it reads anew while it runs; dashboards need
    nothing. With files by which it does not come up, those of the last time are put back, and the state fails.

    :param name: its unit.
    :param package: its package.
    :param texts: its files by path.
    :param page: how it is asked: ``port``, ``host``, ``tls``, ``ca``, ``prefix``.
    :param timeout: seconds that it may take.
    :param certificates: files for which it restarts when they change.
    :param secrets: files for which it reads its data source anew.

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
        version = str(__salt__["pkg.version"](package) or "")
        files_of_site = (tuple(certificates or ()), tuple(secrets or ()))
        wanted = grafana_server.Server(texts, pages.Page(**page), version, timeout, *files_of_site)
        todo = grafana_server.differences(wanted)
        if __opts__["test"]:
            words = ", ".join(f"{what} to be {done}" for what, done in todo.items()) or "it runs by its files"
            return state.result(name, None if todo else True, words, todo)
        if not todo:
            grafana_server.await_up(wanted)
            return state.result(name, True, f"{name} is well and listens on port {wanted.page.port}")
        hint = grafana_server.apply(wanted, todo)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    words = f"{name} is well and listens on port {wanted.page.port}"
    return state.result(name, True, f"{words}; {hint}" if hint else words, todo)


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
