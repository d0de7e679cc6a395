"""The states for Prometheus say what they would do, touch nothing of others, and show what is left to do."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

OURS = "scrape_configs:\n- job_name: dcgm-exporter\n"


@pytest.fixture
def prometheus() -> Iterator[Any]:
    """A Prometheus of others that tells its configuration, which a test sets as ``text``."""

    class Handler(BaseHTTPRequestHandler):
        text = ""
        status = 200
        healthy = ""
        version = "2.53.3"
        more: ClassVar[list[dict[str, str]]] = []

        def do_GET(self) -> None:
            pool = {"scrapePool": "superpod-dcgm-exporter", "scrapeUrl": "http://dgx-01:9400/metrics"}
            targets = {"activeTargets": [pool, *self.more] if self.text else []}
            found = {"config": {"yaml": self.text}, "buildinfo": {"version": self.version}}
            data = found.get(self.path.rpartition("/")[2], targets)
            self.send_response(self.status)
            self.end_headers()
            text = self.healthy if self.path == "/-/healthy" else json.dumps({"data": data})
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    Handler.port = server.server_port
    yield Handler
    server.shutdown()
    server.server_close()


def told(states: Any, path: Path, port: int, test: bool = False, **more: list[str]) -> Any:
    what = {**more, "scrape_config": str(path), "targets": "/cm/targets", "page": {"port": port}}
    return states.dcgm_prometheus.told("Ask it", **what, test=test)


def test_what_is_left_to_do_shows_as_a_change_until_it_is_done(states: Any, prometheus: Any, tmp_path: Path) -> None:
    path = tmp_path / "dcgm-exporter.yml"
    ret = told(states, path, prometheus.port)
    assert ret.result is True
    assert f"scrape_config_files: [{path}]" in ret.changes["to do"]
    assert told(states, path, prometheus.port, test=True).result is None
    prometheus.text = f"scrape_config_files: [{path}]"
    ret = told(states, path, prometheus.port)
    assert (ret.result, ret.changes, ret.warnings) == (True, {}, [])
    assert "1 exporters as targets" in ret.comment
    prometheus.more = [{"scrapePool": "gpu", "scrapeUrl": "http://dgx-01:9400/metrics"}]
    ret = told(states, path, prometheus.port)
    assert "Job gpu of this Prometheus scrapes exporters that are targets of ours, too" in ret.warnings[0]


def test_what_only_vmalert_can_do_and_an_open_secret_are_warnings(states: Any, prometheus: Any, tmp_path: Path) -> None:
    prometheus.text, prometheus.healthy = "{}", "VictoriaMetrics is Healthy."
    prometheus.more = [{"scrapePool": "superpod-dcgm-exporter"}]
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    ret = told(states, tmp_path / "x.yml", prometheus.port, rules=["/etc/p/rules/a.yml"], secrets=[str(secret)])
    assert (ret.result, ret.changes) == (True, {})
    assert "have vmalert read them (-rule=/etc/p/rules/*.yml)" in ret.warnings[0]
    assert ret.warnings[1:] == [f"{secret} can be read by everybody; take that right away (chmod o-r)"]
    secret.chmod(0o640)
    assert told(states, tmp_path / "x.yml", prometheus.port, secrets=[str(secret)]).warnings == []


def test_where_nobody_answers_that_is_said(states: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    ret = told(states, tmp_path / "x.yml", port)
    assert (ret.result, ret.changes) == (True, {})
    assert f"No Prometheus tells on port {port}" in ret.comment
    assert f"add `scrape_config_files: [{tmp_path}/x.yml]`" in ret.comment


def test_one_that_refuses_us_is_told_with_the_keys(states: Any, prometheus: Any, tmp_path: Path) -> None:
    prometheus.status = 401
    ret = told(states, tmp_path / "x.yml", prometheus.port)
    assert (ret.result, ret.changes) == (True, {})
    refused = f"What listens on port {prometheus.port} refuses us (give dcgm:prometheus:web:user and password_file)"
    assert refused in ret.comment


def test_a_scrape_configuration_of_others_is_neither_written_nor_removed(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "scrape.yml"
    path.write_text("scrape_configs: [{job_name: node}]\n")
    assert states.dcgm_prometheus_files.scrape_possible(str(path)).result is False
    ret = states.dcgm_prometheus_files.scrape_removed(str(path))
    assert (ret.result, ret.changes, path.exists()) == (True, {}, True)


def test_ours_goes_with_the_directory_that_it_leaves_empty(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "scrape_configs.d/dcgm-exporter.yml"
    path.parent.mkdir()
    path.write_text(OURS)
    assert states.dcgm_prometheus_files.scrape_possible(str(path)).result is True
    assert states.dcgm_prometheus_files.scrape_removed(str(path), test=True).result is None
    assert path.exists()
    assert states.dcgm_prometheus_files.scrape_removed(str(path)).changes == {"removed": str(path)}
    assert not path.parent.exists()
    assert states.dcgm_prometheus_files.scrape_removed(str(path)).changes == {}


def test_a_port_that_is_taken_is_refused_in_a_sentence(states: Any, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        places = {"data": f"{tmp_path}/data", "config": f"{tmp_path}/p.yml", "program": "/bin/true"}
        for test in (True, False):
            ret = states.dcgm_prometheus.possible(
                "Check it", port=port, **places, packages=[], unit="prometheus.service", test=test
            )
            assert ret.result is False
            assert f"dcgm:prometheus:port: on {port} listens" in ret.comment


def test_nothing_is_removed_twice(states: Any, tmp_path: Path) -> None:
    ret = states.dcgm_prometheus.removed("superpod-prometheus.service", config=f"{tmp_path}/p.yml", data=str(tmp_path))
    assert (ret.result, ret.changes) == (True, {})
    assert f"its data stays in {tmp_path}" in ret.comment


def test_a_machine_without_a_master_has_nothing_to_judge(states: Any) -> None:
    ret = states.dcgm_hosts.known(
        "Check", hosts={"nodes": "", "head": "", "builder": "", "monitoring": ""}, builds=True
    )
    assert ret.result is True
