"""The stand-in for CMDaemon: the REST interface on each address of the two heads, over TLS, with faults."""

from __future__ import annotations

import json
import os
import socket
import ssl
import threading
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from labcmd.pki import Authority
from labcmd.state import CATEGORY, HEADS, IMAGE, Paths, State

ALLOWED_PROFILES = ("admin", "readonly")
WATCH_SECONDS = 0.1
IDLE_SECONDS = 60
VERSION = {"cm_version": "11.0", "cmd_version": "lab"}
WEB_PAGE = b"<html><body>Base View is starting</body></html>\n"


class Head(ThreadingHTTPServer):
    """One address on which a head listens."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, name: str, address: tuple[str, int], daemon: Daemon) -> None:
        self.name = name
        self.daemon = daemon
        super().__init__(address, Handler)

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Shake hands in the connection's own thread, so that a silent client holds up nobody."""
        request.settimeout(IDLE_SECONDS)
        try:
            secured = self.daemon.tls().wrap_socket(request, server_side=True)
        except OSError as exc:
            print(f"{self.name}: {client_address[0]}: no TLS connection: {exc}", flush=True)
            return
        with secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no event."""
        print(f"{self.name}: {client_address[0]}: connection ended early", flush=True)


class Daemon:
    """Both heads: opens their addresses, and closes them while the fault says so."""

    def __init__(self, paths: Paths, addresses: dict[str, tuple[str, int]]) -> None:
        self.state = State(paths)
        self.authority = Authority(paths)
        self.addresses = dict(addresses)
        self.open: dict[str, Head] = {}
        self._tls: tuple[int, ssl.SSLContext] | None = None

    def tls(self) -> ssl.SSLContext:
        """Return the TLS settings, made anew when the server's certificate was replaced."""
        stamp = self.authority.server.certificate.stat().st_mtime_ns
        if self._tls is None or self._tls[0] != stamp:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.authority.server.certificate, self.authority.server.key)
            for issuer in (self.authority.root, self.authority.cluster):
                context.load_verify_locations(issuer.certificate)
            context.verify_mode = ssl.CERT_OPTIONAL
            self._tls = (stamp, context)
        return self._tls[1]

    def adjust(self) -> None:
        """Listen where the faults allow it and nowhere else."""
        for name, address in self.addresses.items():
            down = self.state.fault("down", name) is not None
            if down and name in self.open:
                head = self.open.pop(name)
                head.shutdown()
                head.server_close()
            elif not down and name not in self.open:
                self.open[name] = head = Head(name, address, self)
                # A port of 0 is chosen once and kept over faults.
                self.addresses[name] = (address[0], head.server_address[1])
                threading.Thread(target=head.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def start(self) -> None:
        """Make certificates, listen, and write down where."""
        self.authority.ensure()
        self.adjust()
        self.state.write("addresses.json", self.addresses)

    def watch(self) -> None:
        """Follow the faults for ever."""
        while True:
            self.adjust()
            time.sleep(WATCH_SECONDS)

    def stop(self) -> None:
        """Close everything."""
        for head in self.open.values():
            head.shutdown()
            head.server_close()
        self.open.clear()


class Handler(BaseHTTPRequestHandler):
    """One connection to a head."""

    protocol_version = "HTTP/1.1"
    server_version = "CMDaemon/lab"
    server: Head

    def do_GET(self) -> None:
        """Answer as the faults and the certificate allow."""
        state, name = self.server.daemon.state, self.server.name
        wait(state, name)
        if state.fault("down", name) is not None:
            self.close_connection = True
            return
        refusal = self.refusal(state, name)
        if refusal:
            self.reply(*refusal)
        elif state.fault("not-json", name) is not None:
            self.send(HTTPStatus.OK, "text/html", WEB_PAGE)
        else:
            self.reply(*content(state, name, self.path))

    def refusal(self, state: State, name: str) -> tuple[int, Any] | None:
        """Return the status and body of a refusal, or None."""
        if state.fault("http-500", name) is not None:
            return HTTPStatus.INTERNAL_SERVER_ERROR, {"errormessage": "internal error"}
        if not is_active(state, name):
            return HTTPStatus.SERVICE_UNAVAILABLE, {"errormessage": "this is the passive head node"}
        profile = self.profile()
        if profile is None or state.fault("http-401", name) is not None:
            return HTTPStatus.UNAUTHORIZED, {"errormessage": "no valid certificate"}
        if profile not in ALLOWED_PROFILES:
            return HTTPStatus.FORBIDDEN, {"errormessage": f"profile {profile} lacks GET_DEVICE_TOKEN"}
        return None

    def profile(self) -> str | None:
        """Return the profile in the client's certificate, None without one."""
        certificate = self.connection.getpeercert()
        if not certificate:
            return None
        subject: dict[str, str] = {key: value for part in certificate["subject"] for key, value in part}
        return subject.get("title", "none")

    def reply(self, status: int, body: Any) -> None:
        """Send JSON; a passive head may redirect instead of refusing."""
        daemon, name = self.server.daemon, self.server.name
        passive = status == HTTPStatus.SERVICE_UNAVAILABLE
        if passive and daemon.state.fault("redirect", name) is not None:
            active = daemon.state.active()
            target = f"https://{active}:{daemon.addresses[active][1]}{self.path}"
            self.send(HTTPStatus.TEMPORARY_REDIRECT, "text/plain", b"", Location=target)
            return
        self.send(status, "application/json", json.dumps(body).encode())

    def send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Send an answer."""
        self.send_response(status)
        for key, value in {"Content-Type": kind, "Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say which head was asked."""
        print(f"{self.server.name}: {self.client_address[0]}: {format % args}", flush=True)


def wait(state: State, name: str) -> None:
    """Be slow for as long as the fault says and is on."""
    began = time.monotonic()
    while True:
        seconds = state.fault("slow", name)
        if seconds is None or time.monotonic() - began >= seconds:
            return
        time.sleep(min(WATCH_SECONDS, seconds))


def is_active(state: State, name: str) -> bool:
    """Tell whether a head answers; the shared name stays with the first head, as until a failover is complete."""
    return name == state.active() or (name == "master" and state.active() == HEADS[0])


def content(state: State, name: str, path: str) -> tuple[int, Any]:
    """Return the status and body for a path."""
    url = urlsplit(path)
    if url.path == "/rest/v1/version":
        return HTTPStatus.OK, VERSION
    if url.path == "/rest/v1/category":
        return HTTPStatus.OK, categories(state.devices())
    if url.path == "/rest/v1/device":
        wanted = parse_qs(url.query).get("hostname")
        devices = visible(state, name)
        return HTTPStatus.OK, [found for found in devices if not wanted or found["hostname"] in wanted]
    return HTTPStatus.NOT_FOUND, {"errormessage": f"no such path {url.path}"}


def visible(state: State, name: str) -> list[dict[str, Any]]:
    """Return the devices that the faults leave."""
    devices = state.devices()
    if state.fault("empty", name) is not None:
        return []
    if state.fault("half", name) is None:
        return devices
    nodes = [found for found in devices if found["type"] != "HeadNode"]
    hidden = nodes[len(nodes) // 2 :]
    return [found for found in devices if found not in hidden]


def categories(devices: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the categories with their nodes."""
    names = sorted({found["category"] for found in devices if "category" in found} | {CATEGORY})
    return [
        {"name": name, "image": IMAGE, "nodes": [d["hostname"] for d in devices if d.get("category") == name]}
        for name in names
    ]


def notify(message: str) -> None:
    """Tell systemd something."""
    where = os.environ.get("NOTIFY_SOCKET")
    if where:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(message.encode(), where.replace("@", "\0", 1) if where.startswith("@") else where)
