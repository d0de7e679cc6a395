"""Folder and data source in a Grafana of others: what is there, what is ours, and how it gets there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import quote

from superpod_dcgm.monitoring.grafana_boards import MARK
from superpod_dcgm.monitoring.grafana_client import Answer, Client, GrafanaError

# Of the API that follows the one that Grafana calls its legacy: the versions that take classic dashboards.
_VERSIONS = ("v1", "v1beta1")
_BROKEN = (500,)
_VIEWER = "Viewer"


@dataclass(frozen=True)
class Found:
    """
    What a Grafana says of a thing.

    ``unknown``: it refuses to tell. Some versions do so for what is not there, so only a refusal to make it counts.
    ``new_api``: which API told. ``refusal``: in its words.
    """

    state: Literal["there", "absent", "unknown"]
    content: Mapping[str, Any] = field(default_factory=dict)
    new_api: bool = False
    refusal: str = ""


@dataclass(frozen=True)
class Made:
    """What came of making a thing; ``note``: what an administrator should know of it."""

    new: bool
    note: str = ""


def place(client: Client, group: str, kind: str, version: str) -> str:
    """Return the path of a kind of things in the new API, in the organisation that the token belongs to."""
    organisation = client.ask("GET", "/api/org").fields.get("id", 1)
    space = "default" if organisation == 1 else f"org-{organisation}"
    return f"/apis/{group}.grafana.app/{version}/namespaces/{space}/{kind}"


def ask_new(
    client: Client, method: str, group: str, kind: str, uid: str = "", body: Mapping[str, Any] | None = None
) -> Answer:
    """Ask the new API, by the first of its versions that the server has."""
    answer = Answer(404)
    for version in _VERSIONS:
        path = place(client, group, kind, version) + (f"/{quote(uid)}" if uid else "")
        sent = {"apiVersion": f"{group}.grafana.app/{version}", **body} if body is not None else None
        answer = client.ask(method, path, sent, takes=_BROKEN)
        if not answer.absent:
            break
    return answer


def find_folder(client: Client, uid: str) -> Found:
    """
    Return what is known of a folder.

    :raises GrafanaError: no answer.
    """
    answer = client.ask("GET", f"/api/folders/{quote(uid)}")
    if answer.good:
        return Found("there", answer.fields)
    if answer.absent:
        new = ask_new(client, "GET", "folder", "folders", uid)
        return Found("there", new.fields, new_api=True) if new.good else Found("absent")
    return Found("unknown", refusal=answer.message)


def make_folder(client: Client, uid: str, title: str) -> Made:
    """
    Make a folder that is not known to be there; one that turns out to be there stays as it is.

    :raises GrafanaError: it is refused, or another folder has the title.
    """
    answer = client.ask("POST", "/api/folders", {"uid": uid, "title": title})
    new_api = answer.absent
    if new_api:
        answer = ask_new(client, "POST", "folder", "folders", body=_folder(uid, title))
    if answer.good:
        return Made(True, unread(client, uid) if new_api else "")
    if answer.clashes:
        if find_folder(client, uid).state == "absent":
            raise GrafanaError(
                f"{client.url} has another folder that is called {title!r} ({answer.message}): choose another title in "
                "dcgm:grafana:folder:title, or take its uid in dcgm:grafana:folder:uid"
            )
        return Made(False, "it is there already")
    raise refused(client, answer, f"the folder {title!r} cannot be made", "folders:create")


def _folder(uid: str, title: str) -> dict[str, Any]:
    # Without the word on permissions, those who only look could not see what is made by the new API.
    notes = {"grafana.app/grant-permissions": "default"}
    return {"kind": "Folder", "metadata": {"name": uid, "annotations": notes}, "spec": {"title": title}}


def unread(client: Client, uid: str) -> str:
    """Return a sentence if those with the role Viewer cannot read a folder, or if nobody can tell; else ``""``."""
    answer = client.ask("GET", f"/api/folders/{quote(uid)}/permissions")
    if not answer.good or not isinstance(answer.content, list):
        return (
            "whether Viewers can read the folder is not known, since this token may not look: look at its permissions"
        )
    if any(isinstance(entry, dict) and entry.get("role") == _VIEWER for entry in answer.content):
        return ""
    return "Viewers cannot read the folder: give the role Viewer the permission View on it"


def find_source(client: Client, uid: str) -> Found:
    """
    Return what is known of a data source.

    :raises GrafanaError: no answer.
    """
    answer = client.ask("GET", f"/api/datasources/uid/{quote(uid)}")
    if answer.good:
        return Found("there", answer.fields)
    return Found("absent") if answer.absent else Found("unknown", refusal=answer.message)


def is_our_source(content: Mapping[str, Any]) -> bool:
    """Return whether a data source says that it is ours."""
    settings = content.get("jsonData")
    return isinstance(settings, dict) and settings.get("managedBy") == MARK


def source_obstacle(client: Client, content: Mapping[str, Any]) -> str:
    """Return why a data source that is there cannot be ours to change, in a sentence; ``""`` where it can."""
    uid, name = content.get("uid"), content.get("name")
    if content.get("readOnly"):
        return (
            f"the data source {name!r} ({uid}) of {client.url} comes from a file on that server, which alone "
            "can change it: "
            "choose another uid and name in dcgm:grafana:data_source, or empty its url"
        )
    if not is_our_source(content):
        return (
            f"the data source {name!r} ({uid}) of {client.url} was not made by this project and stays as it is: choose "
            "another uid in dcgm:grafana:data_source, or empty its url to use those that are there"
        )
    return ""


def source_differences(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return old and new value of what differs. What the server adds does not count, nor secrets, which it "
    "never tells."""
    found = {}
    for name, value in wanted.items():
        if name == "secureJsonData":
            continue
        old = now.get(name)
        if name == "jsonData" and isinstance(old, dict):
            found.update({f"jsonData:{key}": (old.get(key), new) for key, new in value.items() if old.get(key) != new})
        elif old != value and not (old is None and value in ("", False)):
            found[name] = (old, value)
    return {name: {"old": old, "new": new} for name, (old, new) in found.items()}


def make_source(client: Client, wanted: Mapping[str, Any]) -> Made:
    """
    Make a data source that is not known to be there.

    :raises GrafanaError: it is refused, or one of others is in the way.
    """
    answer = client.ask("POST", "/api/datasources", wanted)
    if answer.good:
        return Made(True)
    if answer.clashes:
        found = find_source(client, str(wanted["uid"]))
        if found.state == "there":
            return Made(False, "it is there already")
        if found.state == "unknown":
            raise GrafanaError(
                f"{client.url} has the data source {wanted['name']!r}, or its uid, already, and does not show "
                "it to this "
                f"token: {found.refusal}"
            )
        raise GrafanaError(
            f"{client.url} has another data source that is called {wanted['name']!r} ({answer.message}): choose "
            "another name "
            "in dcgm:grafana:data_source:name"
        )
    raise refused(client, answer, f"the data source {wanted['name']!r} cannot be made", "datasources:create")


def change_source(client: Client, now: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """
    Change a data source of ours.

    :raises GrafanaError: it is refused, or somebody changed it meanwhile.
    """
    body = {**wanted, **({"version": now["version"]} if "version" in now else {})}
    answer = client.ask("PUT", f"/api/datasources/uid/{quote(str(wanted['uid']))}", body)
    if answer.clashes:
        raise GrafanaError(
            f"somebody changed the data source {wanted['name']!r} meanwhile ({answer.message}): apply again"
        )
    if not answer.good:
        raise refused(client, answer, f"the data source {wanted['name']!r} cannot be changed", "datasources:write")


def refused(client: Client, answer: Answer, what: str, permission: str) -> GrafanaError:
    """Return the error for what a server refuses to do."""
    if answer.status == 403 and "read-only" in answer.message:
        why = f"a file on that server provides it, which alone can change it ({answer.message})"
    elif answer.status == 403:
        why = (
            f"the token in {client.access.token_file} may not (HTTP 403: {answer.message}). Its service account needs "
            f"{permission}: give it the role Editor (for a data source Admin), or that permission"
        )
    elif answer.absent:
        why = f"neither API of this server takes it (HTTP {answer.status}: {answer.message})"
    elif answer.status == 400 and "provisioned" in answer.message:
        why = f"a file on that server provides it, which alone can change it ({answer.message})"
    else:
        why = f"HTTP {answer.status}: {answer.message}"
    return GrafanaError(f"{client.url}: {what}: {why}")
