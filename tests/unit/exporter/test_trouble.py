"""Why the exporter does not answer: its own last words since this start, and the host engine's state."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths, process, systemd
from superpod_dcgm.base.process import Answer
from superpod_dcgm.exporter import environment, trouble

UNIT = "dcgm-exporter.service"


def line(message: Any, seconds: float, own: bool = True) -> str:
    unit = UNIT if own else "init.scope"
    return json.dumps({"MESSAGE": message, "__MONOTONIC_TIMESTAMP": str(int(seconds * 1e6)), "_SYSTEMD_UNIT": unit})


# the journal: what is told of it since second 100
JOURNAL = {
    "an unknown field": (
        [
            line('time=2026-11-27T10:00:00.000Z level=INFO msg="Starting dcgm-exporter" Version=4.5.3-4.8.2', 101),
            line(
                "time=2026-11-27T10:00:00.100Z level=ERROR "
                "msg=\"could not find DCGM field; err: unknown ExporterCounter field 'DCGM_FI_DEV_X'\"",
                101,
            ),
            line("dcgm-exporter.service: Main process exited, code=exited, status=1/FAILURE", 101, own=False),
        ],
        "could not find DCGM field; err: unknown ExporterCounter field 'DCGM_FI_DEV_X'",
    ),
    "NVML, told in full before its bare reason": (
        [
            line(
                'time=2026-11-27T10:00:00Z level=ERROR msg="Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND"',
                101,
            ),
            line("time=2026-11-27T10:00:00Z level=ERROR msg=ERROR_LIBRARY_NOT_FOUND", 101),
        ],
        "Cannot init NVML library; err: ERROR_LIBRARY_NOT_FOUND",
    ),
    "an engine, with its attributes": (
        [
            line(
                'time=2026-11-27T10:00:00Z level=ERROR msg="Failed to connect to remote hostengine" '
                'address=localhost:5555 error="error connecting to nv-hostengine: Host engine connection invalid" '
                'hint="Verify \\"x\\""',
                101,
            ),
            line('time=x level=ERROR msg="Failed to write response." error="broken pipe"', 102),
            line('time=2026-11-27T10:00:00Z level=ERROR msg="Encountered a failure." stacktrace="goroutine 1"', 103),
        ],
        "Failed to connect to remote hostengine: error connecting to nv-hostengine: Host engine connection invalid",
    ),
    "JSON": (
        [
            line('{"time":"x","level":"ERROR","msg":"Could not read metrics file","err":"no such file"}', 101),
            line('{"time":"x","level":"INFO","msg":"could not find"}', 102),
            line("{ERROR", 103),
        ],
        "Could not read metrics file: no such file",
    ),
    "logrus": (
        [line('time="2026-01-01T00:00:00Z" level=fatal msg="libdcgm.so was not found"', 101)],
        "libdcgm.so was not found",
    ),
    "an error whose quotes are broken": ([line('level=error msg="a \\x b"', 101)], "a \\x b"),
    "the last error of this start": (
        [
            line("level=fatal msg=old", 99),
            line('time="2026-01-01T00:00:00Z" level=error msg="first"', 101),
            line("2026/01/01 10:00:00 ERROR host engine localhost:5555: connection refused", 102),
            line("level=INFO msg=Exiting", 103),
            line("dcgm-exporter.service: Failed with result 'exit-code'.", 104, own=False),
        ],
        "host engine localhost:5555: connection refused",
    ),
    "systemd's words where there are no others": (
        [
            line("dcgm-exporter.service: Failed to determine user credentials: No such process", 101, own=False),
            line("dcgm-exporter.service: Main process exited, code=exited, status=217/USER", 101, own=False),
            line("dcgm-exporter.service: Failed with result 'exit-code'.", 101, own=False),
        ],
        "dcgm-exporter.service: Failed to determine user credentials: No such process",
    ),
    "bytes that are no text": ([line(list(b"fatal: \xff"), 101)], "fatal: \ufffd"),
    "nothing since": ([line("fatal: old", 99)], ""),
    "no journal": (["No journal files were found.", "[]", "{}"], ""),
}


@pytest.mark.parametrize(("journal", "told"), JOURNAL.values(), ids=JOURNAL.keys())
def test_its_own_words_of_this_start_are_told(monkeypatch: Any, journal: list[str], told: str) -> None:
    asked = []

    def run(argv: list[str], seconds: float) -> Answer:
        asked.append(argv)
        return Answer(0, "\n".join(journal))

    monkeypatch.setattr(process, "run", run)
    assert trouble.own_words(UNIT, 100) == told
    assert asked[0][0] == "journalctl"
    assert {f"--unit={UNIT}", "--boot"} <= set(asked[0])


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node whose exporter asks the host engine on a port where nobody listens."""
    monkeypatch.setattr(paths, "EXPORTER_ENVIRONMENT", str(tmp_path / "env"))
    monkeypatch.setattr(paths, "UNIT_FILE", str(tmp_path / "unit"))
    (tmp_path / "env").write_text('DCGM_REMOTE_HOSTENGINE_INFO="localhost:1"\n')
    (tmp_path / "unit").write_text(
        "[Unit]\nAfter=network-online.target systemd-x.service nvidia-persistenced.service a.service b.service\n"
    )
    return tmp_path


OFF = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
FAILED = {"LoadState": "loaded", "ActiveState": "failed", "UnitFileState": "enabled", "Result": "exit-code"}
UP = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}
ENGINES = {
    "off": ({"b.service": OFF}, "b.service is installed but neither enabled nor running: `systemctl enable --now b`"),
    "failed": ({"b.service": FAILED}, "b.service does not run (failed, result exit-code): see `journalctl -u b`"),
    "elsewhere": ({"a.service": OFF, "b.service": UP}, "b.service runs, but nothing listens on localhost:1"),
    "none": ({}, "No host engine listens on localhost:1 and none is installed: set dcgm:exporter:engine: embedded"),
}


@pytest.mark.parametrize(("units", "words"), ENGINES.values(), ids=ENGINES.keys())
def test_the_state_of_the_engine_is_told(
    node: Path, monkeypatch: pytest.MonkeyPatch, units: dict[str, dict[str, str]], words: str
) -> None:
    monkeypatch.setattr(systemd, "show", lambda unit: units.get(unit, {"LoadState": "not-found"}))
    assert trouble.engine().startswith(words)
    monkeypatch.setattr(trouble, "own_words", lambda unit, since: "no engine.")
    assert trouble.explain(UNIT, 0).startswith(f"It says: no engine. {words}")


def test_an_engine_that_is_elsewhere_embedded_or_answers_is_not_spoken_of(node: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        addresses = ("other:5555", "", f"127.0.0.1:{server.getsockname()[1]}")
        for address in addresses:
            (node / "env").write_text(f'DCGM_REMOTE_HOSTENGINE_INFO="{address}"\n')
            assert trouble.engine() == ""


def test_a_node_without_a_unit_names_no_engine(node: Path) -> None:
    (node / "unit").unlink()
    assert "none is installed" in trouble.engine()


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ('# A=1\nDCGM_EXPORTER_LISTEN=":9400"\n', "http://127.0.0.1:9400/metrics"),
        ('DCGM_EXPORTER_LISTEN="0.0.0.0:9400"\nDCGM_EXPORTER_WEB_CONFIG_FILE="/x"', "https://127.0.0.1:9400/metrics"),
        ('DCGM_EXPORTER_LISTEN="[::]:1"\n', "http://127.0.0.1:1/metrics"),
        ('DCGM_EXPORTER_LISTEN="[2001:db8::1]:1"\n', "http://[2001:db8::1]:1/metrics"),
        ('DCGM_EXPORTER_LISTEN="node"\n', ""),
        ("", ""),
    ],
)
def test_where_it_answers_follows_from_its_environment(node: Path, text: str, url: str) -> None:
    (node / "env").write_text(text)
    assert environment.metrics_url(environment.read()) == url


def test_values_come_back_as_they_were_written(node: Path) -> None:
    (node / "env").write_text('A="a \\"b\\" \\\\ c"\nB=\n')
    assert environment.read() == {"A": 'a "b" \\ c', "B": ""}
    (node / "env").unlink()
    assert environment.read() == {}
