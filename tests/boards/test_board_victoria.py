"""VictoriaMetrics answers every question of the dashboards as Prometheus does."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.error
import urllib.parse
from collections.abc import Iterator
from typing import Any

import board_server
import board_world as world
import pytest
from board_files import Json, boards, name, targets
from board_server import OPENER, SECONDS, Server, filled
from test_board_queries import SMALL

from tests import promtools

VALUES = SMALL["both"][0]


class Victoria(Server):
    """A VictoriaMetrics on this machine."""

    def add(self, rows: list[dict[str, Any]]) -> None:
        """Add all samples of some rows."""
        lines = [
            {
                "metric": row["metric"],
                "values": [float(value) for _, value in row["values"]],
                "timestamps": [int(float(now) * 1000) for now, _ in row["values"]],
            }
            for row in rows
        ]
        self.post("/api/v1/import", "\n".join(map(json.dumps, lines)).encode())
        self.post("/internal/force_flush", b"")

    def post(self, path: str, body: bytes) -> None:
        with OPENER.open(f"{self.address}{path}", body, timeout=SECONDS):
            pass

    def get(self, path: str, **query: str) -> Any:
        return super().get(path, **query, nocache="1", latency_offset="1ms")


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Victoria]]:
    """A Prometheus with the made-up clusters, and a VictoriaMetrics with one of them."""
    folder = tmp_path_factory.mktemp("victoria")
    port = board_server.free_port()
    command = [promtools.program("usr/bin/victoria-metrics"), f"-storageDataPath={folder}/vm", "-retentionPeriod=100y"]
    with (
        board_server.running("3", board_server.make(folder)) as prometheus,
        (folder / "vm.log").open("w") as log,
        subprocess.Popen([*command, f"-httpListenAddr=127.0.0.1:{port}"], stdout=log, stderr=log) as process,
    ):
        victoria = Victoria(port, process.pid)
        try:
            wait_for(victoria)
            victoria.add(prometheus.rows(f'{{cluster="both"}}[{world.SECONDS + world.STEP}s]'))
            yield prometheus, victoria
        finally:
            process.terminate()


def wait_for(server: Victoria) -> None:
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            server.post("/health", b"")
            return
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "VictoriaMetrics does not answer"
            time.sleep(0.1)


def differences(prometheus: Server, victoria: Victoria, found: dict[str, Json]) -> list[str]:
    """Return the questions that the two answer with other rows or numbers."""
    sentences = []
    for file, board in found.items():
        for panel, target in targets(board):
            answers = [
                numbers(server.rows(filled(target["expr"], VALUES), bool(target["instant"])))
                for server in (prometheus, victoria)
            ]
            if answers[0].keys() != answers[1].keys() or answers[0] != pytest.approx(answers[1], rel=1e-9):
                sentences.append(f"{file}: {name(panel)} {target['refId']}")
    return sentences


def numbers(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the last number of each row by its labels. A name counts for nothing: they keep it at other times."""
    found = {}
    for row in rows:
        labels = {label: text for label, text in row["metric"].items() if label != "__name__"}
        found[json.dumps(labels, sort_keys=True)] = float((row.get("values") or [row["value"]])[-1][1])
    return found


def test_victoria_metrics_answers_as_prometheus_does(servers: tuple[Server, Victoria]) -> None:
    assert differences(*servers, boards()) == []


def test_a_question_that_it_answers_otherwise_is_found(servers: tuple[Server, Victoria]) -> None:
    found = {"superpod-node.json": boards()["superpod-node.json"]}
    # It counts from the sample before the range, and does not extrapolate.
    expression = 'increase(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{cluster="$cluster",host="$host"}[90s])'
    next(targets(found["superpod-node.json"]))[1]["expr"] = f"sum({expression})"
    assert len(differences(*servers, found)) == 1
