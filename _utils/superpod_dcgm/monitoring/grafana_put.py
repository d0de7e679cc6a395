"""Dashboards in a Grafana of others: compared, put there, and taken away, and never those that are not ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from superpod_dcgm.monitoring import grafana_boards as boards
from superpod_dcgm.monitoring.grafana_boards import Board
from superpod_dcgm.monitoring.grafana_client import Answer, Client, GrafanaError
from superpod_dcgm.monitoring.grafana_objects import Found, ask_new, refused

_GROUP, _KIND = "dashboard", "dashboards"
_FOLDER, _MANAGER, _MESSAGE = "grafana.app/folder", "grafana.app/managedBy", "grafana.app/message"


@dataclass(frozen=True)
class There:
    """A dashboard as a Grafana has it, by whichever API; ``version`` is what it calls this state of it."""

    content: Mapping[str, Any]
    folder: str
    version: str
    provided: bool
    new_api: bool


@dataclass(frozen=True)
class Sent:
    """What was sent last of a dashboard, and what the server called the state that came of it."""

    digest: str = ""
    version: str = ""


def find(client: Client, uid: str) -> Found:
    """
    Return what is known of a dashboard.

    :raises GrafanaError: no answer.
    """
    answer = client.ask("GET", f"/api/dashboards/uid/{quote(uid)}")
    if answer.good:
        return Found("there", answer.fields)
    if answer.absent:
        new = ask_new(client, "GET", _GROUP, _KIND, uid)
        return Found("there", new.fields, new_api=True) if new.good else Found("absent")
    return Found("unknown", refusal=answer.message)


def there(found: Found) -> There:
    """Return a dashboard that is there, in the words of either API."""
    if found.new_api:
        meta = _mapping(found.content.get("metadata"))
        notes = _mapping(meta.get("annotations"))
        version = str(meta.get("resourceVersion", ""))
        spec = _mapping(found.content.get("spec"))
        return There(spec, str(notes.get(_FOLDER, "")), version, _MANAGER in notes, True)
    meta, content = _mapping(found.content.get("meta")), _mapping(found.content.get("dashboard"))
    # A server that has the new form inside tells it here, too.
    content = content if "spec" not in content else _mapping(content["spec"])
    version = str(meta.get("version", content.get("version", "")))
    return There(content, str(meta.get("folderUid") or ""), version, bool(meta.get("provisioned")), False)


def obstacle(client: Client, board: Board, found: There, folder: str) -> str:
    """Return why a dashboard that is there is not ours to change, in a sentence; ``""`` where it is."""
    name = f"the dashboard {found.content.get('title')!r} ({board.uid}) of {client.url}"
    if found.provided:
        return f"{name} comes from a file on that server, which alone can change it: take that file away"
    if not boards.is_marked(found.content):
        return (
            f"{name} was not made by this project (it has no tag {boards.MARK}) and stays as it is: give it another uid"
        )
    if found.folder != folder:
        where = found.folder or "General"
        return f"{name} lies in the folder {where} and stays there: move it to the folder {folder}, or delete it"
    return ""


def differences(board: Board, found: There, sent: Sent) -> list[str]:
    """Return what differs of a dashboard of ours; nothing where it is what was sent last, whatever form it has now."""
    if sent == Sent(board.digest, found.version):
        return []
    return boards.differences(found.content, board.content)


def create(client: Client, board: Board, folder: str) -> str:
    """
    Put a dashboard there that is not known to be there, without overwriting.

    :return: what the server calls its state; ``""`` if it turns out to be there.
    :raises GrafanaError: it is refused.
    """
    answer = client.ask("POST", "/api/dashboards/db", _classic(board, folder, None))
    if answer.absent:
        body = _new(board, folder)
        answer = ask_new(client, "POST", _GROUP, _KIND, body=body)
    if answer.good:
        return _version(answer)
    if not answer.clashes:
        raise refused(client, answer, f"the dashboard {board.title!r} cannot be made", "dashboards:create")
    now = find(client, board.uid)
    if now.state == "there":
        return ""
    words = (
        "has another dashboard of that title in the folder" if now.state == "absent" else "has it, and does not show it"
    )
    raise GrafanaError(
        f"{client.url}: the dashboard {board.title!r} ({board.uid}) cannot be made: it {words} "
        f"({now.refusal or answer.message})"
    )


def change(client: Client, board: Board, folder: str, now: There, raw: Mapping[str, Any]) -> str:
    """
    Put a newer state of a dashboard there; one that somebody changed since it was looked at is not overwritten.

    :param raw: what the server told of it.
    :return: what the server calls the new state.
    :raises GrafanaError: it is refused.
    """
    if now.new_api:
        meta = {**_mapping(raw.get("metadata")), "resourceVersion": now.version}
        body = _new(board, folder, meta)
        answer = ask_new(client, "PUT", _GROUP, _KIND, board.uid, body)
    else:
        answer = client.ask("POST", "/api/dashboards/db", _classic(board, folder, now.version))
    if answer.good:
        return _version(answer)
    if answer.fields.get("status") == "name-exists":
        raise GrafanaError(
            f"{client.url}: another dashboard in the folder is called {board.title!r} ({answer.message})"
        )
    if answer.clashes:
        raise GrafanaError(
            f"{client.url}: somebody changed the dashboard {board.title!r} meanwhile ({answer.message}): apply again"
        )
    raise refused(client, answer, f"the dashboard {board.title!r} cannot be changed", "dashboards:write")


def remove(client: Client, uid: str, new_api: bool) -> None:
    """
    Delete a dashboard of ours.

    :raises GrafanaError: it is refused.
    """
    answer = client.ask("DELETE", f"/api/dashboards/uid/{quote(uid)}")
    if answer.absent and new_api:
        answer = ask_new(client, "DELETE", _GROUP, _KIND, uid)
    if not answer.good and not answer.absent:
        raise refused(client, answer, f"the dashboard {uid} cannot be deleted", "dashboards:delete")


def _classic(board: Board, folder: str, version: str | None) -> dict[str, Any]:
    content = {**board.content, "id": None}
    if version is not None and version.isdecimal():
        content["version"] = int(version)
    return {"dashboard": content, "folderUid": folder, "message": _message(board), "overwrite": False}


def _new(board: Board, folder: str, meta: Mapping[str, Any] | None = None) -> dict[str, Any]:
    kept = {name: value for name, value in (meta or {}).items() if name in ("name", "resourceVersion")}
    notes = {**_mapping((meta or {}).get("annotations")), _FOLDER: folder, _MESSAGE: _message(board)}
    spec = {name: value for name, value in board.content.items() if name != "uid"}
    return {"kind": "Dashboard", "metadata": {"name": board.uid, **kept, "annotations": notes}, "spec": spec}


def _message(board: Board) -> str:
    return f"{boards.MARK} {board.digest[:12]}"


def _version(answer: Answer) -> str:
    meta = _mapping(answer.fields.get("metadata"))
    return str(meta.get("resourceVersion", answer.fields.get("version", "")))


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Step:
    """What is to be done with one dashboard: ``made``, ``changed`` (these parts), or nothing."""

    board: Board
    what: str
    parts: tuple[str, ...] = ()
    now: There | None = None
    raw: Mapping[str, Any] | None = None
    unknown: str = ""


def plan(
    client: Client, wanted: Sequence[Board], folder: str, sent: Mapping[str, Sent]
) -> tuple[list[Step], list[str]]:
    """
    Return what is to be done, and a sentence per dashboard that is in the way: then nothing must be done.

    :raises GrafanaError: no answer.
    """
    steps, obstacles = [], []
    for board in wanted:
        found = find(client, board.uid)
        if found.state != "there":
            steps.append(Step(board, "made", unknown=found.refusal))
            continue
        now = there(found)
        if sentence := obstacle(client, board, now, folder):
            obstacles.append(sentence)
        elif parts := differences(board, now, sent.get(board.uid, Sent())):
            steps.append(Step(board, "changed", tuple(parts), now, found.content))
        else:
            steps.append(Step(board, "", now=now))
    return steps, obstacles


def carry_out(client: Client, step: Step, folder: str) -> Sent:
    """
    Do one step of a plan.

    :raises GrafanaError: it is refused.
    """
    board = step.board
    if not step.what and step.now is not None:
        return Sent(board.digest, step.now.version)
    if step.now is not None and step.raw is not None:
        return Sent(board.digest, change(client, board, folder, step.now, step.raw))
    if version := create(client, board, folder):
        return Sent(board.digest, version)
    # It is there after all: made meanwhile, or not shown before.
    steps, obstacles = plan(client, [board], folder, {})
    if obstacles:
        raise GrafanaError(obstacles[0])
    again = steps[0]
    if again.now is None or again.raw is None:
        return Sent(board.digest, again.now.version if again.now else "")
    return Sent(board.digest, change(client, board, folder, again.now, again.raw))
