"""
A fake of the HTTP API of Grafana: replies as documentation and source describe them. No Grafana ever ran here.

Three personas by token: an Admin, an Editor and a Viewer. ``python3 fake_grafana.py PORT VERSION`` serves it by itself.
"""

from __future__ import annotations

import copy
import json
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

TOKENS = {"glsa_admin": "Admin", "glsa_editor": "Editor", "glsa_viewer": "Viewer"}
DENIED = "You'll need additional permissions to perform this action. Permissions needed: "
NEW_API = re.compile(r"/apis/(dashboard|folder)\.grafana\.app/(\w+)/namespaces/default/(\w+)(?:/([^/]+))?$")


class FakeGrafana:
    """What such a server has and does; a test changes it as it likes."""

    def __init__(self, version: int = 13) -> None:
        self.version = version
        self.legacy = True
        self.converts = False
        self.sub_path = ""
        self.page = ""
        self.redirect = ""
        self.min_refresh = 5
        self.grants = True
        self.folders: dict[str, dict[str, Any]] = {}
        self.dashboards: dict[str, dict[str, Any]] = {}
        self.sources: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.sent: list[Any] = []

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Return the questions that were to change something."""
        return [question for question in self.asked if question[0] != "GET"]

    def things(self) -> str:
        """Return all that it has, as text to compare."""
        return json.dumps([self.folders, self.dashboards, self.sources], sort_keys=True)

    def add(self, uid: str, content: dict[str, Any], folder: str = "", provisioned: bool = False) -> None:
        """Put a dashboard of somebody there."""
        content = {**content, "uid": uid}
        self.dashboards[uid] = {"content": content, "folder": folder, "version": 1, "provisioned": provisioned}

    def answer(self, method: str, address: str, persona: str | None, body: Any) -> tuple[int, Any]:
        """Return status and content."""
        self.asked.append((method, address))
        parts = urlsplit(address)
        if self.redirect:
            return 302, self.redirect
        if self.page:
            return 200, self.page
        if not parts.path.startswith(f"{self.sub_path}/"):
            return 404, "<html>404 page not found</html>"
        path = parts.path[len(self.sub_path) :]
        if path == "/api/health":
            return 200, {"database": "ok", "version": f"{self.version}.0.1"}
        if persona is None:
            return 401, {"message": "Invalid API key"}
        if method != "GET" and body is not None:
            self.sent.append(copy.deepcopy(body))
        if found := NEW_API.match(path):
            versions = {12: ("v1beta1",), 13: ("v1", "v1beta1")}.get(self.version, ())
            if found[2] not in versions:
                return 404, "404 page not found"
            return self._new(method, found[1], found[4], persona, body)
        if path == "/api/org":
            return 200, {"id": 1, "name": "Main Org."}
        if path == "/api/search":
            folder = parse_qs(parts.query).get("folderUIDs", [None])[0]
            return 200, [{"uid": uid} for uid, one in self.dashboards.items() if folder in (None, one["folder"])][:1]
        return self._legacy(method, path, persona, body)

    def _legacy(self, method: str, path: str, persona: str, body: Any) -> tuple[int, Any]:
        if path.startswith("/api/datasources"):
            return self._source(method, path, persona, body)
        if not self.legacy:
            return 410 if path == "/api/dashboards/db" else 404, {"message": "Not found"}
        if path.startswith("/api/folders"):
            return self._folder(method, path, persona, body)
        if path == "/api/dashboards/db" and method == "POST":
            return self._save(persona, body)
        if found := re.match(r"/api/dashboards/uid/([^/]+)$", path):
            return self._dashboard(method, found[1], persona)
        return 404, {"message": "Not found"}

    def _missing(self, persona: str, right: str, what: str) -> tuple[int, Any]:
        """13 does not tell those who are no Admin that there is no such thing."""
        if self.version >= 13 and persona != "Admin":
            return self._denied(right)
        return 404, {"message": f"{what} not found"}

    def _denied(self, right: str) -> tuple[int, Any]:
        return 403, {"accessErrorId": "ACE1", "title": "Access denied", "message": f"{DENIED}{right}"}

    def _clash(self, status: str, words: str) -> tuple[int, Any]:
        return 412 if self.version >= 13 or status == "version-mismatch" else 409, {"message": words, "status": status}

    def _folder(self, method: str, path: str, persona: str, body: Any) -> tuple[int, Any]:
        uid, _, more = path.removeprefix("/api/folders").strip("/").partition("/")
        if method == "POST":
            if persona == "Viewer":
                return self._denied("folders:create")
            if body["uid"] in self.folders or any(one["title"] == body["title"] for one in self.folders.values()):
                return self._clash("name-exists", "a folder with the same name already exists in the current location")
            roles = [{"role": "Editor", "permission": 2}, {"role": "Viewer", "permission": 1}]
            self.folders[body["uid"]] = {"uid": body["uid"], "title": body["title"], "permissions": roles}
            return 200, self.folders[body["uid"]]
        if uid not in self.folders:
            return self._missing(persona, "folders:read", "folder")
        if method == "DELETE":
            if persona == "Viewer":
                return self._denied("folders:delete")
            del self.folders[uid]
            self.dashboards = {name: one for name, one in self.dashboards.items() if one["folder"] != uid}
            return 200, {"message": "Folder deleted"}
        if more == "counts":
            return 200, {"dashboard": sum(one["folder"] == uid for one in self.dashboards.values()), "alertrule": 0}
        return 200, self.folders[uid]["permissions"] if more == "permissions" else self.folders[uid]

    def _dashboard(self, method: str, uid: str, persona: str) -> tuple[int, Any]:
        if uid not in self.dashboards:
            return self._missing(persona, "dashboards:read", "Dashboard")
        one = self.dashboards[uid]
        if method == "DELETE":
            if persona == "Viewer":
                return self._denied("dashboards:delete")
            del self.dashboards[uid]
            return 200, {"message": f"Dashboard {one['content']['title']} deleted"}
        meta = {"folderUid": one["folder"], "provisioned": one["provisioned"], "version": one["version"]}
        content = {**one["content"], "id": 7, "version": one["version"]}
        if self.converts:
            content = {"title": content["title"], "tags": content["tags"], "elements": {}, "layout": {}}
        return 200, {"dashboard": content, "meta": meta}

    def _save(self, persona: str, body: Any) -> tuple[int, Any]:
        content = body["dashboard"]
        uid, now = content["uid"], self.dashboards.get(content["uid"])
        if persona == "Viewer":
            return self._denied("dashboards:create")
        if body.get("folderUid", "") not in {"", *self.folders}:
            return 404, {"message": "folder not found"}
        if (
            int(re.sub(r"\D", "", content.get("refresh") or "99") or 99) < self.min_refresh
            and content["refresh"][-1] == "s"
        ):
            return 400, {"message": "Dashboard refresh interval is too low"}
        if now and now["provisioned"]:
            return 400, {"message": "Cannot save provisioned dashboard"}
        if now and not body.get("overwrite") and content.get("version") != now["version"]:
            return self._clash("version-mismatch", "The dashboard has been changed by someone else")
        if self.version < 12 and any(
            name != uid and one["folder"] == body.get("folderUid", "") and one["content"]["title"] == content["title"]
            for name, one in self.dashboards.items()
        ):
            return 412, {
                "message": "A dashboard with the same name in the folder already exists",
                "status": "name-exists",
            }
        version = now["version"] + 1 if now else 1
        kept = {name: value for name, value in content.items() if name not in ("id", "version")}
        self.dashboards[uid] = {
            "content": kept,
            "folder": body.get("folderUid", ""),
            "version": version,
            "provisioned": False,
        }
        return 200, {"id": 7, "uid": uid, "status": "success", "version": version, "slug": "x", "url": f"/d/{uid}"}

    def _source(self, method: str, path: str, persona: str, body: Any) -> tuple[int, Any]:
        if persona != "Admin":
            return self._denied("datasources:read" if method == "GET" else "datasources:create")
        uid = path.rpartition("/")[2]
        if method == "POST":
            if body["uid"] in self.sources or any(one["name"] == body["name"] for one in self.sources.values()):
                return 409, {"message": "data source with the same name or uid already exists"}
            self.sources[body["uid"]] = {**_shown(body), "version": 1, "readOnly": False}
            return 200, {"datasource": self.sources[body["uid"]], "message": "Datasource added"}
        if uid not in self.sources:
            return 404, {"message": "Data source not found"}
        one = self.sources[uid]
        if method != "GET" and one.get("readOnly"):
            return 403, {"message": "Cannot update read-only data source"}
        if method == "PUT":
            if "version" in body and body["version"] != one["version"]:
                return 409, {"message": "Datasource has already been updated by someone else"}
            self.sources[uid] = {**one, **_shown(body), "version": one["version"] + 1}
        if method == "DELETE":
            del self.sources[uid]
            return 200, {"message": "Data source deleted"}
        return 200, self.sources[uid]

    def _new(self, method: str, group: str, uid: str | None, persona: str, body: Any) -> tuple[int, Any]:
        known = self.dashboards if group == "dashboard" else self.folders
        uid = uid or body["metadata"]["name"]
        if method != "GET" and persona == "Viewer":
            return self._denied(f"{group}s:create")
        if method == "POST" and uid in known:
            return 409, {"kind": "Status", "message": f"{uid} already exists"}
        if method != "POST" and uid not in known:
            return (404, {"message": "not found"}) if persona == "Admin" else (500, {"message": "unexpected error"})
        if method == "DELETE":
            del known[uid]
            return 200, {"kind": "Status", "status": "Success"}
        if method in ("POST", "PUT"):
            meta, now = body["metadata"], known.get(uid)
            if method == "PUT" and meta.get("resourceVersion") != str(now["version"]):
                return 409, {"message": "the object has been modified"}
            if group == "folder":
                granted = self.grants and meta["annotations"].get("grafana.app/grant-permissions") == "default"
                roles = [{"role": "Viewer", "permission": 1}] if granted else []
                known[uid] = {"uid": uid, "title": body["spec"]["title"], "permissions": roles}
            else:
                folder = meta["annotations"].get("grafana.app/folder", "")
                version = now["version"] + 1 if now else 1
                content = {**body["spec"], "uid": uid}
                known[uid] = {"content": content, "folder": folder, "version": version, "provisioned": False}
        return 201 if method == "POST" else 200, self._object(group, uid)

    def _object(self, group: str, uid: str) -> dict[str, Any]:
        if group == "folder":
            return {"metadata": {"name": uid}, "spec": {"title": self.folders[uid]["title"]}}
        one = self.dashboards[uid]
        notes = {"grafana.app/folder": one["folder"]}
        if one["provisioned"]:
            notes["grafana.app/managedBy"] = "classic-file-provisioning"
        spec = {name: value for name, value in one["content"].items() if name != "uid"}
        return {"metadata": {"name": uid, "resourceVersion": str(one["version"]), "annotations": notes}, "spec": spec}


def _shown(body: dict[str, Any]) -> dict[str, Any]:
    """Secrets never come back, only the names of those that are set."""
    secrets = dict.fromkeys(body.get("secureJsonData", {}), True)
    return {**{name: value for name, value in body.items() if name != "secureJsonData"}, "secureJsonFields": secrets}


class Server(ThreadingHTTPServer):
    """Serves a fake on a port of this machine."""

    daemon_threads = True

    def __init__(self, grafana: FakeGrafana, port: int = 0) -> None:
        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                if self.path == "/fake/things":
                    status, content = 200, json.loads(grafana.things())
                else:
                    word = self.headers.get("Authorization", "").removeprefix("Bearer ")
                    status, content = grafana.answer(self.command, self.path, TOKENS.get(word), body)
                text = content if isinstance(content, str) else json.dumps(content)
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", text)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            do_GET = do_POST = do_PUT = do_DELETE = _serve

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        super().__init__(("127.0.0.1", port), Handler)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def start(self) -> None:
        """Serve beside the test."""
        threading.Thread(target=self.serve_forever, args=[0.02], daemon=True).start()


if __name__ == "__main__":
    Server(FakeGrafana(int(sys.argv[2])), int(sys.argv[1])).serve_forever()
