"""A Prometheus of others is asked by its API what it has of ours; what is missing is one sentence that says where."""

from __future__ import annotations

import base64
import contextlib
import json
import socketserver
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.monitoring import existing, version
from superpod_dcgm.monitoring import page as page_module
from superpod_dcgm.monitoring.page import Page

OURS = existing.Ours("/etc/p/dcgm.yml", "/cm/targets", ("/etc/p/rules/a.yml", "/etc/p/rules/b.yml"))
INCLUDED = {"scrape_config_files": ["/etc/p/*.yml"], "rule_files": ["/etc/p/rules/*.yml"]}
PASTED = {
    "job_name": "anything",
    "file_sd_configs": [{"files": ["/cm/targets/*.json"]}],
}
NOBODY = {"discoveredLabels": {"job": "superpod-dcgm-exporter"}}


def target(pool: str, host: str) -> dict[str, Any]:
    return {"scrapePool": pool, "scrapeUrl": f"http://{host}:9400/metrics", "labels": {"job": "dcgm-exporter"}}


class Prometheus:
    """What a Prometheus of others says, by its API."""

    def __init__(self) -> None:
        self.config: dict[str, Any] = dict(INCLUDED)
        self.version = "2.53.3"
        self.active = [target("superpod-dcgm-exporter", "dgx-01"), target("superpod-dcgm-exporter", "dgx-02")]
        self.dropped: list[dict[str, Any]] = [NOBODY]
        self.rules = ["/etc/p/rules/a.yml", "/etc/p/rules/b.yml"]
        self.credential = ""
        self.directory = "/"
        self.flags = {"config.file": "/etc/p/prometheus.yml"}
        self.prefix = ""
        self.healthy = "Prometheus Server is Healthy.\n"
        self.port = 0

    def answer(self, path: str) -> dict[str, Any]:
        found: dict[str, dict[str, Any]] = {
            "/api/v1/status/config": {"yaml": yaml.safe_dump(self.config)},
            "/api/v1/status/buildinfo": {"version": self.version},
            "/api/v1/status/runtimeinfo": {"CWD": self.directory},
            "/api/v1/status/flags": self.flags,
            "/api/v1/targets": {"activeTargets": self.active, "droppedTargets": self.dropped},
            "/api/v1/rules": {"groups": [{"name": "g", "file": path} for path in self.rules]},
        }
        return {"status": "success", "data": found[path]}


Serve = Callable[..., Prometheus]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[HTTPServer] = []

    def start(context: ssl.SSLContext | None = None) -> Prometheus:
        prometheus = Prometheus()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/" and prometheus.prefix:
                    self.send_response(302)
                    self.send_header("Location", prometheus.prefix)
                    return self.end_headers()
                if not self.path.startswith(f"{prometheus.prefix}/"):
                    return self.send_error(404)
                allowed = self.headers.get("Authorization", "") == prometheus.credential
                self.send_response(200 if allowed else 401)
                self.end_headers()
                if allowed and self.path == f"{prometheus.prefix}/-/healthy":
                    self.wfile.write(prometheus.healthy.encode())
                elif allowed:
                    self.wfile.write(json.dumps(prometheus.answer(self.path.removeprefix(prometheus.prefix))).encode())

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        # A client that refuses a certificate hangs up.
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        prometheus.port = server.server_port
        return prometheus

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def look(prometheus: Prometheus) -> existing.Found:
    return existing.look(Page(prometheus.port), OURS)


def test_where_all_is_there_nothing_is_to_do(serve: Serve) -> None:
    assert look(serve()) == existing.Found(True, "", 2, 2)


def test_a_victoria_metrics_is_told_its_own_way(serve: Serve) -> None:
    server = serve()
    # As Debian's 1.112 answers: no flags, a version of Prometheus' API, an empty configuration.
    server.healthy, server.version, server.config = "VictoriaMetrics is Healthy.", "2.24.0", {}
    server.flags = {}
    assert look(server) == existing.Found(True, "", 2, 2)
    server.active, server.dropped, server.rules = [], [], []
    found = look(server)
    assert found.to_do == (
        "In the file that -promscrape.config of this host's VictoriaMetrics names, copy the jobs of /etc/p/dcgm.yml "
        "into scrape_configs (what it includes has another form; its user must be able to read /cm/targets), and "
        "reload it"
    )
    assert found.for_vmalert == OURS.rules


READ = "its user must be able to read /cm/targets"
RULES = "add `/etc/p/rules/*.yml` to `rule_files`"
# name: (what is otherwise, the sentence)
MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "everything": (
        {"config": {}, "active": [], "dropped": [], "rules": []},
        f"In /etc/p/prometheus.yml, add `scrape_config_files: [/etc/p/dcgm.yml]` ({READ}), {RULES}, and reload it",
    ),
    "the jobs of one before 2.43": (
        {"config": {"rule_files": ["/etc/p/rules/*.yml"]}, "version": "2.42.0+ds", "active": [], "dropped": []},
        "In /etc/p/prometheus.yml, copy the jobs of /etc/p/dcgm.yml into scrape_configs (version 2.42.0 cannot include "
        f"files; {READ}), and reload it",
    ),
    "the rules": (
        {"config": {"scrape_config_files": ["/etc/p/dcgm.yml"]}, "rules": []},
        f"In /etc/p/prometheus.yml, {RULES}, and reload it",
    ),
    "one rule file that came since": (
        {"rules": ["/etc/p/rules/a.yml"]},
        "Reload the Prometheus that runs by /etc/p/prometheus.yml: it has not loaded /etc/p/rules/b.yml",
    ),
    "a reload since the file was written": (
        {"active": [], "dropped": []},
        "Reload the Prometheus that runs by /etc/p/prometheus.yml: it has not read /etc/p/dcgm.yml as it is now",
    ),
    "what patterns that end at a slash do not mean": (
        {
            "config": {"scrape_config_files": ["/etc/*.yml"], "rule_files": ["/etc/p/*.yml"]},
            **{"active": [], "dropped": [], "rules": []},
        },
        f"In /etc/p/prometheus.yml, add `scrape_config_files: [/etc/p/dcgm.yml]` ({READ}), {RULES}, and reload it",
    ),
    "nothing, where its paths are relative to where it runs": (
        {
            "config": {"scrape_config_files": ["./p/*.yml"], "rule_files": ["p/rules/*.yml"]},
            **{"directory": "/etc", "rules": ["p/rules/a.yml", "p/rules/b.yml"]},
        },
        "",
    ),
    "a rule file, where its paths are relative": (
        {"config": {"rule_files": ["p/rules/*.yml"]}, "directory": "/etc", "rules": ["p/rules/a.yml"]},
        "Reload the Prometheus that runs by /etc/p/prometheus.yml: it has not loaded /etc/p/rules/b.yml",
    ),
    "nothing, where it runs in a container and has our files elsewhere": (
        {
            "config": {"scrape_config_files": ["/config/dcgm.yml"], "rule_files": ["/config/*.yml"]},
            "rules": ["/config/a.yml", "/config/b.yml"],
        },
        "",
    ),
    "nothing, where its paths have a prefix": ({"prefix": "/prometheus"}, ""),
    "nothing, where the jobs were copied under another name": (
        {"config": {**INCLUDED, "scrape_config_files": [], "scrape_configs": [PASTED]}, "dropped": []},
        "",
    ),
    "nothing, while no node is a target yet": ({"active": []}, ""),
}


@pytest.mark.parametrize(("otherwise", "sentence"), MISSING.values(), ids=MISSING.keys())
def test_what_is_missing_is_one_sentence_that_says_where(
    serve: Serve, otherwise: dict[str, Any], sentence: str
) -> None:
    prometheus = serve()
    vars(prometheus).update(otherwise)
    assert look(prometheus).to_do == sentence


def test_a_directory_that_it_knows_by_a_link_is_the_same(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    prometheus = serve()
    prometheus.active = prometheus.dropped = []
    prometheus.config = {"scrape_config_files": [f"{tmp_path}/link/*.yml"]}
    ours = existing.Ours(f"{tmp_path}/real/dcgm.yml", "/cm/targets")
    assert existing.look(Page(prometheus.port), ours).to_do.startswith("Reload the Prometheus")


def test_a_server_that_calls_jobs_by_their_label_has_our_targets_all_the_same(serve: Serve) -> None:
    prometheus = serve()
    # So does VictoriaMetrics.
    ours = {"discoveredLabels": {"__meta_filepath": "/cm/targets/dgx-01.json"}}
    prometheus.active = [{**target("dcgm-exporter", "dgx-01"), **ours}, target("gpu", "dgx-01")]
    assert (look(prometheus).exporters, look(prometheus).twice) == (1, ("gpu",))


def test_target_files_that_it_cannot_read_are_told(serve: Serve, tmp_path: Path) -> None:
    prometheus = serve()
    prometheus.active = []
    ours = existing.Ours("/etc/p/dcgm.yml", str(tmp_path))
    (tmp_path / "_none.json").touch()
    assert existing.look(Page(prometheus.port), ours).to_do == ""
    (tmp_path / "dgx-01.json").touch()
    assert existing.look(Page(prometheus.port), ours).to_do == (
        f"Let the user of the Prometheus that runs by /etc/p/prometheus.yml read {tmp_path}: it has none of the 1 "
        "target files there as targets"
    )


def test_targets_of_a_copied_job_count_by_its_name(serve: Serve) -> None:
    prometheus = serve()
    prometheus.config = {"scrape_configs": [PASTED]}
    prometheus.active = [target("anything", "dgx-01"), target("node", "dgx-01")]
    assert look(prometheus).exporters == 1


def test_a_job_of_the_site_that_scrapes_the_same_exporters_is_named(serve: Serve) -> None:
    prometheus = serve()
    prometheus.active += [target("gpu", "dgx-01"), target("node", "dgx-09")]
    assert look(prometheus).twice == ("gpu",)


def test_one_that_wants_a_password_is_asked_with_it(serve: Serve, tmp_path: Path) -> None:
    prometheus = serve()
    prometheus.credential = f"Basic {base64.b64encode(b'me:secret word').decode()}"
    assert (look(prometheus).asked, look(prometheus).refused) == (False, True)
    (tmp_path / "password").write_text("secret word\n")
    page = Page(prometheus.port, user="me", password_file=str(tmp_path / "password"))
    assert existing.look(page, OURS).asked is True
    assert version.of_server(page) == (2, 53, 3)
    assert existing.look(Page(prometheus.port, user="me", password_file="/nowhere"), OURS).asked is False


def test_one_with_tls_is_known_by_its_certificate_and_by_no_other(serve: Serve, tmp_path: Path) -> None:
    pairs = []
    for name in ("mine", "other"):
        pair = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}"]
        subprocess.run([*made, "-keyout", pair[0], "-out", pair[1]], check=True, capture_output=True)
        pairs.append(pair)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pairs[0][1], pairs[0][0])
    port = serve(context).port
    assert existing.look(Page(port, tls=True, ca=str(pairs[0][1])), OURS).asked is True
    assert existing.look(Page(port, tls=True, ca=str(pairs[1][1])), OURS).asked is False
    assert existing.look(Page(port, tls=True, ca="/nowhere"), OURS).asked is False


# Another service may answer on the port.
ODD = [
    *((0, ""), (401, ""), (200, "<html>"), (200, "[]"), (200, '{"data": 5}'), (200, "[" * 100_000)),
    *((200, json.dumps({"data": {"yaml": text}})) for text in ("5", "a: 2020-99-99", "[" * 2000, "a: !!odd 5")),
]


@pytest.mark.parametrize("answer", ODD)
def test_one_that_does_not_tell_is_not_guessed(monkeypatch: pytest.MonkeyPatch, answer: tuple[int, str]) -> None:
    monkeypatch.setattr(Page, "fetch", lambda *_: answer)
    found = existing.look(Page(9090), OURS)
    assert (found.asked, found.exporters) == (False, 0)
    assert found.to_do.startswith("In the configuration of this host's Prometheus, add `scrape_config_files:")


def test_odd_lists_in_good_answers_are_no_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = {
        "yaml": "scrape_config_files: [/etc/p/dcgm.yml]",
        "activeTargets": [5, {"labels": []}],
        "droppedTargets": {},
        "groups": [7, {"file": None}, {"file": "\0"}],
    }
    monkeypatch.setattr(Page, "fetch", lambda *_: (200, json.dumps({"data": odd})))
    assert existing.look(Page(9090), OURS).exporters == 0


# What is no HTTP, or no whole answer of it.
_HEAD = b"HTTP/1.1 200 OK\r\n"
RAW = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "nothing": b"",
    "a part": _HEAD + b"Content-Length: 1000\r\n\r\n{}",
    "a part of a block": _HEAD + b"Transfer-Encoding: chunked\r\n\r\nff\r\n{}",
    "a long line": _HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n{}",
    "many lines": _HEAD + b"X: a\r\n" * 200 + b"\r\n{}",
}


@pytest.fixture
def says() -> Iterator[Callable[[bytes], int]]:
    """Return what starts a server that says the same to everybody, and returns its port."""
    with contextlib.ExitStack() as stack:

        def start(raw: bytes) -> int:
            class Handler(socketserver.BaseRequestHandler):
                def handle(self) -> None:
                    self.request.recv(1 << 16)
                    with contextlib.suppress(OSError):
                        self.request.sendall(raw)

            server = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler))
            threading.Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return int(server.server_address[1])

        yield start


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
def test_what_is_no_http_is_no_answer(says: Callable[[bytes], int], raw: bytes) -> None:
    page = Page(says(raw))
    assert page.fetch("/") == (0, "")
    assert existing.look(page, OURS).asked is False


def test_an_answer_that_is_too_large_is_none(says: Callable[[bytes], int], monkeypatch: pytest.MonkeyPatch) -> None:
    port = says(_HEAD + b"\r\n" + b"x" * 3000)
    assert Page(port).fetch("/") == (200, "x" * 3000)
    monkeypatch.setattr(page_module, "_LARGEST", 2000)
    assert Page(port).fetch("/") == (0, "")


def test_no_other_place_is_asked_that_a_server_names(says: Callable[[bytes], int]) -> None:
    other = says(_HEAD + b"\r\nthere")
    port = says(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\n\r\n" % other)
    assert Page(port).fetch("/") == (302, f"http://127.0.0.1:{other}/")
    assert Page(port).rooted() == Page(port)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("2.53.3+ds1", (2, 53, 3)),
        ("prometheus, version 3.5.3 (branch: HEAD)", (3, 5, 3)),
        ("v2.43.0-rc.1", (2, 43, 0)),
        ("3.0", (3, 0)),
        ("", ()),
        ("unknown", ()),
    ],
)
def test_a_version_is_read_as_numbers(text: str, numbers: version.Version) -> None:
    assert version.parse(text) == numbers


def test_a_program_is_asked_for_its_version(tmp_path: Path) -> None:
    program = tmp_path / "prometheus-3.9.9"
    program.write_text("#!/bin/sh\necho 'prometheus, version 2.54.1 (branch: x)' >&2\n")
    program.chmod(0o755)
    assert version.of_program(str(program)) == (2, 54, 1)
    assert version.of_program(str(tmp_path / "missing")) == ()
    assert version.of_program("") == ()
