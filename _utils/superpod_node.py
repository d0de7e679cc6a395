"""
What timer and services of a node run: ``superpod_node.py devices | tick | serve``.

``devices`` makes the device table, ``tick`` keeps the job map true and writes this project's metrics, ``serve`` answers
HTTP requests for them. Exit code 0: all of it worked; 1: something did not, standard error says what.
"""

import os
import signal
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType

import superpod_job_map
import superpod_paths
import superpod_reconcile
import superpod_textfile

_PORT = 9401
_RECONCILE_SECONDS = 300
_TEXT_BYTES = 1 << 22
_REQUEST_BYTES = 8192
_CONNECTION_SECONDS = 5.0
_CONNECTIONS = 8


def devices() -> int:
    """Make the device table anew."""
    import superpod_devices

    found = superpod_devices.refresh(_settings(), force=True)
    _say(found["problem"])
    return 1 if found["problem"] else 0


def tick() -> int:
    """Do what is due; one step that fails does not keep the others from being done."""
    settings = _settings()
    steps: dict[str, Callable[[dict[str, str]], None]] = {
        "device table": _refresh,
        "reconciliation": _reconcile,
        "spool": lambda _: superpod_textfile.count_spool(),
        "metrics": _write,
    }
    return 1 if [name for name, step in steps.items() if not _done(name, step, settings)] else 0


def _done(name: str, step: Callable[[dict[str, str]], None], settings: dict[str, str]) -> bool:
    try:
        step(settings)
    except Exception as exc:
        _say(f"{name}: {exc if isinstance(exc, OSError) else repr(exc)}")
        return False
    return True


def _refresh(settings: dict[str, str]) -> None:
    # Loaded here, so that the other steps are done even if this one cannot be.
    import superpod_devices

    before = superpod_devices.read_status().get("problem")
    problem = superpod_devices.refresh(settings)["problem"]
    # Said once; a metric tells how long it lasts.
    _say(problem if problem != before else "")


def _reconcile(settings: dict[str, str]) -> None:
    if not superpod_textfile.reconciliation_due(superpod_job_map.number(settings, "reconcile", _RECONCILE_SECONDS)):
        return
    try:
        result = superpod_reconcile.reconcile(settings)
    except OSError:
        superpod_textfile.note_reconciliation({}, False)
        raise
    superpod_textfile.note_reconciliation(result.removed, not result.problem)
    for name, jobs in result.removed.items():
        _say(f"removed from {name}, as Slurm knows no such job here: {', '.join(jobs)}")
    # A controller in maintenance is no failure of this node: a metric tells it.
    _say(result.problem)
    if result.answered and result.problem:
        raise OSError(result.problem)


def _write(settings: dict[str, str]) -> None:
    import superpod_devices

    table = superpod_devices.current() or superpod_devices.Table()
    superpod_textfile.write(settings, table, superpod_devices.read_status().get("ok") is True)


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
        path = os.path.join(_settings()["textfile"] or superpod_paths.TEXTFILE_DIRECTORY, superpod_paths.TEXTFILE)
        with open(path, "rb") as stream:
            return "200 OK", stream.read(_TEXT_BYTES)
    except (OSError, KeyError) as exc:
        reason = f"no metrics yet, see {superpod_paths.JOB_MAP_UNIT}: {exc}\n"
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

    def process_request(self, request: socket.socket, client_address: object) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:
            # No thread could be started.
            self._free.release()
            raise

    def process_request_thread(self, request: socket.socket, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: socket.socket, client_address: object) -> None:
        _say(f"a request failed: {sys.exc_info()[1]!r}")


def _listener(port: int) -> socket.socket:
    """Listen for IPv6 and IPv4, or for IPv4 alone where the kernel has no other."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("", port), family=socket.AF_INET6, backlog=32, dualstack_ipv6=True)
        except OSError as exc:
            _say(f"no IPv6: {exc}")
    return socket.create_server(("", port), backlog=32)


def serve() -> int:
    """Answer requests until SIGTERM."""
    signal.signal(signal.SIGTERM, _leave)
    signal.signal(signal.SIGINT, _leave)
    with Server(superpod_job_map.number(_settings(), "port", _PORT)) as server:
        server.serve_forever()
    return 0


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(0)


def _settings() -> dict[str, str]:
    return superpod_job_map.read_settings(superpod_paths.JOB_MAP_CONFIG)


def _say(sentence: str) -> None:
    if sentence:
        print(sentence, file=sys.stderr, flush=True)


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names and return the exit code."""
    commands = {"devices": devices, "tick": tick, "serve": serve}
    if len(arguments) != 1 or arguments[0] not in commands:
        _say(f"usage: superpod_node.py {' | '.join(commands)}")
        return 2
    try:
        return commands[arguments[0]]()
    except OSError as exc:
        _say(f"{arguments[0]}: {exc}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
