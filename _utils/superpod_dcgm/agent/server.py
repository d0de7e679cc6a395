"""
Answers HTTP requests for the text file with this project's own metrics.

One thread serves all connections, so that none holds another up. Whoever opens many of them loses his own oldest ones:
a scrape is answered whatever somebody else holds open.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import selectors
import signal
import socket
import stat
import sys
import time
from collections import Counter
from dataclasses import dataclass
from types import FrameType

from superpod_dcgm.agent import log
from superpod_dcgm.base import job_map_conf, paths

_PORT = 9401
_TEXT_BYTES = 1 << 22
_REQUEST_BYTES = 8192
# From the first moment of a connection: until the head of its request has come, and until all is answered.
_HEAD_SECONDS = 1.0
_CONNECTION_SECONDS = 5.0
_CONNECTIONS = 64
# Of one address; a Prometheus needs one.
_PER_ADDRESS = 8
# Connections taken before the others have their turn: a request that comes with its connection is read before newer
# ones could push it out.
_TAKEN_AT_ONCE = 4
_BACKLOG = 512


@dataclass
class _Connection:
    """One request; ``left`` is what is still to be sent of its answer, or None while its head is not complete."""

    socket: socket.socket
    group: str
    began: float
    head: bytes = b""
    left: list[memoryview] | None = None

    @property
    def deadline(self) -> float:
        return self.began + (_HEAD_SECONDS if self.left is None else _CONNECTION_SECONDS)


def _group(address: str) -> str:
    """
    Return whom a connection counts for.

    A user of this node may connect from any address of its loopback, and a machine from any of its IPv6 network.
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_loopback:
        return "loopback"
    if found.version == 6 and not found.is_link_local:
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class _Pages:
    """
    Makes answers; the text is kept, so that many slow readers share one copy of it.

    :param path: the text file; by default the one that job-map.conf names at the moment of a request.
    """

    def __init__(self, path: str = "") -> None:
        self._path = path
        self._known: tuple[tuple[int, ...], bytes] = ((), b"")

    def answer(self, head: bytes) -> list[memoryview]:
        words = head.partition(b"\r\n")[0].decode("latin-1").split()
        status, text = self._page(words[0], words[1]) if len(words) == 3 else ("400 Bad Request", b"no HTTP request\n")
        parts = [_head(status, len(text)), b"" if words[:1] == ["HEAD"] else text]
        return [memoryview(part) for part in parts if part]

    def _page(self, method: str, target: str) -> tuple[str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", b"only GET\n"
        if target.partition("?")[0] != "/metrics":
            return "404 Not Found", b"only /metrics\n"
        try:
            return "200 OK", self._text(self._path or _of_this_node())
        except (OSError, KeyError) as exc:
            writer = "the Salt master" if self._path else paths.JOB_MAP_UNIT
            reason = f"no metrics yet, see {writer}: {exc}\n"
            return "503 Service Unavailable", reason.encode()

    def _text(self, path: str) -> bytes:
        # What is no plain file would be waited for.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            found = os.fstat(stream.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{path} is no plain file")
            mark = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
            if self._known[0] != mark:
                self._known = (mark, stream.read(_TEXT_BYTES))
        return self._known[1]


def _of_this_node() -> str:
    return os.path.join(job_map_conf.of_this_node()["textfile"] or paths.TEXTFILE_DIRECTORY, paths.TEXTFILE)


def _head(status: str, length: int) -> bytes:
    kind = "text/plain; version=0.0.4; charset=utf-8" if status.startswith("200") else "text/plain; charset=utf-8"
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    return head.encode()


class Server:
    """Answers requests on a socket that listens; ``path`` as for the pages."""

    def __init__(self, listener: socket.socket, path: str = "") -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        # In the order in which they came.
        self._connections: dict[int, _Connection] = {}
        self._pages = _Pages(path)
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def step(self, seconds: float = 1.0) -> None:
        """Do what can be done now; wait ``seconds`` at most until there is something."""
        now = time.monotonic()
        soonest = min((connection.deadline for connection in self._connections.values()), default=now + seconds)
        ready = self._selector.select(max(0.0, min(seconds, soonest - now)))
        for key, _ in ready:
            if connection := self._connections.get(key.fd):
                self._go_on(connection)
        for connection in [found for found in self._connections.values() if found.deadline <= time.monotonic()]:
            self._close(connection)
        if any(key.fileobj is self._listener for key, _ in ready):
            self._take()

    def _take(self) -> None:
        for _ in range(_TAKEN_AT_ONCE):
            try:
                accepted, address = self._listener.accept()
            except OSError:
                return
            accepted.setblocking(False)
            connection = _Connection(accepted, _group(address[0]), time.monotonic())
            self._make_room(connection.group)
            self._connections[accepted.fileno()] = connection
            self._selector.register(accepted, selectors.EVENT_READ)
            # Most requests come with their connection.
            self._go_on(connection)

    def _make_room(self, group: str) -> None:
        """Close the oldest of an address that has many, or of the one that has most where there are too many in all."""
        held = Counter(connection.group for connection in self._connections.values())
        if held[group] < _PER_ADDRESS:
            if len(self._connections) < _CONNECTIONS:
                return
            group = held.most_common(1)[0][0]
        theirs = [connection for connection in self._connections.values() if connection.group == group]
        self._close(min(theirs, key=lambda connection: (connection.left is not None, connection.began)))

    def _go_on(self, connection: _Connection) -> None:
        try:
            if connection.left is None:
                self._read(connection)
            if connection.left is not None:
                self._write(connection, connection.left)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
        except Exception as exc:
            log.say(f"a request failed: {exc!r}")
            self._close(connection)

    def _read(self, connection: _Connection) -> None:
        block = connection.socket.recv(_REQUEST_BYTES)
        connection.head += block
        if block and b"\r\n\r\n" not in connection.head and len(connection.head) < _REQUEST_BYTES:
            return
        connection.left = self._pages.answer(connection.head)
        self._selector.modify(connection.socket, selectors.EVENT_WRITE)

    def _write(self, connection: _Connection, left: list[memoryview]) -> None:
        while left:
            left[0] = left[0][connection.socket.send(left[0]) :]
            if not left[0]:
                del left[0]
        connection.socket.shutdown(socket.SHUT_WR)
        self._close(connection)

    def _close(self, connection: _Connection) -> None:
        self._connections.pop(connection.socket.fileno(), None)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.socket.close()


def _listen(port: int) -> socket.socket:
    """Listen for IPv6 and IPv4, or for IPv4 alone where the kernel has no other."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=_BACKLOG, dualstack_ipv6=True)
        except OSError as exc:
            log.say(f"no IPv6: {exc}")
    return socket.create_server(("", port), backlog=_BACKLOG)


def serve(path: str = "", port: int = 0) -> int:
    """
    Answer requests until SIGTERM.

    :param path: the text file; by default the one that job-map.conf names.
    :param port: where to listen; by default the port that job-map.conf names.
    :raises OSError: somebody else listens there, or there is no job-map.conf.
    """
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with _listen(port or job_map_conf.number(job_map_conf.of_this_node(), "port", _PORT)) as listener:
        server = Server(listener, path)
        _tell_systemd("READY=1")
        while True:
            server.step()


def _tell_systemd(message: str) -> None:
    """Tell the systemd that started this program; nobody is told by one that was started by hand."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as told:
            told.sendto(message.encode(), f"\0{address[1:]}" if address.startswith("@") else address)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)
