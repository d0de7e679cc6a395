"""A Prometheus or VictoriaMetrics on this machine, with what GPUs did and what the rules make of it."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import struct
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import rule_series as scenario

from tests import promtools

SECONDS = 30.0
# Rules are evaluated that long after a sample, as it is with a true server.
AFTER = 7
Labels = tuple[tuple[str, str], ...]
Samples = dict[float, float]
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# What Prometheus writes where a series ends.
_STALE = struct.pack("<Q", 0x7FF0000000000002)
_CONFIGURATION = "global: {scrape_interval: 30s}\nstorage: {tsdb: {out_of_order_time_window: 400d}}\n"
PROGRAMS = {"2": "usr/bin/prometheus", "3": "opt/prometheus-3/bin/prometheus", "vm": "usr/bin/victoria-metrics"}


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _series(labels: Labels, samples: Samples) -> bytes:
    texts = (_field(1, name.encode()) + _field(2, value.encode()) for name, value in sorted(labels))
    data = b"".join(_field(1, text) for text in texts)
    for at, value in sorted(samples.items()):
        number = _STALE if math.isnan(value) else struct.pack("<d", value)
        data += _field(2, b"\x09" + number + b"\x10" + _varint(round(at * 1000)))
    return _field(1, data)


def steady(value: float, times: Sequence[float]) -> bytes:
    """Return the samples of a series of one value, as they are sent."""
    # A time is of six bytes until the year 2109.
    head = b"\x12\x10\x09" + struct.pack("<d", value) + b"\x10"
    return b"".join(head + _varint(round(at * 1000)) for at in times)


@cache
def named(labels: Labels) -> bytes:
    """Return the labels of a series, as they are sent."""
    texts = (_field(1, name.encode()) + _field(2, text.encode()) for name, text in sorted(labels))
    return b"".join(_field(1, text) for text in texts)


def series(labels: Labels, samples: bytes) -> bytes:
    """Return a series to be sent, made of ``steady``: that is fast, for very many samples."""
    return _field(1, named(labels) + samples)


def _packed(data: bytes) -> bytes:
    """Return data in the form of snappy, without any compression."""
    found = _varint(len(data))
    for begin in range(0, len(data), 65536):
        part = data[begin : begin + 65536]
        found += b"\xf4" + struct.pack("<H", len(part) - 1) + part
    return found


class Server:
    """A server of one of ``PROGRAMS``."""

    def __init__(self, kind: str, folder: Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.kind, self.folder, self.address = kind, folder, f"http://127.0.0.1:{port}"
        (folder / "prometheus.yml").write_text(_CONFIGURATION)
        more = [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-remote-write-receiver"]
        self.pid = 0
        self.command = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", *more]
        if kind == "vm":
            self.command = [
                f"-storageDataPath={folder}/data",
                f"-httpListenAddr=127.0.0.1:{port}",
                "-retentionPeriod=1y",
            ]

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        command = [promtools.program(PROGRAMS[self.kind]), *self.command]
        with (
            (self.folder / "log").open("w") as log,
            subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder) as process,
        ):
            try:
                self.pid = process.pid
                self.wait(process)
                yield self
            finally:
                process.terminate()

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.ask("query", query="1")
                return
            except OSError:
                assert process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.05)

    def ask(self, what: str, **fields: str) -> list[dict[str, Any]]:
        data = urllib.parse.urlencode(fields).encode()
        with _OPENER.open(f"{self.address}/api/v1/{what}", data, timeout=SECONDS) as answer:
            found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        return found

    def write(self, series: dict[Labels, Samples]) -> None:
        self.send([_series(labels, samples) for labels, samples in series.items()])
        if self.kind == "vm":
            _OPENER.open(f"{self.address}/internal/force_flush", timeout=SECONDS).close()

    def send(self, parts: Sequence[bytes]) -> None:
        """Write series that are ready to be sent."""
        for begin in range(0, len(parts), 2000):
            headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
            data = _packed(b"".join(parts[begin : begin + 2000]))
            with _OPENER.open(urllib.request.Request(f"{self.address}/api/v1/write", data, headers), timeout=SECONDS):
                pass

    def record(self, rules: Iterable[dict[str, str]], begin: float, minutes: int) -> dict[Labels, Samples]:
        """Evaluate rules for the past, each minute, as a server does that was there; return what they found."""
        end, every = begin + minutes * 60, dict[Labels, Samples]()
        for rule in rules:
            rows = self.ask("query_range", query=rule["expr"], start=str(begin), end=str(end), step="60")
            found = {}
            for row in rows:
                labels = tuple(sorted({**row["metric"], "__name__": rule["record"]}.items()))
                found[labels] = ended({float(at): float(value) for at, value in row["values"]}, 60)
            self.write(found)
            every |= found
        return every


def ended(samples: Samples, step: float) -> Samples:
    """Return samples with the mark of a server behind each that is followed by none."""
    return samples | {at + step: math.nan for at in samples if at + step not in samples}


def raw(series: scenario.Series, begin: float) -> dict[Labels, Samples]:
    """Return what exporters and nodes showed, from a moment on."""
    return {
        labels: ended({begin + at: value for at, value in values.items()}, scenario.STEP)
        for labels, values in series.found.items()
    }
