"""A process that serves the page with our dashboards on loopback, and hands its questions to a Prometheus.

usage: python -m superpod.lab.drawn_server PROMETHEUS PAGE RECORD PID PORT
PAGE is the folder of the built page, RECORD a file that gets the local port, PID a process in the network of PROMETHEUS
(0: this one's), PORT the preferred port.
"""

from __future__ import annotations

import http.server
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from superpod.lab.forwarder import enter_network, listen
from superpod.lab.layout import CHECKOUT

BOARDS = CHECKOUT / "salt/dcgm/grafana/files"
# What the page asks; nothing that changes anything.
ASKED = tuple(f"/prometheus/api/v1/{name}" for name in ("query", "query_range", "series"))
TYPES = {
    **{".html": "text/html", ".js": "text/javascript", ".css": "text/css"},
    **{".svg": "image/svg+xml", ".woff2": "font/woff2"},
}
SECONDS = 60
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers for one Prometheus and one page."""

    prometheus = ""
    page = Path()

    def do_GET(self) -> None:
        """Answer with the page, its files, and the dashboards as they are in the checkout now."""
        path = self.path.partition("?")[0]
        if path == "/" or path.startswith("/d/"):
            path = "/index.html"
        if path == "/dashboards.json":
            boards = [json.loads(one.read_text()) for one in sorted(BOARDS.glob("*.json"))]
            self._answer(200, json.dumps([{key: board[key] for key in ("uid", "title")} for board in boards]).encode())
        elif path.startswith("/dashboards/"):
            self._file(BOARDS, path.removeprefix("/dashboards/"))
        else:
            self._file(self.page, path.removeprefix("/"))

    def do_POST(self) -> None:
        """Hand a question to Prometheus."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path not in ASKED:
            self._answer(404, b"{}")
            return
        address = self.prometheus + self.path.removeprefix("/prometheus")
        try:
            with _OPENER.open(urllib.request.Request(address, body), timeout=SECONDS) as found:
                self._answer(found.status, found.read())
        except urllib.error.HTTPError as error:
            self._answer(error.code, error.read())
        except OSError as error:
            said = {"status": "error", "error": f"Prometheus does not answer: {error}"}
            self._answer(502, json.dumps(said).encode())

    def _file(self, folder: Path, name: str) -> None:
        file = (folder / name).resolve()
        if folder.resolve() in file.parents and file.is_file():
            self._answer(200, file.read_bytes(), TYPES.get(file.suffix, "application/json"))
        else:
            self._answer(404, b"There is nothing.\n", "text/plain")

    def _answer(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # A page of ours reads our Prometheus only.
        self.send_header("Content-Security-Policy", "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def server(prometheus: str, page: Path, port: int) -> http.server.ThreadingHTTPServer:
    """A server on loopback, on the preferred port if it is free; it listens, and answers once it is run."""
    handler = type("Bound", (Handler,), {"prometheus": prometheus, "page": page})
    found = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler, bind_and_activate=False)
    found.socket.close()
    found.socket = listen(port)
    found.server_address = found.socket.getsockname()
    return found


def main(prometheus: str, page: str, record: str, pid: str, port: str) -> None:
    """Bind first, then enter the other network, then say which port it is."""
    found = server(prometheus, Path(page), int(port))
    if int(pid):
        enter_network(int(pid))
    Path(record).write_text(f"{found.socket.getsockname()[1]}\n")
    found.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
