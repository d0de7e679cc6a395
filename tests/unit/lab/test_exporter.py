"""The stand-in exporter behaves as the facts about the real one say, against the stand-in host engine."""

from __future__ import annotations

import base64
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

CURRENT, OLDER, OLDEST, NEXT = "4.5.3-4.8.2", "4.5.2-4.8.1", "4.2.3-4.2.0", "4.6.0-4.8.3"
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

    def jobs(self, marker: str) -> list[str]:
        """Return the job ids on the samples that contain a text."""
        found = [line.partition('hpc_job="')[2].rstrip('"') for line in self.samples() if marker in line]
        return [job for job in found if job]

    def ended(self) -> tuple[int, str]:
        """Wait for the end and return exit code and last line of the log."""
        _, log = self.process.communicate(timeout=10)
        return self.process.returncode, log.decode().splitlines()[-1]


Start = Callable[..., Exporter]


@pytest.fixture
def start(built: Build, host_engine: Engine) -> Iterator[Start]:
    """A function that starts a release; unless told otherwise it asks the host engine at localhost."""
    running: list[Exporter] = []

    def run(tag: str, *options: str, wait: bool = True, engine: bool = True, **environment: str) -> Exporter:
        remote = ["-r", f"localhost:{host_engine[1]}"] if engine else []
        exporter = Exporter(built(tag), free_port(), *remote, *options, **environment)
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


def test_a_page_has_the_labels_of_the_real_one(start: Start) -> None:
    whole, part = start(CURRENT).samples()[-1], start(CURRENT).samples()[0]
    names = [item.partition("=")[0] for item in whole.split('",')]
    assert names == ["gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION"]
    assert whole.startswith('gpu="7",UUID="GPU-') and 'pci_bus_id="00000000:DF:00.0",device="nvidia7"' in whole
    assert 'modelName="NVIDIA H100 80GB HBM3",GPU_I_PROFILE="3g.40gb",GPU_I_ID="2",Hostname=' in part


@pytest.mark.parametrize(
    ("tag", "label"), [(CURRENT, 'Hostname="localhost"'), (NEXT, f'hostname="{os.uname().nodename}"')]
)
def test_the_host_label_with_a_remote_engine_is_localhost_until_it_was_mended(
    start: Start, tag: str, label: str
) -> None:
    assert label in start(tag).samples()[0]


@pytest.mark.parametrize(
    ("tag", "files", "marker", "jobs"),
    [
        (CURRENT, {"7": "42\n"}, 'gpu="7"', ["42"]),
        (CURRENT, {"7": "42\n43\n"}, 'gpu="7"', ["42", "43"]),
        (CURRENT, {"0.5": "42\n"}, 'gpu="0"', ["42"]),
        (CURRENT, {"0": "42\n"}, 'gpu="0"', []),
        (CURRENT, {"7.tmp": "42\n"}, 'gpu="7"', []),
        (OLDER, {"0": "42\n"}, 'gpu="0"', ["42"] * 3),
        (OLDER, {"0.5": "42\n"}, 'gpu="0"', []),
    ],
)
def test_job_ids_are_on_the_samples_of_their_gpu(
    start: Start, tmp_path: Path, tag: str, files: dict[str, str], marker: str, jobs: list[str]
) -> None:
    exporter = start(tag, "--hpc-job-mapping-dir", str(tmp_path / "map"))
    assert exporter.jobs(marker) == [], "a missing directory is ignored"
    (tmp_path / "map").mkdir()
    for name, text in files.items():
        (tmp_path / "map" / name).write_text(text)
    assert exporter.jobs(marker) == jobs and exporter.jobs('gpu="6"') == []


@pytest.mark.parametrize(("tag", "rows"), [(CURRENT, 1), (OLDEST, 0)])
def test_an_empty_file_hid_the_gpu_in_early_releases(start: Start, tmp_path: Path, tag: str, rows: int) -> None:
    (tmp_path / "7").touch()
    exporter = start(tag, DCGM_HPC_JOB_MAPPING_DIR=str(tmp_path))
    assert len([line for line in exporter.samples() if line.startswith('gpu="7"')]) == rows


@pytest.mark.parametrize(("tag", "status"), [(CURRENT, 200), (NEXT, 500)])
def test_a_duplicate_id_fails_the_page_of_one_release(start: Start, tmp_path: Path, tag: str, status: int) -> None:
    (tmp_path / "7").write_text("42\n42\n")
    assert start(tag, "--hpc-job-mapping-dir", str(tmp_path)).get()[0] == status


def test_one_file_that_cannot_be_read_fails_the_page_until_it_is_gone(start: Start, tmp_path: Path) -> None:
    (tmp_path / "7").symlink_to("/nonexistent")
    exporter = start(CURRENT, "--hpc-job-mapping-dir", str(tmp_path))
    assert exporter.get()[0] == 500 and exporter.get("/health")[0] == 200
    (tmp_path / "7").unlink()
    assert exporter.get()[0] == 200


def test_an_unreachable_engine_ends_it(start: Start) -> None:
    code, log = start(CURRENT, "-r", f"localhost:{free_port()}", wait=False, engine=False).ended()
    assert code == 1 and "connection refused" in log


def test_a_lost_engine_ends_it_at_once(start: Start, host_engine: Engine) -> None:
    exporter = start(CURRENT)
    host_engine[0].kill()
    code, log = exporter.ended()
    assert code == 1 and "lost" in log


def test_without_engine_and_gpus_it_starts_only_when_told_not_to_look(start: Start) -> None:
    assert start(CURRENT, wait=False, engine=False).ended()[0] == 1
    exporter = start(CURRENT, "--disable-startup-validate", engine=False)
    assert exporter.get() == (200, "")


@pytest.mark.parametrize(
    "options", [["-f", "/nonexistent"], ["-c", "0"], ["-d", "x"], ["--log-format", "xml"], ["--nonsense"], ["word"]]
)
def test_a_wrong_option_ends_it(start: Start, options: list[str]) -> None:
    assert start(CURRENT, *options, wait=False).ended()[0] == 1


def test_a_term_signal_ends_it_well(start: Start) -> None:
    exporter = start(CURRENT)
    exporter.process.terminate()
    assert exporter.ended()[0] == 0


@pytest.mark.parametrize("by_signal", [True, False], ids=["SIGHUP", "a changed file"])
def test_counters_are_reloaded(start: Start, tmp_path: Path, by_signal: bool) -> None:
    counters = tmp_path / "counters.csv"
    counters.write_text("DCGM_FI_DEV_GPU_TEMP, gauge, heat\n")
    exporter = start(CURRENT, "-f", str(counters))
    assert exporter.samples() == [] and exporter.samples("DCGM_FI_DEV_GPU_TEMP")
    before = counters.stat()
    counters.write_text("DCGM_FI_DEV_GPU_UTIL, gauge, load\n")
    if by_signal:
        os.utime(counters, ns=(before.st_atime_ns, before.st_mtime_ns))
        exporter.process.send_signal(1)
    eventually("the new counters are shown", lambda: bool(exporter.samples()))
    counters.write_text("nonsense\n")
    exporter.process.send_signal(1)
    assert exporter.samples(), "a wrong file leaves what was there"


def test_a_fake_gpu_needs_no_engine(start: Start) -> None:
    assert len(start(CURRENT, "--fake-gpus", engine=False).samples()) == 2


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
    "text", ["nonsense: x", "tls_server_config:\n  cert_file: web.pem", "tls_server_config:\n  x: y"]
)
def test_a_wrong_web_configuration_ends_it(start: Start, tmp_path: Path, text: str) -> None:
    (tmp_path / "web.yml").write_text(text + "\n")
    assert start(CURRENT, "--web-config-file", str(tmp_path / "web.yml"), wait=False).ended()[0] == 1
