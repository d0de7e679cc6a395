"""Answers HTTP requests for the text file with this project's own metrics."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import sys
import threading
import time
from types import FrameType
from typing import Any

from superpod_dcgm.agent import log
from superpod_dcgm.base import job_map_conf, paths

_PORT = 9401
_TEXT_BYTES = 1 << 22
_REQUEST_BYTES = 8192
_CONNECTION_SECONDS = 5.0
_CONNECTIONS = 8
# What the library allows; a TCP server has the first kind only.
_Request = socket.socket | tuple[bytes, socket.socket]


class _Handler(socketserver.BaseRequestHandler):
    """One request per connection, all of it within one time."""

    request: socket.socket

    def handle(self) -> None:
        deadline = time.monotonic() + _CONNECTION_SECONDS
        try:
            words = _first_line(self.request, deadline).split()
            status, text = _page(words[0], words[1]) if len(words) == 3 else ("400 Bad Request", b"no HTTP request\n")
            self.request.settimeout(max(0.1, deadline - time.monotonic()))
            self.request.sendall(_response(status, text, with_body=words[:1] != ["HEAD"]))
        except OSError:
            return


def _first_line(connection: socket.socket, deadline: float) -> str:
    """Return the first line of a request, after all of its head has come."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) < _REQUEST_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        block = connection.recv(_REQUEST_BYTES)
        if not block:
            break
        data += block
    return data.partition(b"\r\n")[0].decode("latin-1")


def _page(method: str, target: str) -> tuple[str, bytes]:
    if method not in ("GET", "HEAD"):
        return "405 Method Not Allowed", b"only GET\n"
    if target.partition("?")[0] != "/metrics":
        return "404 Not Found", b"only /metrics\n"
    try:
        path = os.path.join(job_map_conf.of_this_node()["textfile"] or paths.TEXTFILE_DIRECTORY, paths.TEXTFILE)
        with open(path, "rb") as stream:
            return "200 OK", stream.read(_TEXT_BYTES)
    except (OSError, KeyError) as exc:
        reason = f"no metrics yet, see {paths.JOB_MAP_UNIT}: {exc}\n"
        return "503 Service Unavailable", reason.encode()


def _response(status: str, text: bytes, with_body: bool) -> bytes:
    kind = "text/plain; version=0.0.4; charset=utf-8" if status.startswith("200") else "text/plain; charset=utf-8"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (text if with_body else b"")


class Server(socketserver.ThreadingTCPServer):
    """Answers few requests at once, and hangs up on more than that."""

    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False
    request_queue_size = 32

    def __init__(self, port: int) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = _listener(port)
        self.server_address = self.socket.getsockname()
        self._free = threading.BoundedSemaphore(_CONNECTIONS)

    def process_request(self, request: _Request, client_address: Any) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be started.
            self._free.release()
            raise

    def process_request_thread(self, request: _Request, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: _Request, client_address: Any) -> None:
        log.say(f"a request failed: {sys.exc_info()[1]!r}")


def _listener(port: int) -> socket.socket:
    """Listen for IPv6 and IPv4, or for IPv4 alone where the kernel has no other."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=32, dualstack_ipv6=True)
        except OSError as exc:
            log.say(f"no IPv6: {exc}")
    return socket.create_server(("", port), backlog=32)


def serve() -> int:
    """Answer requests until SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with Server(job_map_conf.number(job_map_conf.of_this_node(), "port", _PORT)) as server:
        server.serve_forever()
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
