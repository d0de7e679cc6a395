"""What counts as an answer of the exporter: metrics, or a refusal that only its own web_config gives."""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from superpod_dcgm.base import systemd
from superpod_dcgm.exporter import probe

from tests.fake_bcm import Authority

Serve = Callable[..., str]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Return a function that starts a server and returns its address."""
    servers = []

    def start(status: int, tls: ssl.TLSVersion | None = None, wants_certificate: bool = False) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *args: None
        servers.append(server)
        if tls:
            authority = Authority(tmp_path, "authority")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.maximum_version = tls
            context.load_cert_chain(*authority.issue("node", ("localhost",)))
            context.load_verify_locations(authority.file)
            context.verify_mode = ssl.CERT_REQUIRED if wants_certificate else ssl.CERT_NONE
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"127.0.0.1:{server.server_address[1]}/metrics"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


NEW, OLD = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
# name: (scheme, what the server does, part of the reason why it is no answer, or None)
CASES = {
    "metrics": ("http", {"status": 200}, None),
    "an error": ("http", {"status": 500}, "answers 500"),
    "metrics over TLS": ("https", {"status": 200, "tls": NEW}, None),
    "basic authentication over TLS": ("https", {"status": 401, "tls": NEW}, None),
    "basic authentication without TLS": ("https", {"status": 401}, None),
    "an error without TLS": ("https", {"status": 500}, "answers 500"),
    "a client certificate, TLS 1.3": ("https", {"status": 200, "tls": NEW, "wants_certificate": True}, None),
    "a client certificate, TLS 1.2": ("https", {"status": 200, "tls": OLD, "wants_certificate": True}, None),
    "TLS where none is configured": ("http", {"status": 200, "tls": NEW}, "does not answer"),
}


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize(("scheme", "server", "reason"), CASES.values(), ids=CASES.keys())
def test_an_answer_is_told_from_none(serve: Serve, scheme: str, server: dict[str, object], reason: str | None) -> None:
    found = probe._no_answer(f"{scheme}://{serve(**server)}")
    assert (reason in found) if reason else found == ""


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_the_minions_environment_says_of_the_way_to_servers_is_not_asked(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, scheme: str
) -> None:
    proxy = serve(status=403).partition("/")[0]
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login x password y\n")
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{proxy}")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nonexistent")
    assert probe._no_answer(f"{scheme}://{serve(status=200, tls=NEW if scheme == 'https' else None)}") == ""


def test_an_answer_that_drips_is_not_waited_for(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 500 Broken\r\nContent-Length: 1000000\r\n\r\n\x1b[31mfailed")
                while not stop.wait(0.02):
                    connection.sendall(b" ")

        stop = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        monkeypatch.setattr(probe, "_PROBE_TIMEOUT", 0.3)
        began = time.monotonic()
        found = probe._no_answer(f"http://127.0.0.1:{server.getsockname()[1]}/metrics")
        stop.set()
        thread.join()
    assert found.endswith("answers 500: failed")
    assert time.monotonic() - began < 10


def test_a_port_where_nobody_listens_is_no_answer() -> None:
    assert "does not answer" in probe._no_answer("http://127.0.0.1:1/metrics")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_wanted_also_where_the_reason_got_lost_with_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://{serve(status=200, tls=NEW, wants_certificate=True)}"

    def refused(*args: object, **options: object) -> None:
        raise requests.exceptions.SSLError("EOF occurred in violation of protocol")

    monkeypatch.setattr(requests.Session, "get", refused)
    assert probe._no_answer(url) == ""
    assert "EOF occurred" in probe._no_answer("https://127.0.0.1:1/metrics")


def test_a_server_that_hangs_is_not_asked_twice(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://{serve(status=200, tls=NEW, wants_certificate=True)}"

    def hangs(*args: object, **options: object) -> None:
        raise requests.exceptions.ReadTimeout("read timed out")

    monkeypatch.setattr(requests.Session, "get", hangs)
    assert "read timed out" in probe._no_answer(url)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_only_the_process_that_listens_itself_counts(family: socket.AddressFamily, address: str) -> None:
    with socket.create_server((address, 0), family=family) as server:
        port = server.getsockname()[1]
        assert probe.listens(os.getpid(), port) is True
        # The process that started this one, and one that is gone, hold no such socket.
        assert probe.listens(os.getppid(), port) is False
        assert probe.listens(2**22 + 1, port) is False
    assert probe.listens(os.getpid(), port) is False


def test_a_connection_from_a_port_is_no_listening_on_it(serve: Serve) -> None:
    host, _, port = serve(status=200).partition("/")[0].partition(":")
    with socket.create_connection((host, int(port))) as connection:
        assert probe.listens(os.getpid(), connection.getsockname()[1]) is False


RUNS = {"ActiveState": "active", "SubState": "running", "Result": "success"}
FAILED = {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "MainPID": "0"}


def test_metrics_count_only_from_the_main_process_of_an_active_unit(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{serve(status=200)}"

    def found(state: dict[str, str]) -> str:
        monkeypatch.setattr(systemd, "show", lambda unit: state)
        return probe.await_metrics("x.service", url, -1)

    assert found({**RUNS, "MainPID": str(os.getpid())}) == ""
    assert found({**RUNS, "MainPID": str(os.getppid())}) == f"{url} is answered by another process than x.service's"
    assert found(FAILED) == "x.service is failed (failed, result exit-code)"


def test_an_exporter_that_answers_late_is_waited_for_and_a_silent_one_no_longer_than_told(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{serve(status=200)}"
    answers = iter([FAILED, FAILED, {**RUNS, "MainPID": str(os.getpid())}])
    moments = []
    monkeypatch.setattr(systemd, "show", lambda unit: next(answers, FAILED))
    monkeypatch.setattr(probe.time, "sleep", moments.append)
    assert probe.await_metrics("x.service", url, 60) == ""
    assert moments == [0.5, 0.5]
    clock = iter(range(100))
    monkeypatch.setattr(probe.time, "monotonic", lambda: float(next(clock)))
    assert probe.await_metrics("x.service", url, 3).startswith("x.service is failed")
    assert moments == [0.5] * 5


def test_a_certificate_is_asked_for_only_where_there_is_tls() -> None:
    assert probe._wants_certificate("http://127.0.0.1:1/metrics") is False
