"""The page with the dashboards is built by npm as its lock says, served on loopback, and hands on questions only."""

from __future__ import annotations

import http.server
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from superpod.errors import SuperpodError
from superpod.lab import Lab, drawn, drawn_server, show

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
OTHER = Path(__file__).resolve().parents[2] / "boards/grafana/package-lock.json"
# What npm does, as far as the build needs it: it takes its options, and brings the bundler, icons and letters.
NPM = r"""#!/bin/sh
echo "$@" > "$PWD/../asked"
mkdir -p node_modules/.bin node_modules/@grafana/ui/dist/public/img
mkdir -p node_modules/@fontsource/inter/files node_modules/@fontsource/roboto-mono/files
touch node_modules/@grafana/ui/dist/public/img/icon.svg
for one in inter/files/inter-latin-400 inter/files/inter-latin-500 roboto-mono/files/roboto-mono-latin-400; do
    touch node_modules/@fontsource/$one-normal.woff2 node_modules/@fontsource/$one-italic.woff2
done
printf '#!/bin/sh\nmkdir built && touch built/page.js\n' > node_modules/.bin/esbuild
chmod 755 node_modules/.bin/esbuild
"""


def lock(path: Path) -> dict[str, dict[str, Any]]:
    """Return the packages of a lock, without the project itself."""
    return {name: one for name, one in json.loads(path.read_text())["packages"].items() if name}


def test_packages_are_pinned_by_checksums_and_no_registry_is_named() -> None:
    packages = lock(drawn.SOURCES / "package-lock.json")
    assert len(packages) > 300
    assert [
        name for name, one in packages.items() if "resolved" in one or not one["integrity"].startswith("sha512-")
    ] == []


def test_what_draws_is_of_the_release_that_the_checks_use() -> None:
    ours, others = lock(drawn.SOURCES / "package-lock.json"), lock(OTHER)
    same = ("@grafana/data", "@grafana/schema", "react", "react-dom", "rxjs")
    names = [f"node_modules/{name}" for name in same]
    assert [ours[name]["integrity"] for name in names] == [others[name]["integrity"] for name in names]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder for programs, the only one in which they are looked for first."""
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path / "cache"))
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return programs


def install(folder: Path, text: str) -> None:
    (folder / "npm").write_text(text)
    (folder / "npm").chmod(0o755)


def test_the_page_is_built_once_and_nothing_else_stays(machine: Path, tmp_path: Path) -> None:
    install(machine, NPM)
    said: list[str] = []
    page = drawn.ensure(tmp_path / "log", said.append)
    found = {str(path.relative_to(page)) for path in page.rglob("*") if path.is_file()}
    fonts = {f"public/fonts/{name}" for name in drawn.FONTS}
    assert found == {drawn.STAMP, "index.html", "page.js", "public/build/img/icon.svg", *fonts}
    assert [path.name for path in page.parent.iterdir() if path.is_dir()] == [page.name]
    assert "--ignore-scripts" in (page.parent / "asked").read_text()
    install(machine, "#!/bin/sh\nexit 1\n")
    assert (drawn.ensure(tmp_path / "log", said.append), len(said)) == (page, 1)


def test_a_registry_that_refuses_is_named_in_one_sentence(machine: Path, tmp_path: Path) -> None:
    install(machine, "#!/bin/sh\necho 'npm error 403 Forbidden - GET react' >&2; echo 'npm error more' >&2; exit 1\n")
    with pytest.raises(SuperpodError, match=r"npm failed: npm error 403 Forbidden - GET react \(all of it"):
        drawn.ensure(tmp_path / "log", lambda _: None)
    assert [path for path in drawn.built().parent.iterdir() if path.is_dir()] == []


def test_without_npm_the_lab_says_why_dashboards_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SUPERPOD_LAB_CACHE", "SUPERPOD_LAB_STATE", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    lab = Lab("drawn", log=tmp_path / "log")
    assert (
        show.dashboards_line(lab)
        == "Dashboards: not shown, since there is no npm on this machine (Debian's package npm)"
    )


class Prometheus(http.server.BaseHTTPRequestHandler):
    """Answers what it is asked: path and body."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(400 if b"wrong" in body else 200)
        self.end_headers()
        self.wfile.write(self.path.encode() + b" " + body)

    def log_message(self, *_: Any) -> None:
        pass


def run(server: http.server.HTTPServer) -> str:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    page = tmp_path / "page"
    page.mkdir()
    for name in ("index.html", "page.js"):
        (page / name).write_text(name)
    (tmp_path / "secret").write_text("secret")
    prometheus = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    server = drawn_server.server(run(prometheus), page, 0)
    yield run(server)
    for one in (prometheus, server):
        one.shutdown()
        one.server_close()


def fetch(address: str, body: str | None = None) -> tuple[int, str]:
    try:
        with OPENER.open(address, body.encode() if body is not None else None, timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_the_page_and_the_dashboards_of_the_checkout_are_served(address: str) -> None:
    assert fetch(f"{address}/d/superpod-node?var-host=a") == (200, "index.html")
    assert fetch(f"{address}/page.js") == (200, "page.js")
    boards = json.loads(fetch(f"{address}/dashboards.json")[1])
    assert {"uid": "superpod-node", "title": "SuperPOD Node"} in boards
    assert json.loads(fetch(f"{address}/dashboards/superpod-node.json")[1])["uid"] == "superpod-node"


@pytest.mark.parametrize("path", ["/../secret", "/dashboards/../../../../../README.md", "/nothing", "/dashboards/"])
def test_nothing_else_is_served(address: str, path: str) -> None:
    assert fetch(f"{address}{path}")[0] == 404


def test_questions_are_handed_on_with_what_prometheus_answers(address: str) -> None:
    assert fetch(f"{address}/prometheus/api/v1/query", "query=up") == (200, "/api/v1/query query=up")
    assert fetch(f"{address}/prometheus/api/v1/series", "wrong") == (400, "/api/v1/series wrong")


@pytest.mark.parametrize("path", ["admin/tsdb/delete_series", "status/config"])
def test_nothing_but_questions_is_handed_on(address: str, path: str) -> None:
    assert fetch(f"{address}/prometheus/api/v1/{path}", "x")[0] == 404


def test_a_prometheus_that_does_not_answer_is_told(tmp_path: Path) -> None:
    server = drawn_server.server("http://127.0.0.1:9", tmp_path, 0)
    status, said = fetch(f"{run(server)}/prometheus/api/v1/query", "query=up")
    server.shutdown()
    server.server_close()
    assert (status, json.loads(said)["error"].startswith("Prometheus does not answer")) == (502, True)
