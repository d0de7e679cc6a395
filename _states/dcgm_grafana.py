"""Folder, data source and dashboards in a Grafana of others, by its API. What is not ours is never changed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import files, paths, state
from superpod_dcgm.monitoring import grafana_boards as boards
from superpod_dcgm.monitoring import grafana_client as clients
from superpod_dcgm.monitoring import grafana_existing as existing
from superpod_dcgm.monitoring import grafana_objects as objects
from superpod_dcgm.monitoring import grafana_put as put
from superpod_dcgm.monitoring.grafana_client import Access, Client, GrafanaError

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

_ERRORS = (GrafanaError, boards.BoardError, OSError)
_LARGEST = 4096


def answers(name: str, access: dict[str, Any]) -> dict[str, Any]:
    """
    Check that a Grafana answers and is well. Nothing is changed.

    :param name: a sentence.
    :param access: ``url``, ``token_file`` (of root, closed to others), ``ca``, ``timeout`` in seconds.

    .. code-block:: yaml

        Check that Grafana answers:
          dcgm_grafana.answers:
            - access: {url: https://grafana.example.com, token_file: /root/grafana-token}
    """
    try:
        client = Client(Access(**access))
        return state.result(name, True, f"{client.url} is Grafana {clients.health(client)}")
    except _ERRORS as exc:
        return state.result(name, False, str(exc))


def folder(name: str, access: dict[str, Any], title: str) -> dict[str, Any]:
    """
    Make sure that a folder is there. One that is there is neither renamed nor moved.

    :param name: its uid.
    :param access: as for ``answers``.
    :param title: its title when it is made.

    .. code-block:: yaml

        Make the folder for the dashboards:
          dcgm_grafana.folder:
            - name: superpod-dcgm
            - access: {url: https://grafana.example.com, token_file: /root/grafana-token}
            - title: SuperPOD
    """
    try:
        client = Client(Access(**access))
        found = objects.find_folder(client, name)
        if found.state == "there":
            if not __opts__["test"]:
                existing.note(client.access, folder=name)
            return state.result(name, True, f"{client.url} has the folder {name}")
        changes = {"folder": {"old": None, "new": title}}
        if __opts__["test"]:
            unseen = f", unless it is there: the token may not look ({found.refusal})" if found.refusal else ""
            return state.result(name, None, f"The folder {title!r} would be made{unseen}", changes)
        made = objects.make_folder(client, name, title)
        existing.note(client.access, folder=name, **({"folder_made": True} if made.new else {}))
        words = f"{client.url} has the folder {title!r}"
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    ret = state.result(name, True, words, changes if made.new else {})
    return {**ret, "warnings": [f"{words}, but {made.note}"]} if made.new and made.note else ret


def data_source(
    name: str, access: dict[str, Any], settings: dict[str, Any], password_file: str = "", ca: str = ""
) -> dict[str, Any]:
    """
    Make sure that a data source of ours is as it is to be. Password and authority are sent, never compared or shown.

    :param name: its uid.
    :param access: as for ``answers``.
    :param settings: the data source as Grafana's API takes it, without secrets.
    :param password_file: a file on this machine with the password of its user.
    :param ca: a PEM file on this machine by which Grafana checks the certificate of the data source.

    .. code-block:: yaml

        Write the data source into Grafana:
          dcgm_grafana.data_source:
            - name: superpod-prometheus
            - access: {url: https://grafana.example.com, token_file: /root/grafana-token}
            - settings: {name: SuperPOD Prometheus, type: prometheus, access: proxy, url: 'http://mon-01:9090'}
    """
    try:
        client, wanted = Client(Access(**access)), {**settings, "uid": name}
        secrets = _secrets(password_file, ca)
        digest = hashlib.sha256(json.dumps(secrets, sort_keys=True).encode()).hexdigest()
        found = objects.find_source(client, name)
        if found.state == "there":
            if sentence := objects.source_obstacle(client, found.content):
                return state.result(name, False, sentence)
            todo = objects.source_differences(found.content, wanted)
            # It never tells them; what these states sent last is noted by its sum.
            if existing.known(client.access).get("secrets", digest) != digest:
                todo["secrets"] = {"old": "(not shown)", "new": "(not shown)"}
        else:
            todo = {"data source": {"old": None, "new": wanted["name"]}}
        if not todo:
            if not __opts__["test"]:
                existing.note(client.access, data_source=name, secrets=digest)
            return state.result(name, True, f"{client.url} has the data source {wanted['name']!r}")
        if __opts__["test"]:
            unseen = f", unless it is there: the token may not look ({found.refusal})" if found.refusal else ""
            return state.result(name, None, f"The data source would be put there{unseen}", todo)
        _put_source(client, found, {**wanted, "secureJsonData": secrets})
        existing.note(client.access, data_source=name, secrets=digest)
        left = objects.source_differences(objects.find_source(client, name).content, wanted)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    words = f"{client.url} has the data source {wanted['name']!r}"
    return state.result(name, not left, f"{words}, but for {', '.join(left)}" if left else words, todo)


def no_data_source(name: str, access: dict[str, Any]) -> dict[str, Any]:
    """
    Make sure that there is no data source of ours: the dashboards offer those of the site.

    :param name: a sentence.
    :param access: as for ``answers``.

    .. code-block:: yaml

        Remove the data source of ours:
          dcgm_grafana.no_data_source:
            - access: {url: https://grafana.example.com, token_file: /root/grafana-token}
    """
    try:
        asked = Access(**access)
        if not (uid := existing.known(asked).get("data_source")):
            return state.result(name, True, "There is none of ours")
        client = Client(asked)
        there = existing.ours(client, {"data_source": uid})
        if not __opts__["test"]:
            existing.remove(client, there)
            existing.note(asked, data_source="")
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    changes = {"removed": uid} if "data_source" in there else {}
    good = None if changes and __opts__["test"] else True
    return state.result(name, good, f"The data source {uid} {'would go' if good is None else 'is gone'}", changes)


def _put_source(client: Client, found: objects.Found, wanted: dict[str, Any]) -> None:
    if found.state != "there":
        if objects.make_source(client, wanted).new:
            return
        found = objects.find_source(client, wanted["uid"])
        if sentence := objects.source_obstacle(client, found.content):
            raise GrafanaError(sentence)
    objects.change_source(client, found.content, wanted)


def _secrets(password_file: str, ca: str) -> dict[str, str]:
    given = {"basicAuthPassword": password_file, "tlsCACert": ca}
    return {key: files.read_bounded(path, _LARGEST << 6).decode().strip() for key, path in given.items() if path}


def dashboards(
    name: str, access: dict[str, Any], folder: str, sources: list[str], data_source: str = ""
) -> dict[str, Any]:
    """
    Make sure that a folder has these dashboards. If one is in the way that is not ours, none is written.

    :param name: a sentence.
    :param access: as for ``answers``.
    :param folder: uid of the folder.
    :param sources: JSON files, as ``salt://…`` or path on this machine.
    :param data_source: uid of the data source for exported dashboards that ask for one.

    .. code-block:: yaml

        Write the dashboards into Grafana:
          dcgm_grafana.dashboards:
            - access: {url: https://grafana.example.com, token_file: /root/grafana-token}
            - folder: superpod-dcgm
            - sources: [salt://dcgm/grafana/files/superpod-cluster.json]
    """
    done: dict[str, Any] = {}
    try:
        wanted = __salt__["dcgm_grafana.boards"](sources, data_source)
        client = Client(Access(**access))
        steps, obstacles = put.plan(client, wanted, folder, existing.sent(client.access))
        if obstacles:
            return state.result(name, False, "\n".join([*obstacles, "No dashboard was written"]))
        former = existing.former(client, {board.uid for board in wanted})
        if __opts__["test"]:
            return _foretold(name, client, steps, former)
        for step in steps:
            existing.note_sent(client.access, folder, step.board.uid, put.carry_out(client, step, folder))
            if step.what:
                done[step.board.uid] = _change(step)
        for uid, new_api in former.items():
            put.remove(client, uid, new_api)
            existing.note_sent(client.access, folder, uid, None)
            done[uid] = "removed"
    except _ERRORS as exc:
        return state.result(name, False, str(exc), done)
    return state.result(name, True, f"{client.url} has the {len(steps)} dashboards", done)


def _foretold(name: str, client: Client, steps: list[put.Step], former: dict[str, bool]) -> dict[str, Any]:
    todo = {step.board.uid: _change(step) for step in steps if step.what} | dict.fromkeys(former, "removed")
    if not todo:
        return state.result(name, True, f"{client.url} has the {len(steps)} dashboards")
    unseen = [step for step in steps if step.unknown]
    words = f", unless they are there: the token may not look ({unseen[0].unknown})" if unseen else ""
    return state.result(name, None, f"{len(todo)} dashboards would be written{words}", todo)


def _change(step: put.Step) -> Any:
    return {"old": None, "new": step.board.title} if step.what == "made" else {"changed": list(step.parts)}


def removed(name: str) -> dict[str, Any]:
    """
    Take away what this project put into Grafanas of others. Their things stay, and so does a folder that has some.

    :param name: a sentence.

    .. code-block:: yaml

        Remove the dashboards from the Grafana of others:
          dcgm_grafana.removed: []
    """
    notes, changes = [], {}
    try:
        for url, facts in existing.record().items():
            client = Client(existing.access_of(url, facts))
            found = existing.ours(client, facts)
            gone = [*found["dashboards"], *(found[key] for key in ("data_source", "folder") if key in found)]
            if __opts__["test"]:
                changes[url] = {"removed": gone}
                continue
            notes += existing.remove(client, found)
            changes[url] = {
                "removed": [uid for uid in gone if not any(f"folder {uid} stays" in note for note in notes)]
            }
            existing.forget(url)
    except _ERRORS as exc:
        return state.result(name, False, f"{exc}. What is noted of it stays in {paths.GRAFANA_PUT}", changes)
    words = "; ".join(notes) or (
        "What was ours there is removed" if changes else "Nothing of ours is in a Grafana of others"
    )
    if __opts__["test"] and changes:
        return state.result(name, None, "It would be removed, if nothing of others is in the folder", changes)
    return state.result(name, True, words, changes)
