"""Asks a Grafana by its API: how it is, and what of this project it has. Reads dashboards for the states."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import files
from superpod_dcgm.monitoring import grafana_boards, grafana_client, grafana_existing, grafana_objects, grafana_put
from superpod_dcgm.monitoring.grafana_client import Access, Client, GrafanaError

# Given by Salt's loader.
__salt__: dict[str, Callable[..., Any]]

_LARGEST = 16 << 20


def health(url: str, ca: str = "", timeout: float = 15) -> str:
    """
    Return the version of a Grafana that answers and is well; it is asked without a token.

    :param url: its address.
    :param ca: PEM file by which its certificate is checked; empty: the system's authorities.
    :param timeout: seconds for one answer.
    :raises CommandExecutionError: it does not answer or is not well.

    CLI Example:

    .. code-block:: bash

        salt 'mon-01' dcgm_grafana.health https://grafana.example.com
    """
    try:
        return grafana_client.health(Client(Access(url, "", ca, timeout)))
    except GrafanaError as exc:
        raise CommandExecutionError(str(exc)) from exc


def show() -> dict[str, Any]:
    """
    Return what this project has in Grafanas of others, by address: dashboards, data source, folder.

    :raises CommandExecutionError: one does not answer.

    CLI Example:

    .. code-block:: bash

        salt 'mon-01' dcgm_grafana.show
    """
    found = {}
    for url, facts in grafana_existing.record().items():
        try:
            there = grafana_existing.ours(Client(grafana_existing.access_of(url, facts)), facts)
        except GrafanaError as exc:
            raise CommandExecutionError(str(exc)) from exc
        found[url] = {**there, "dashboards": sorted(there["dashboards"])}
    return found


def folder(access: dict[str, Any], uid: str) -> dict[str, Any]:
    """
    Return ``state`` (``there``, ``absent``, ``unknown``), ``content`` and ``refusal`` of a folder.

    :param access: ``url``, ``token_file``, ``ca``, ``timeout``.
    :param uid: its uid.
    :raises CommandExecutionError: no answer.

    CLI Example:

    .. code-block:: bash

        salt mon-01 dcgm_grafana.folder "{url: https://grafana.example.com, token_file: /root/token}" superpod-dcgm
    """
    return _found(access, uid, grafana_objects.find_folder)


def data_source(access: dict[str, Any], uid: str) -> dict[str, Any]:
    """
    Return ``state``, ``content`` and ``refusal`` of a data source; its secrets are never told by Grafana.

    :param access: ``url``, ``token_file``, ``ca``, ``timeout``.
    :param uid: its uid.
    :raises CommandExecutionError: no answer.

    CLI Example:

    .. code-block:: bash

        salt 'mon-01' dcgm_grafana.data_source '{url: "https://grafana.example.com", token_file: /root/token}' prom
    """
    return _found(access, uid, grafana_objects.find_source)


def dashboard(access: dict[str, Any], uid: str) -> dict[str, Any]:
    """
    Return ``state``, ``content`` and ``refusal`` of a dashboard.

    :param access: ``url``, ``token_file``, ``ca``, ``timeout``.
    :param uid: its uid.
    :raises CommandExecutionError: no answer.

    CLI Example:

    .. code-block:: bash

        salt 'mon-01' dcgm_grafana.dashboard '{url: "https://grafana.example.com", token_file: /root/token}' my-uid
    """
    return _found(access, uid, grafana_put.find)


def _found(access: dict[str, Any], uid: str, find: Callable[[Client, str], grafana_objects.Found]) -> dict[str, Any]:
    try:
        found = find(Client(Access(**access)), uid)
    except GrafanaError as exc:
        raise CommandExecutionError(str(exc)) from exc
    return {"state": found.state, "content": dict(found.content), "refusal": found.refusal}


def boards(sources: list[str], data_source: str = "") -> list[Any]:
    """
    Return dashboards read from files, ready for Grafana. For states of this project.

    :param sources: JSON files, as ``salt://…`` or path on this machine.
    :param data_source: uid of the data source for those that ask for one.
    :raises BoardError: a file is missing, is no dashboard that Grafana takes, or two have the same uid or title.

    CLI Example:

    .. code-block:: bash

        salt 'mon-01' dcgm_grafana.boards '[salt://dcgm/grafana/files/superpod-cluster.json]'
    """
    found = [grafana_boards.read(source, _text(source), data_source) for source in sources]
    if same := grafana_boards.twins(found):
        raise grafana_boards.BoardError("\n".join(same))
    return found


def _text(source: str) -> str:
    path = __salt__["cp.cache_file"](source) if source.startswith("salt://") else source
    if not path:
        raise grafana_boards.BoardError(f"{source} is not on the file server")
    try:
        return files.read_bounded(path, _LARGEST).decode()
    except (OSError, UnicodeDecodeError) as exc:
        raise grafana_boards.BoardError(f"{source} cannot be read: {exc}") from exc
