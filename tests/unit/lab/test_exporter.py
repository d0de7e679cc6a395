"""
What the stand-in exporter has of its own, and what takes certificates.

How it behaves as the real one is asked in tests/upstream.
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labcmd.pki import Authority, Pair
from labcmd.state import Paths
from standins import eventually, free_port, listens
from superpod_dcgm.base.exposition import highest
from superpod_dcgm.monitoring import metric_names

from tests.standin import FIELDS, write_profiles

CURRENT = "4.5.3-4.8.2"
# Of the second metric schema.
RENAMED = "4.9.0"
Build = Callable[[str], Path]
Engine = tuple["subprocess.Popen[bytes]", int]
# The password "secret" under bcrypt.
HASH = "$2b$04$jRj.wlutGJbsgD4Q1JpHEezoRGycE3rEMJ7ezLBuz3Kt9qIe3AQga"


class Exporter:
    """A running exporter."""

    def __init__(self, clone: Path, port: int, *options: str, **environment: str) -> None:
        self.port = port
        self.collectors = clone / "etc/default-counters.csv"
        command = [clone / "cmd/dcgm-exporter/dcgm-exporter", "-f", str(self.collectors), "-a", f"127.0.0.1:{port}"]
        self.process = subprocess.Popen([*command, *options], env={**os.environ, **environment}, stderr=subprocess.PIPE)

    def get(
        self, path: str = "/metrics", scheme: str = "http", headers: dict[str, str] | None = None
    ) -> tuple[int, str]:
        """Return status and text."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{self.port}{path}", headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=5, context=context if scheme == "https" else None) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def samples(self, name: str = "DCGM_FI_DEV_GPU_UTIL") -> list[str]:
        """Return the label parts of a metric's samples."""
        return [
            line.partition("{")[2].rpartition("}")[0]
            for line in self.get()[1].splitlines()
            if line.startswith(f"{name}{{")
        ]

    def ended(self) -> tuple[int, str]:
        """Wait for the end and return exit code and last line of the log."""
        _, log = self.process.communicate(timeout=10)
        return self.process.returncode, log.decode().splitlines()[-1]


Start = Callable[..., Exporter]


@pytest.fixture
def start(built: Build, host_engine: Engine, libraries: dict[str, str]) -> Iterator[Start]:
    """A function that starts a release; unless told otherwise it asks the host engine at localhost."""
    running: list[Exporter] = []

    def run(tag: str, *options: str, wait: bool = True, engine: bool = True, **environment: str) -> Exporter:
        remote = ["-r", f"localhost:{host_engine[1]}"] if engine else []
        exporter = Exporter(built(tag), free_port(), *remote, *options, **{**libraries, **environment})
        running.append(exporter)
        if wait:
            eventually("the exporter listens", lambda: listens(exporter.port))
        return exporter

    yield run
    for exporter in running:
        exporter.process.kill()
        exporter.process.wait()


def test_one_release_builds_but_never_serves_metrics(start: Start) -> None:
    exporter = start("4.5.3-4.8.2-lab2")
    assert exporter.get("/health")[0] == 200 and exporter.get()[0] == 500


def test_a_fake_gpu_needs_no_engine(start: Start) -> None:
    assert len(start(CURRENT, "--fake-gpus", engine=False).samples()) == 2


def values(page: str) -> dict[str, float]:
    """Return the value of each metric of the first GPU, which all others have as well."""
    lines = (line for line in reversed(page.splitlines()) if not line.startswith("#"))
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}


@pytest.fixture
def resting(tmp_path: Path) -> dict[str, str]:
    """The environment of an engine whose values stand still, but for what counts."""
    fields = json.loads(FIELDS.read_text())
    for wave in fields.values():
        middle = (wave.get("low", 0) + wave.get("high", 0)) / 2
        wave.update(low=middle, high=middle)
    (tmp_path / "fields.json").write_text(json.dumps(fields))
    gpus = write_profiles(tmp_path / "gpus") / "identity.json"
    return {"LAB_GPUS": str(gpus), "LAB_FIELDS": str(tmp_path / "fields.json")}


def test_a_release_of_the_second_metric_schema_says_the_same_in_its_names_and_units(
    start: Start, resting: dict[str, str]
) -> None:
    pages = [start(tag, engine=False, **resting).get()[1] for tag in (CURRENT, RENAMED)]
    assert [metric_names.judge(highest(page)).schema for page in pages] == [metric_names.OLD, metric_names.NEW]
    assert "DCGM_FI_DRIVER_VERSION=" in pages[0] and "DCGM_FI_SYSTEM_DRIVER_VERSION=" in pages[1]
    old, new = map(values, pages)
    default = [one for one in metric_names.METRICS.values() if one.old in old]
    assert {one.new for one in default} == set(new) - {metric_names.METRICS["memory_capacity"].new}
    # NVIDIA says that one traffic does not follow from the other.
    default.remove(metric_names.METRICS["nvlink_throughput"])
    assert {one.new: new[one.new] for one in default} == pytest.approx(
        {one.new: old[one.old] * one.factor for one in default}, rel=0.02
    )


def web_config(folder: Path, *lines: str) -> str:
    """Write a web configuration and the certificate it may name."""
    Authority(Paths(folder)).root.certificate.parent.mkdir(parents=True)
    authority = Authority(Paths(folder))
    authority.ensure()
    authority.client(Pair(folder / "web.pem", folder / "web.key"), "/CN=exporter", "none", "", 30)
    (folder / "web.yml").write_text("\n".join(lines) + "\n")
    return str(folder / "web.yml")


def test_tls_and_basic_authentication(start: Start, tmp_path: Path) -> None:
    tls = ("tls_server_config:", "  cert_file: web.pem", "  key_file: web.key")
    config = web_config(tmp_path, *tls, "basic_auth_users:", f'  "alice": {HASH}')
    exporter = start(CURRENT, "--web-config-file", config)
    assert exporter.get(scheme="https")[0] == 401
    for password, status in (("secret", 200), ("wrong", 401)):
        word = base64.b64encode(f"alice:{password}".encode()).decode()
        assert exporter.get(scheme="https", headers={"Authorization": f"Basic {word}"})[0] == status
    assert exporter.get()[0] == 400, "plain HTTP is refused"


@pytest.mark.parametrize(
    "text",
    [
        "nonsense: x",
        "tls_server_config:\n  cert_file: web.pem",
        "tls_server_config:\n  x: y",
        "tls_server_config:\n  cert_file: web.pem\n  key_file: web.key\n  client_ca_file: web.pem",
    ],
)
def test_a_wrong_web_configuration_ends_it(start: Start, tmp_path: Path, text: str) -> None:
    web_config(tmp_path, text)
    assert start(CURRENT, "--web-config-file", str(tmp_path / "web.yml"), wait=False).ended()[0] == 1
