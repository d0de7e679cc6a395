"""What this project has in a Grafana of others: noted on the monitoring host, and taken away without a trace."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from superpod_dcgm.base import files, paths
from superpod_dcgm.monitoring import grafana_boards as boards
from superpod_dcgm.monitoring import grafana_objects as objects
from superpod_dcgm.monitoring import grafana_put as put
from superpod_dcgm.monitoring.grafana_client import Access, Client, GrafanaError

# Things that may lie in a folder and would go with it.
_SEARCH = "/api/search?limit=1&folderUIDs="


def record() -> dict[str, dict[str, Any]]:
    """Return what was noted of each Grafana, by its address."""
    found = files.read_json(paths.GRAFANA_PUT, {})
    return {url: known for url, known in found.items() if isinstance(known, dict)} if isinstance(found, dict) else {}


def known(access: Access) -> dict[str, Any]:
    """Return what was noted of one Grafana."""
    return record().get(access.url.rstrip("/"), {})


def note(access: Access, **facts: Any) -> None:
    """
    Note facts of a Grafana, and how it is asked; never the token.

    :raises OSError: it cannot be written.
    """
    url = access.url.rstrip("/")
    asked = {"token_file": access.token_file, "ca": access.ca, "timeout": access.timeout}
    fresh = {**known(access), **asked, **facts}
    if fresh != known(access):
        _write({**record(), url: fresh})


def forget(url: str) -> None:
    """
    Forget a Grafana in which nothing of ours is left.

    :raises OSError: it cannot be written.
    """
    _write({other: facts for other, facts in record().items() if other != url})


def _write(found: Mapping[str, Any]) -> None:
    if found:
        files.make_directory(os.path.dirname(paths.GRAFANA_PUT), 0o750)
        files.write_atomic(paths.GRAFANA_PUT, json.dumps(found, indent=1, sort_keys=True) + "\n", 0o600)
    elif os.path.lexists(paths.GRAFANA_PUT):
        os.unlink(paths.GRAFANA_PUT)


def sent(access: Access) -> dict[str, put.Sent]:
    """Return what was sent last, by uid of the dashboard."""
    found = known(access).get("dashboards", {})
    return {uid: put.Sent(str(one.get("digest")), str(one.get("version"))) for uid, one in found.items()}


def note_sent(access: Access, folder: str, uid: str, what: put.Sent | None) -> None:
    """
    Note what was sent of a dashboard; ``None``: it was deleted.

    :raises OSError: it cannot be written.
    """
    found = {name: vars(one) for name, one in sent(access).items() if name != uid}
    fresh = found if what is None else {**found, uid: vars(what)}
    if known(access).get("dashboards") != fresh or known(access).get("folder") != folder:
        note(access, folder=folder, dashboards=fresh)


def former(client: Client, wanted: set[str]) -> dict[str, bool]:
    """
    Return the dashboards of ours that are wanted no more, and whether the new API told of them.

    :raises GrafanaError: no answer.
    """
    facts = known(client.access)
    stale = {uid: one for uid, one in facts.get("dashboards", {}).items() if uid not in wanted}
    found: dict[str, bool] = ours(client, {"folder": facts.get("folder"), "dashboards": stale})["dashboards"]
    return found


def access_of(url: str, facts: Mapping[str, Any]) -> Access:
    """Return how a Grafana of the record is asked."""
    return Access(url, str(facts.get("token_file", "")), str(facts.get("ca", "")), float(facts.get("timeout", 15)))


def ours(client: Client, facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what of ours a Grafana has: ``dashboards`` (by which API), ``data_source`` and ``folder`` (uids).

    :raises GrafanaError: no answer, or it does not tell.
    """
    folder = str(facts.get("folder", ""))
    found: dict[str, Any] = {"dashboards": {}}
    for uid in facts.get("dashboards", {}):
        one = put.find(client, uid)
        _told(client, one, f"the dashboard {uid}")
        if one.state == "there":
            now = put.there(one)
            if boards.is_marked(now.content) and now.folder == folder and not now.provided:
                found["dashboards"][uid] = now.new_api
    if uid := str(facts.get("data_source", "")):
        source = objects.find_source(client, uid)
        _told(client, source, f"the data source {uid}")
        if source.state == "there" and not objects.source_obstacle(client, source.content):
            found["data_source"] = uid
    if facts.get("folder_made"):
        place = objects.find_folder(client, folder)
        _told(client, place, f"the folder {folder}")
        if place.state == "there":
            found["folder"] = folder
    return found


def _told(client: Client, found: objects.Found, what: str) -> None:
    """What is gone, some servers refuse to tell: only a server that tells nothing at all is in the way."""
    if found.state == "unknown" and not client.ask("GET", "/api/search?limit=1").good:
        raise GrafanaError(f"{client.url} does not tell of {what}: {found.refusal}")


def remove(client: Client, found: Mapping[str, Any]) -> list[str]:
    """
    Take away what ``ours`` found; a folder stays if anything of others is in it.

    :return: sentences on what stays.
    :raises GrafanaError: it is refused.
    """
    for uid, new_api in found["dashboards"].items():
        put.remove(client, uid, new_api)
    if uid := found.get("data_source"):
        answer = client.ask("DELETE", f"/api/datasources/uid/{quote(uid)}")
        if not answer.good and not answer.absent:
            raise objects.refused(client, answer, f"the data source {uid} cannot be deleted", "datasources:delete")
    folder = found.get("folder")
    if not folder:
        return []
    if not is_empty(client, folder):
        return [f"the folder {folder} stays, because of what others put into it"]
    _remove_folder(client, folder)
    return []


def is_empty(client: Client, folder: str) -> bool:
    """Return whether a folder surely has nothing in it; whoever cannot look does not know."""
    counts = client.ask("GET", f"/api/folders/{quote(folder)}/counts")
    search = client.ask("GET", f"{_SEARCH}{quote(folder)}")
    if not search.good or search.content != []:
        return False
    if counts.good:
        return not any(counts.fields.values())
    return counts.absent


def _remove_folder(client: Client, folder: str) -> None:
    answer = client.ask("DELETE", f"/api/folders/{quote(folder)}")
    if answer.absent:
        answer = objects.ask_new(client, "DELETE", "folder", "folders", folder)
    if not answer.good and not answer.absent:
        raise objects.refused(client, answer, f"the folder {folder} cannot be deleted", "folders:delete")
