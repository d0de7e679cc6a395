"""VictoriaMetrics' vmalert makes the same of the recording rules as Prometheus."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import rule_cases as cases
import rule_series as scenario
from superpod_dcgm.monitoring import jobstats, recording

from tests import promtools

SECONDS = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
ALL = {**cases.CASES, **cases.CASES_OF_JOBSTATS}


class Server:
    """A VictoriaMetrics on this machine. The series of a scenario begin at ``first`` there."""

    def __init__(self, port: int, first: int) -> None:
        self.address, self.first = f"http://127.0.0.1:{port}", first

    def get(self, path: str, data: bytes | None = None, **query: str) -> bytes:
        address = f"{self.address}{path}?{urllib.parse.urlencode(query)}"
        with _OPENER.open(urllib.request.Request(address, data), timeout=SECONDS) as answer:
            body: bytes = answer.read()
        return body

    def add(self, series: scenario.Series) -> None:
        """Add series. What ends has no mark there, so that the server must look back by less than a scrape."""
        for key, values in series.found.items():
            samples = {"values": [*values.values()], "timestamps": [(self.first + now) * 1000 for now in values]}
            self.get("/api/v1/import", json.dumps({"metric": dict(key), **samples}).encode())
        self.get("/internal/force_flush")

    def sum_of(self, case: cases.Case) -> float | None:
        """Return the sum of a case's expression; None: it has no row."""
        minutes, seconds = case.at.rstrip("s").split("m")
        moment = str(self.first + int(minutes) * 60 + int(seconds))
        text = self.get(
            "/api/v1/query", query=case.expression, time=moment, step="60s", max_lookback="59s", nocache="1"
        )
        rows = json.loads(text)["data"]["result"]
        return sum(float(row["value"][1]) for row in rows) if rows else None


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def layers(rules: list[dict[str, str]]) -> list[list[dict[str, str]]]:
    """Return the rules in layers: each needs only what is in those before."""
    found: list[list[dict[str, str]]] = []
    depth: dict[str, int] = {}
    for rule in rules:
        depth[rule["record"]] = max((depth[name] + 1 for name in depth if name in rule["expr"]), default=0)
        found += [[]] * (depth[rule["record"]] == len(found))
        found[depth[rule["record"]]] = [*found[depth[rule["record"]]], rule]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that has two dozen GPUs, and what vmalert made of them."""
    folder = tmp_path_factory.mktemp("victoria-metrics")
    port = free_port()
    command = [
        promtools.program("usr/bin/victoria-metrics"),
        f"-storageDataPath={folder}/data",
        "-search.maxLookback=29s",
    ]
    with (
        (folder / "log").open("w") as log,
        subprocess.Popen([*command, f"-httpListenAddr=127.0.0.1:{port}"], stdout=log, stderr=log) as process,
    ):
        found = Server(port, int(time.time()) // 60 * 60 - 2 * 3600)
        try:
            wait_for(found)
            found.add(scenario.collect(cases.DEVICES, lambda device: 1 + int(device.host[1:]) % 2))
            groups = [*recording.groups(recording.Settings()), *jobstats.groups()]
            for layer in layers([rule for group in groups for rule in group["rules"]]):
                replay(found, folder, layer)
            yield found
        finally:
            process.terminate()


def wait_for(server: Server) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            server.get("/health")
            return
        except OSError:
            assert time.monotonic() < deadline, "VictoriaMetrics does not answer"
            time.sleep(0.1)


def replay(server: Server, folder: Path, rules: list[dict[str, str]]) -> None:
    """Have vmalert evaluate rules for the past; it writes what it finds."""
    group: dict[str, Any] = {"name": "layer", "interval": f"{recording.INTERVAL}s", "rules": rules}
    (folder / "rules.yml").write_text(json.dumps({"groups": [group]}))
    # Up to the minute before the last; a range in the middle of a step would be rounded.
    moments = (server.first, server.first + scenario.END)
    first, last = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in moments)
    command = [promtools.program("usr/bin/vmalert"), f"-rule={folder}/rules.yml", f"-datasource.url={server.address}"]
    command += [f"-remoteWrite.url={server.address}", f"-replay.timeFrom={first}", f"-replay.timeTo={last}"]
    command += ["-replay.disableProgressBar", "-replay.rulesDelay=1ms", "-remoteWrite.flushInterval=100ms"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=2 * SECONDS)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    server.get("/internal/force_flush")


@pytest.mark.parametrize("name", ALL)
def test_vmalert_and_hand_calculations_agree(name: str, server: Server) -> None:
    found = {case: server.sum_of(case) for case in ALL[name]}
    assert [(case, value) for case, value in found.items() if not agrees(case, value)] == []


def agrees(case: cases.Case, value: float | None) -> bool:
    if value is None or case.value is None:
        return value is case.value
    # It stores decimals, of which the last ones are lost.
    return abs(value - case.value) <= case.off + 1e-9 * abs(case.value)
