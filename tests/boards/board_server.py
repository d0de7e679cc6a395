"""A Prometheus that has the made-up clusters and what our recording rules make of them, and answers for dashboards."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import board_world as world
from superpod_dcgm.monitoring import recording

from tests import promtools

PLACES = {"2": "usr/bin/prometheus", "3": "opt/prometheus-3/bin/prometheus"}
SECONDS = 60.0
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_PATTERN = re.compile(r"\$\{(\w+)(?::(\w+))?\}|\$(\w+)")
# What Grafana makes of its own variables, for the time that the clusters last: no sample lies on the edge of the range,
# which Prometheus 2 counts and 3 does not.
_TIME = {"__range": f"{world.SECONDS + world.STEP // 2}s", "__interval": "60s", "__rate_interval": "120s"}


class Refused(Exception):
    """Prometheus does not take an expression: what it says."""


def filled(text: str, values: Mapping[str, str | list[str]]) -> str:
    """
    Return a text with variables as Grafana's Prometheus data source writes them.

    :raises KeyError: it has another one.
    """

    def one(found: re.Match[str]) -> str:
        value = {**_TIME, **values}[found[1] or found[3]]
        if isinstance(value, str):
            return value
        # `All` stands for the variable's allValue; several become one expression.
        return value[0] if len(value) == 1 else f"({'|'.join(value)})"

    return _PATTERN.sub(one, text)


class Server:
    """A Prometheus on this machine, and its process."""

    def __init__(self, port: int, pid: int) -> None:
        self.address, self.pid = f"http://127.0.0.1:{port}", pid

    def get(self, path: str, **query: str) -> Any:
        """
        Return what it answers.

        :raises Refused: it answers with an error or a warning.
        """
        body = urllib.parse.urlencode(query).encode() if query else None
        try:
            with OPENER.open(f"{self.address}{path}", body, timeout=SECONDS) as answer:
                found = json.load(answer)
        except urllib.error.HTTPError as exc:
            raise Refused(json.loads(exc.read())["error"]) from exc
        if found.get("warnings"):
            raise Refused(found["warnings"][0])
        return found["data"]

    def rows(self, expression: str, instant: bool = True) -> list[dict[str, Any]]:
        """Return the rows of an expression at the end, or over all of the time; see ``get``."""
        if instant:
            found = self.get("/api/v1/query", query=expression, time=str(world.END))
        else:
            times = {"start": str(world.BEGIN), "end": str(world.END), "step": "60"}
            found = self.get("/api/v1/query_range", query=expression, **times)
        rows: list[dict[str, Any]] = found["result"]
        return rows

    def value(self, expression: str) -> float | None:
        """Return the one value of an expression; None: it has no row."""
        rows = self.rows(expression)
        assert len(rows) <= 1, rows
        return float(rows[0]["value"][1]) if rows else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


@contextlib.contextmanager
def running(major: str, data: Path) -> Iterator[Server]:
    """Run Prometheus 2 or 3 with a database, until it is not needed."""
    port, log = free_port(), data.with_name(f"log-{major}")
    (data.with_name("prometheus.yml")).write_text("{}")
    command = [promtools.program(PLACES[major]), f"--config.file={data.with_name('prometheus.yml')}"]
    command += [f"--storage.tsdb.path={data}", "--storage.tsdb.retention.time=50y", "--log.level=warn"]
    command += [f"--web.listen-address=127.0.0.1:{port}"]
    with log.open("w") as stream, subprocess.Popen(command, stdout=stream, stderr=stream) as process:
        server, deadline = Server(port, process.pid), time.monotonic() + SECONDS
        try:
            while not _ready(server):
                assert process.poll() is None and time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)
            yield server
        finally:
            process.terminate()


def _ready(server: Server) -> bool:
    try:
        with OPENER.open(f"{server.address}/-/ready", timeout=SECONDS) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def layers(rules: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """Return rules in layers, each of which needs only what is in those before."""
    found: list[list[dict[str, str]]] = []
    depth: dict[str, int] = {}
    for rule in rules:
        names = {*re.findall(r"[a-z_]+:\w+:\w+", rule["expr"])}
        depth[rule["record"]] = max((depth[name] + 1 for name in names if name in depth), default=0)
        found += [[]] if depth[rule["record"]] == len(found) else []
        found[depth[rule["record"]]] = [*found[depth[rule["record"]]], rule]
    return found


def make(
    folder: Path, lines: Iterable[str] = (), begin: int = world.BEGIN, end: int = world.END, rules: bool = True
) -> Path:
    """Return a database with the clusters (or those of other lines), and with ``rules`` all that they record."""
    data, text = folder / "data", folder / "clusters.txt"
    with text.open("w") as stream:
        stream.writelines(lines or world.openmetrics())
    promtool("create-blocks-from", "openmetrics", "--quiet", text, data)
    every = [rule for group in recording.groups(recording.Settings()) for rule in group["rules"]]
    for layer in layers(every) if rules else ():
        file = folder / "rules.json"
        file.write_text(json.dumps({"groups": [{"name": "layer", "rules": layer}]}))
        with running("3", data) as server:
            times = [f"--start={begin}", f"--end={end}", "--eval-interval=60s"]
            promtool("create-blocks-from", "rules", *times, f"--url={server.address}", f"--output-dir={data}", file)
    return data


def promtool(*arguments: object) -> None:
    command = [promtools.promtool("3"), "tsdb", *map(str, arguments)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=5 * SECONDS)
    assert answer.returncode == 0, answer.stdout + answer.stderr
