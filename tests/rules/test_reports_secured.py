"""Reports of servers that let in only who has a password or a token, over TLS: VictoriaMetrics and its vmauth."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import report_bench as bench
from click.testing import CliRunner, Result

from superpod.cli import main
from tests import promtools

JOB = {"cluster": "a", "hpc_job": "4711", "user": "ada", "account": "ml", "partition": "batch"}
RECORDS = {
    **{"job:gpus_allocated:sum": 2.0, "job:gpu_hours_allocated:increase1m": 2 / 60},
    **{"job:gpu_hours_measured:increase1m": 2 / 60, "job:gpu_hours_used:increase1m": 1 / 60},
    "job:gpu_hours_idle:increase1m": 0.0,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate, key, a password and a token, and those that are wrong."""
    found = tmp_path_factory.mktemp("secrets")
    words = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    more = ["-subj", "/CN=x", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(found / "key")]
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed"
    subprocess.run([openssl, "req", *words, *more, "-out", str(found / "ca.pem")], check=True, capture_output=True)
    for name, text in {"password": "s3cret", "wrong": "guess", "token": "t0ken"}.items():
        (found / name).write_text(f"{text}\n")
    return found


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[bench.Server]:
    """A VictoriaMetrics that has a job, and lets anybody in; those in front of it do not."""
    with bench.Server("vm", tmp_path_factory.mktemp("vm")).running() as found:
        now = time.time() // 60 * 60
        times = [now - 60 * minute for minute in range(30, 5, -1)]
        labels = {name: tuple({"__name__": name, **JOB}.items()) for name in RECORDS}
        found.write({labels[name]: dict.fromkeys(times, value) for name, value in RECORDS.items()})
        count = tuple({"__name__": "cluster:gpus:count", "cluster": "a"}.items())
        found.write({count: dict.fromkeys((now - 60 * minute for minute in range(61)), 8.0)})
        yield found


@pytest.fixture(scope="module")
def door(server: bench.Server, folder: Path) -> Iterator[str]:
    """The address of vmauth with TLS, which knows a user with a password, and a token."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    users = f'{{username: ada, password: s3cret, url_prefix: "{server.address}"}}'
    holder = f'{{bearer_token: t0ken, url_prefix: "{server.address}"}}'
    (folder / "auth.yml").write_text(f"users: [{users}, {holder}]\n")
    command = [promtools.program("usr/bin/vmauth"), f"-auth.config={folder}/auth.yml", "-tls"]
    command += [f"-tlsCertFile={folder}/ca.pem", f"-tlsKeyFile={folder}/key", f"-httpListenAddr=127.0.0.1:{port}"]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            yield f"https://127.0.0.1:{port}"
        finally:
            process.terminate()


def ask(address: str, *words: str) -> Result:
    command = ["report", "--since", "1h", "--by", "job", "--prometheus", address, *words]
    return CliRunner().invoke(main, command, env={"SUPERPOD_CONFIG": "/dev/null"})


def test_a_token_or_a_password_opens_the_door(door: str, folder: Path) -> None:
    for words in (["--token-file", "token"], ["--auth-user", "ada", "--password-file", "password"]):
        given = [str(folder / word) if word in ("token", "password") else word for word in words]
        answer = ask(door, "--ca", f"{folder}/ca.pem", *given)
        assert answer.exit_code in (0, 3) and "ada" in answer.stdout, answer.output
        assert "t0ken" not in answer.output and "s3cret" not in answer.output


def test_a_configuration_file_is_enough(door: str, folder: Path) -> None:
    (folder / "reports.yaml").write_text(f"address: {door}\nca_file: ca.pem\ntoken_file: token\n")
    answer = CliRunner().invoke(main, ["report", "--since", "1h", "--by", "job", "--config", f"{folder}/reports.yaml"])
    assert answer.exit_code in (0, 3) and "ada" in answer.stdout, answer.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "a certificate that is not trusted"),
        (["--ca", "ca.pem"], "asks who you are (HTTP 401), and none was given"),
        (["--ca", "ca.pem", "--token-file", "wrong"], "asks who you are (HTTP 401), and the token or password given"),
    ],
)
def test_who_has_no_key_is_told_which_one_is_missing(door: str, folder: Path, words: list[str], said: str) -> None:
    answer = ask(door, *[str(folder / word) if word in ("ca.pem", "wrong") else word for word in words])
    assert answer.exit_code == 1 and said in answer.stderr and "guess" not in answer.output
