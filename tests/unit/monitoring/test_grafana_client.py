"""A Grafana that does not answer as one should is told of in a sentence, which never has the token."""

from __future__ import annotations

import http.server
import logging
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from superpod_dcgm.monitoring import grafana_client
from superpod_dcgm.monitoring.grafana_client import Access, Client, GrafanaError, health

from tests.fake_grafana import FakeGrafana, Server

TOKEN = "glsa_admin"


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grafana_client, "_PAUSE", 0.01)


@pytest.fixture
def token(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def grafana() -> FakeGrafana:
    return FakeGrafana()


@pytest.fixture
def server(grafana: FakeGrafana) -> Iterator[Server]:
    with Server(grafana) as server:
        server.start()
        yield server
        server.shutdown()


def refusal(url: str, token: Path, path: str = "/api/org", ca: str = "") -> str:
    with pytest.raises(GrafanaError) as caught:
        Client(Access(url, str(token), ca, timeout=2)).ask("GET", path)
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_token_that_others_can_read_is_refused(token: Path, mode: int) -> None:
    token.chmod(mode)
    sentence = refusal("http://127.0.0.1:1", token)
    assert f"{token} has the mode {mode:04o}" in sentence
    assert "chmod 0600" in sentence


@pytest.mark.parametrize("text", ["", "two words", "glsa_\x07", "glsa_ä"])
def test_what_is_no_token_is_refused_without_showing_it(token: Path, text: str) -> None:
    token.write_text(text)
    sentence = refusal("http://127.0.0.1:1", token)
    assert "must hold one word" in sentence
    assert not text or text not in sentence


def test_a_token_that_is_missing_is_named(tmp_path: Path) -> None:
    assert "dcgm:grafana:token_file: " in refusal("http://127.0.0.1:1", tmp_path / "none")


def test_a_token_that_is_not_known_is_told(server: Server, token: Path) -> None:
    token.write_text("glsa_other")
    sentence = refusal(server.url, token)
    assert f"does not know the token in {token} (HTTP 401: Invalid API key)" in sentence
    assert "glsa_other" not in sentence


def test_a_page_in_place_of_the_api_is_told(server: Server, grafana: FakeGrafana, token: Path) -> None:
    grafana.page = "<html>Sign in</html>"
    assert "answers with a page instead of Grafana's API (HTTP 200)" in refusal(server.url, token)


def test_a_redirection_is_told_and_not_followed(server: Server, grafana: FakeGrafana, token: Path) -> None:
    grafana.redirect = f"{server.url}/login?back={TOKEN}"
    assert f"sends to {server.url}/login (HTTP 302): is it the login page of a proxy?" in refusal(server.url, token)
    assert grafana.asked == [("GET", "/api/org")]


def test_a_token_that_the_server_repeats_is_not_shown(
    server: Server, grafana: FakeGrafana, token: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(grafana, "answer", lambda *_: (401, {"message": f"bad {TOKEN}"}))
    assert "bad (token)" in refusal(server.url, token)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(("status", "times"), [(400, 1), (403, 1), (404, 1), (409, 1), (412, 1), (429, 1), (502, 3)])
def test_only_faults_of_the_server_are_asked_again(
    server: Server, grafana: FakeGrafana, token: Path, monkeypatch: pytest.MonkeyPatch, status: int, times: int
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(grafana, "answer", lambda method, *_: (asked.append(method), (status, {"message": "no"}))[1])
    client = Client(Access(server.url, str(token)))
    for method, expected in (("GET", times), ("POST", 1)):
        asked.clear()
        if status in (429, 502):
            with pytest.raises(GrafanaError, match="is out of order"):
                client.ask(method, "/api/org")
        else:
            assert client.ask(method, "/api/org").status == status
        assert len(asked) == expected


def test_nobody_and_a_silent_one_are_told(token: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(GrafanaError, match=r"does not answer within 0\.2 s"):
            Client(Access(f"http://127.0.0.1:{port}", str(token), timeout=0.2)).ask("POST", "/api/org")
    assert "does not answer (127.0.0.1:" in refusal(f"http://127.0.0.1:{port}", token)


def test_no_proxy_of_the_environment_gets_the_token(
    server: Server, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert health(Client(Access(server.url, str(token)))) == "13.0.1"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A certificate for localhost that signs itself, and its key."""
    folder = tmp_path_factory.mktemp("pair")
    key, certificate = f"{folder}/key", f"{folder}/crt"
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, "-out"]
    subprocess.run([*command, certificate, *subject], check=True, capture_output=True)
    return certificate, key


def test_a_certificate_is_checked(server: Server, token: Path, pair: tuple[str, str]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    with Server(FakeGrafana()) as secured:
        secured.socket = context.wrap_socket(secured.socket, server_side=True)
        secured.start()
        url = secured.url.replace("http://127.0.0.1", "https://localhost")
        assert health(Client(Access(url, str(token), pair[0]))) == "13.0.1"
        assert "look at dcgm:grafana:ca" in refusal(url, token)
        other = refusal(url.replace("localhost", "127.0.0.1"), token, ca=pair[0])
        assert "the certificate does not stand the check" in other
        secured.shutdown()
    assert "no TLS" in refusal(server.url.replace("http:", "https:"), token)


def test_an_endless_answer_ends(token: Path) -> None:
    class Endless(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65536)
            except OSError:
                pass

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Endless) as endless:
        threading.Thread(target=endless.serve_forever, args=[0.02], daemon=True).start()
        with pytest.raises(GrafanaError, match=r"does not answer within 0\.3 s"):
            Client(Access(f"http://127.0.0.1:{endless.server_port}", str(token), timeout=0.3)).ask("GET", "/api/org")
        endless.shutdown()


def test_one_that_is_not_well_is_told(
    server: Server, grafana: FakeGrafana, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grafana, "answer", lambda *_: (200, {"database": "failing"}))
    with pytest.raises(GrafanaError, match="database failing"):
        health(Client(Access(server.url, str(token))))


def test_a_token_of_another_user_is_refused(token: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    os.chown(token, 12345, 12345)
    assert "the owner 12345" in refusal("http://127.0.0.1:1", token)
