"""What counts as an answer of the exporter: metrics, or a refusal that only its own web_config gives."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
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


def test_a_port_where_nobody_listens_is_no_answer() -> None:
    assert "does not answer" in probe._no_answer("http://127.0.0.1:1/metrics")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_a_certificate_is_wanted_also_where_the_reason_got_lost_with_the_connection(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://{serve(status=200, tls=NEW, wants_certificate=True)}"

    def refused(*args: object, **options: object) -> None:
        raise requests.exceptions.SSLError("EOF occurred in violation of protocol")

    monkeypatch.setattr(probe.requests, "get", refused)
    assert probe._no_answer(url) == ""
    assert "EOF occurred" in probe._no_answer("https://127.0.0.1:1/metrics")


def test_a_server_that_hangs_is_not_asked_twice(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"https://{serve(status=200, tls=NEW, wants_certificate=True)}"

    def hangs(*args: object, **options: object) -> None:
        raise requests.exceptions.ReadTimeout("read timed out")

    monkeypatch.setattr(probe.requests, "get", hangs)
    assert "read timed out" in probe._no_answer(url)
