"""What the client makes of servers that answer otherwise than hoped for: one sentence each."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from superpod.cli import main
from superpod.errors import SuperpodError
from superpod.reports import settings
from superpod.reports.prometheus import Client, Server, matchers

GOOD = {"status": "success", "data": {"resultType": "vector", "result": [{"metric": {"a": "b"}, "value": [1, "2.5"]}]}}
Reply = tuple[int, dict[str, str], str]
Serve = Callable[..., "Fake"]


class Fake:
    """Stands for a server: it gives one reply to all, and keeps what it was asked."""

    def __init__(self, reply: Reply, context: ssl.SSLContext | None = None, wait: float = 0) -> None:
        self.asked: list[tuple[str, dict[str, str], str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                outer.asked.append((self.path, dict(self.headers), body))
                time.sleep(wait)
                status, headers, text = reply
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text.encode())), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        # Who was not waited for cannot be answered.
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        scheme = "https" if context else "http"
        self.address = f"{scheme}://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()


@pytest.fixture
def serve() -> Iterator[Serve]:
    started: list[Fake] = []

    def start(status: int = 200, text: Any = GOOD, wait: float = 0, context: Any = None, **headers: str) -> Fake:
        body = text if isinstance(text, str) else json.dumps(text)
        started.append(Fake((status, headers, body), context, wait))
        return started[-1]

    yield start
    for one in started:
        one.server.shutdown()
        one.server.server_close()


def said(address: str, **more: Any) -> str:
    with pytest.raises(SuperpodError) as caught:
        Client(Server(address, **more)).instant("up", 1)
    assert caught.value.exit_code == 1
    return str(caught.value)


REFUSALS: dict[str, tuple[int, Any, dict[str, str], str]] = {
    "a web page": (200, "<!DOCTYPE html><title>Grafana</title>", {}, "answers with a web page instead of"),
    "another text": (200, "hello", {}, "answers with something else instead of"),
    "rows that are none": (200, {"data": {"result": [{"metric": {}}]}}, {}, "does not answer as Prometheus does"),
    "values that are none": (
        *(200, {"data": {"result": [{"metric": {}, "value": [1, "many"]}]}}, {}),
        "does not answer as Prometheus does",
    ),
    "a scalar": (200, {"data": {"resultType": "scalar", "result": [1, "1"]}}, {}, "does not answer as Prometheus does"),
    "a refusal with 200": (200, {"status": "error", "error": "no such tenant"}, {}, "says no: no such tenant."),
    "an answer that ends early": (200, "{", {"Content-Length": "99"}, "ended the connection without an answer"),
    "another JSON": (200, {"version": "12.1"}, {}, "does not answer as Prometheus does"),
    "a list": (200, [], {}, "does not answer as Prometheus does"),
    "401": (401, "<html>who?</html>", {}, "asks who you are (HTTP 401), and none was given."),
    "403": (403, "no", {}, "asks who you are (HTTP 403), and none was given: no."),
    "a redirect": (302, "", {"Location": "https://sso/login"}, "redirects to https://sso/login. That is not followed"),
    "404": (404, "404 page not found", {}, "has no query API there (HTTP 404)"),
    "405": (405, "", {}, "has no query API there (HTTP 405)"),
    "a bad query": (400, {"status": "error", "error": "parse error: x"}, {}, "says no (HTTP 400): parse error: x."),
    "a long query": (503, {"error": "query timed out in expression evaluation"}, {}, "gave up: query timed out"),
    "a dead backend": (502, "<html>Bad Gateway</html>", {}, "says no (HTTP 502)."),
}


@pytest.mark.parametrize(("status", "text", "headers", "words"), REFUSALS.values(), ids=REFUSALS.keys())
def test_each_refusal_is_one_sentence(
    serve: Serve, status: int, text: Any, headers: dict[str, str], words: str
) -> None:
    server = serve(status, text, **headers)
    found = said(server.address)
    assert found.startswith(f"Prometheus at {server.address} {words}") and "<" not in found
    assert len(server.asked) == 1, "a redirect is not followed"


def test_a_refused_token_is_told_without_the_token(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    server = serve(401)
    assert "the token or password given is refused" in said(server.address, token_file=f"{tmp_path}/token")
    assert server.asked[0][1]["Authorization"] == "Bearer s3cret"
    assert "s3cret" not in said(server.address, token_file=f"{tmp_path}/token")


def test_a_user_has_a_password(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "password").write_text("pä:ss\n")
    server = serve()
    (row,) = Client(Server(server.address, user="ada", password_file=f"{tmp_path}/password")).instant("up", 1)
    assert (row.labels, row.value) == ({"a": "b"}, 2.5)
    assert base64.b64decode(server.asked[0][1]["Authorization"][6:]).decode() == "ada:pä:ss"


@pytest.mark.parametrize(
    ("text", "words"),
    [(None, "cannot be read: No such file"), ("", "in one line"), ("a\nb", "in one line"), ("ä", "no token has")],
)
def test_a_token_file_that_is_none_is_named(text: str | None, words: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "token").write_text(text)
    with pytest.raises(SuperpodError, match=words) as caught:
        Client(Server("http://x", token_file=f"{tmp_path}/token"))
    assert f"{tmp_path}/token" in str(caught.value) and caught.value.exit_code == 2


def test_who_does_not_listen_or_is_not_known_cannot_be_reached() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert said(f"http://127.0.0.1:{port}").endswith("cannot be reached: connection refused.")
    assert "nobody knows that name" in said("http://no-such-host.invalid:9090")


def test_who_is_slow_is_waited_for_no_longer_than_said(serve: Serve) -> None:
    begin = time.monotonic()
    assert "did not answer within 0.1 seconds (--timeout)" in said(serve(wait=3).address, timeout=0.1)
    assert time.monotonic() - begin < 2.5


def test_an_answer_that_trickles_in_is_not_waited_for(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            with contextlib.suppress(OSError):
                peer, _ = listener.accept()
                peer.recv(65536)
                peer.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    peer.sendall(b" ")
                    time.sleep(0.05)

        threading.Thread(target=trickle, daemon=True).start()
        begin = time.monotonic()
        assert "did not answer within 0.1 seconds" in said(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)
        assert time.monotonic() - begin < 5


@pytest.mark.parametrize("result", [None, []])
def test_an_empty_answer_is_no_row(serve: Serve, result: Any) -> None:
    client = Client(Server(serve(text={"status": "success", "data": {"result": result}}).address))
    assert client.instant("up", 1) == [] == client.samples("up[1m]", 1)


def test_the_server_is_told_the_time_limit_and_proxies_are_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    server = serve()
    Client(Server(f"{server.address}/thanos", timeout=7)).instant('up{a="ä"}', 1.5)
    path, _, body = server.asked[0]
    assert path == "/thanos/api/v1/query" and "timeout=7000ms" in body and "time=1.500" in body and "%C3%A4" in body


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    more = ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", f"{path}.crt"]
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed"
    subprocess.run([openssl, "req", *words, *more], check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def test_certificates_are_verified(serve: Serve, certificate: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = serve(context=context)
    assert "has a certificate that is not trusted" in said(server.address)
    assert Client(Server(server.address, ca_file=f"{certificate}.crt")).instant("up", 1)[0].value == 2.5
    assert "ended the connection" in said(server.address.replace("https", "http"))


def test_a_server_without_tls_is_told(serve: Serve) -> None:
    assert "is it http://?" in said(serve().address.replace("http", "https"))


def test_a_ca_file_without_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("x")
    for name, words in (("ca", "holds no certificate"), ("none", "cannot be read")):
        with pytest.raises(SuperpodError, match=words):
            Client(Server("https://x", ca_file=f"{tmp_path}/{name}"))


def test_what_is_no_number_is_left_out(serve: Serve) -> None:
    values = [{"metric": {}, "value": [1, text]} for text in ("NaN", "+Inf", "3")]
    assert [row.value for row in Client(Server(serve(text={"data": {"result": values}}).address)).instant("x", 1)] == [
        3
    ]
    series = [{"metric": {}, "values": [[1, "NaN"], [2, "4"]]}]
    client = Client(Server(serve(text={"data": {"result": series}}).address))
    assert client.samples("x[1m]", 1)[0].samples == [(2, 4)] == client.range("x", 1, 2, 1)[0].samples


@pytest.mark.parametrize(
    ("more", "warnings"),
    [
        ({"warnings": ["No StoreAPIs matched"]}, ["No StoreAPIs matched"]),
        ({"isPartial": True}, ["a storage node did not answer"]),
        ({"warnings": ["PromQL info: metric might not be a counter"], "isPartial": False}, []),
        ({"warnings": None}, []),
        ({"warnings": [{"code": 7}]}, ["{'code': 7}"]),
    ],
)
def test_an_answer_that_is_a_part_is_known_as_such(serve: Serve, more: dict[str, Any], warnings: list[str]) -> None:
    client = Client(Server(serve(text={**GOOD, **more}).address))
    client.instant("up", 1)
    client.instant("up", 1)
    assert client.warnings == warnings


def test_the_first_error_of_several_queries_ends_them(serve: Serve) -> None:
    client = Client(Server(serve(404).address))
    with pytest.raises(SuperpodError, match="HTTP 404"):
        client.together([lambda: client.instant("a", 1), lambda: client.instant("b", 1)])


def test_matchers_are_quoted() -> None:
    assert matchers(a='x"\\\n', b="", c=[]) == 'a="x\\"\\\\\\n"'
    assert matchers(host=["n.1", "a+b"]) == 'host=~"n\\\\.1|a\\\\+b"'


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user without any configuration; the system's would be in system.yaml."""
    for name, _ in settings.KEYS.values():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("SUPERPOD_CONFIG", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(settings, "SYSTEM", tmp_path / "system.yaml")
    (tmp_path / "superpod").mkdir()
    return tmp_path


def test_options_win_over_the_environment_and_that_over_files(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "system.yaml").write_text("address: http://system\ncluster: s\n")
    assert settings.load({}) == (Server("http://system"), "s")
    (home / "superpod/reports.yaml").write_text("address: http://own/\ntimeout: 5\ntoken_file: token\ncluster: o\n")
    assert settings.load({}) == (Server("http://own", f"{home}/superpod/token", timeout=5), "o")
    monkeypatch.setenv("SUPERPOD_PROMETHEUS", "http://variable/api/v1")
    assert settings.load({"cluster": "c", "timeout": ""})[1] == "c"
    assert settings.load({})[0].address == "http://variable"
    assert settings.load({"address": "http://option"})[0].address == "http://option"
    (home / "other.yaml").write_text("ca_file: /ca\n")
    assert settings.load({}, f"{home}/other.yaml") == (Server("http://variable", ca_file="/ca"), "")


def test_a_password_on_the_command_line_needs_no_token_from_a_file(home: Path) -> None:
    (home / "system.yaml").write_text("address: http://x\ntoken_file: /t\n")
    found, _ = settings.load({"user": "ada", "password_file": "/p"})
    assert found == Server("http://x", user="ada", password_file="/p")


WRONG: dict[str, tuple[str, dict[str, str], str]] = {
    "no address": ("", {}, "Where is Prometheus"),
    "no scheme": ("", {"address": "mon-01:9090"}, "'mon-01:9090' should be http://HOST:PORT"),
    "no port": ("", {"address": "http://mon-01:nine"}, "should be http://HOST:PORT"),
    "a query": ("", {"address": "http://mon-01/graph?x=1"}, "should be http://HOST:PORT"),
    "a password": ("", {"address": "http://a:b@mon-01"}, "is seen by all"),
    "a time": ("", {"address": "http://x", "timeout": "soon"}, "'soon' should be a number of seconds"),
    "too long": ("", {"address": "http://x", "timeout": "1e9"}, "up to 600"),
    "a lonely user": ("", {"address": "http://x", "user": "ada"}, "need each other"),
    "both": ("", {"address": "http://x", "user": "a", "password_file": "p", "token_file": "t"}, "give one of them"),
    "no key": ("adress: http://x", {}, "there is no key 'adress'; allowed are address, "),
    "no text": ("address: [1]", {}, r"address is \[1\]"),
    "a list": ("- address", {}, "should have lines"),
    "no YAML": ("a: 1\nb: [", {}, "is no YAML in line"),
}


@pytest.mark.parametrize(("text", "options", "words"), WRONG.values(), ids=WRONG.keys())
def test_wrong_settings_are_named(home: Path, text: str, options: dict[str, str], words: str) -> None:
    (home / "superpod/reports.yaml").write_text(text)
    with pytest.raises(SuperpodError, match=words) as caught:
        settings.load(options)
    assert caught.value.exit_code == 2


def test_a_named_file_has_to_be_there(home: Path) -> None:
    with pytest.raises(SuperpodError, match=r"none\.yaml cannot be read"):
        settings.load({}, f"{home}/none.yaml")


@pytest.mark.parametrize("line", ["job 4711 --no-slurm", "report --by job", "report --json", "top", "top n1 0"])
@pytest.mark.parametrize("metric", [{}, {"hpc_job": "4711"}, {"__name__": "x", "user": "ada"}])
@pytest.mark.parametrize("values", [{"value": [1795795000, "1"]}, {"values": [[1795795000, "1"], [1795795060, "0"]]}])
def test_rows_that_nobody_asked_for_are_no_traceback(
    serve: Serve, line: str, metric: dict[str, str], values: dict[str, Any]
) -> None:
    server = serve(text={"status": "success", "data": {"result": [{"metric": metric, **values}]}})
    words = [*line.split(), "--prometheus", server.address]
    answer = CliRunner().invoke(main, words, env={"SUPERPOD_CONFIG": "/dev/null"})
    assert isinstance(answer.exception, (SystemExit, type(None))), answer.exception
