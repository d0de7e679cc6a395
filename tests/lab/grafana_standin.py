#!/usr/bin/env python3
"""
A stand-in for Grafana's server: reads grafana.ini, data sources and dashboards as its documentation describes them.

It is none of Grafana's code, and the true server never ran here. ``grafana server --config=FILE cfg:KEY=VALUE``
"""

from __future__ import annotations

import base64
import configparser
import hashlib
import json
import os
import re
import signal
import ssl
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

VERSION = "13.0.0-standin"
VARIABLE = re.compile(r"\$__file\{([^}]+)\}")
PROVISIONING, DATA = "/etc/grafana/provisioning", "/var/lib/grafana"


def expanded(text: str) -> str:
    """Return a value with what stands in the files that it names."""
    found = VARIABLE.sub(lambda match: Path(match[1]).read_text().strip(), text)
    return found.replace("$$", "$")


class Grafana:
    """Its settings, its database (a JSON file), and what it provides from files."""

    def __init__(self, config: str) -> None:
        ini = configparser.ConfigParser(interpolation=None)
        with open(config) as stream:
            ini.read_file(stream)
        self.ini = ini
        self.database = Path(DATA) / "grafana.db"
        self.sources: dict[str, Any] = {}
        self.lock = threading.Lock()
        key = hashlib.sha256(self.value("security", "secret_key", "public").encode()).hexdigest()
        if self.database.exists():
            self.known = json.loads(self.database.read_text())
            if self.known["key"] != key:
                raise SystemExit("Failed to decrypt: the secret_key is another than at the first start")
        else:
            # The password counts at the first start only.
            self.known = {"key": key, "password": self.value("security", "admin_password", "admin"), "boards": {}}
        self.times: dict[str, float] = {}
        self.read_sources()
        self.save()

    def value(self, section: str, name: str, default: str) -> str:
        """Return a setting."""
        return expanded(self.ini.get(section, name, fallback=default))

    def save(self) -> None:
        """Write the database, as others cannot read it."""
        os.umask(0o027)
        # It may be ended at any moment.
        fresh = self.database.with_suffix(".new")
        fresh.write_text(json.dumps(self.known))
        fresh.replace(self.database)

    def _files(self, kind: str) -> list[dict[str, Any]]:
        found = sorted(Path(PROVISIONING, kind).glob("*.yaml"))
        return [yaml.safe_load(path.read_text()) or {} for path in found]

    def read_sources(self) -> None:
        """Read the data sources; one that is not in a file any more goes, as with prune."""
        found = [source for file in self._files("datasources") for source in file.get("datasources", [])]
        shown = [{**source, "secureJsonData": None, "secrets": self._secrets(source)} for source in found]
        self.sources = {source["uid"]: source for source in json.loads(expanded(json.dumps(shown)))}

    def _secrets(self, source: dict[str, Any]) -> dict[str, str]:
        given = source.get("secureJsonData", {})
        return {name: hashlib.sha256(expanded(value).encode()).hexdigest() for name, value in given.items()}

    def read_boards(self) -> None:
        """Read the dashboards whose files have another time; two of one uid take the provider's permission to write."""
        for provider in [entry for file in self._files("dashboards") for entry in file.get("providers", [])]:
            place = Path(provider["options"]["path"]).resolve()
            paths = [path for path in sorted(place.glob("**/*.json")) if not path.name.startswith(".")]
            contents = {path: json.loads(path.read_text()) for path in paths}
            uids = [content["uid"] for content in contents.values()]
            if len(uids) != len(set(uids)):
                print("no database write permissions because of duplicates", file=sys.stderr, flush=True)
                continue
            for path, content in contents.items():
                self._take(str(path), path.stat().st_mtime, content, provider)
            here = [uid for uid, one in self.known["boards"].items() if one["file"].startswith(f"{place}/")]
            for uid in set(here) - set(uids):
                del self.known["boards"][uid]
        self.save()

    def _take(self, path: str, changed: float, content: dict[str, Any], provider: dict[str, Any]) -> None:
        if self.times.get(path) == changed:
            return
        self.times[path] = changed
        old = self.known["boards"].get(content["uid"])
        # A dashboard that is made anew gets another number, and loses its stars.
        number = old["id"] if old and old["file"] == path else time.monotonic_ns()
        self.known["boards"][content["uid"]] = {
            **{"id": number, "title": content["title"], "file": path, "folderUid": provider.get("folderUid")},
            "panels": len(content["panels"]),
        }

    def poll(self) -> None:
        """Look at the folders again and again."""
        while True:
            with self.lock:
                self.read_boards()
            time.sleep(1)


class Handler(BaseHTTPRequestHandler):
    """Answers what the states and the test ask."""

    grafana: Grafana

    def do_GET(self) -> None:
        """Tell of health to everybody, of all else to the administrator."""
        prefix = ""
        if self.grafana.value("server", "serve_from_sub_path", "false") == "true":
            prefix = re.sub(r"^https?://[^/]*", "", self.grafana.value("server", "root_url", "")).rstrip("/")
        path = self.path.removeprefix(prefix) if self.path.startswith(prefix) else "/nowhere"
        if path == "/api/health":
            return self._say(200, {"database": "ok", "version": VERSION})
        if not self._is_admin():
            return self._say(401, {"message": "Unauthorized"})
        with self.grafana.lock:
            if match := re.fullmatch(r"/api/admin/provisioning/(datasources|dashboards)/reload", path):
                self.grafana.read_sources()
                return self._say(200, {"message": f"{match[1]} config reloaded"})
            found = {"/api/sources": self.grafana.sources, "/api/boards": self.grafana.known["boards"]}
            settings = {name: dict(self.grafana.ini[name]) for name in self.grafana.ini.sections()}
            return self._say(200, {**found, "/api/settings": settings}.get(path, {}))

    do_POST = do_GET

    def _is_admin(self) -> bool:
        word = base64.b64encode(f"admin:{self.grafana.known['password']}".encode()).decode()
        return self.headers.get("Authorization") == f"Basic {word}"

    def _say(self, status: int, content: Any) -> None:
        text = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main() -> None:
    """Serve until told to stop."""
    (config,) = [word.partition("=")[2] for word in sys.argv if word.startswith("--config=")]
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    grafana = Handler.grafana = Grafana(config)
    address = (grafana.value("server", "http_addr", ""), int(grafana.value("server", "http_port", "3000")))
    server = ThreadingHTTPServer(address, Handler)
    if grafana.value("server", "protocol", "http") == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(grafana.value("server", "cert_file", ""), grafana.value("server", "cert_key", ""))
        server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=grafana.poll, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
