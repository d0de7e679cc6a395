"""What a Prometheus would have scraped before: constant series of the past, by remote write."""

from __future__ import annotations

import struct
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))
# Seconds between samples, and of one part: Prometheus takes nothing that is an hour older than the newest sample.
STEP, PART = 30, 3000
# Series of one request.
_MANY = 2000
Series = tuple[str, Mapping[str, str], float]


def send(port: int, series: Iterable[Series], first: float, last: float) -> None:
    """
    Give a Prometheus series that had one value from ``first`` to ``last``.

    :raises OSError: it does not take them.
    """
    heads = [(_labels(name, labels), value) for name, labels, value in series]
    moments = [round(moment * 1000) for moment in _range(first, last)]
    for begin in range(0, len(moments), PART // STEP):
        part = moments[begin : begin + PART // STEP]
        samples = {value: b"".join(_sample(value, moment) for moment in part) for value in {one for _, one in heads}}
        rest = iter(heads)
        while many := [*islice(rest, _MANY)]:
            _post(port, b"".join(_field(1, labels + samples[value]) for labels, value in many))


def _range(first: float, last: float) -> Iterator[float]:
    while first < last:
        yield first
        first += STEP


def _post(port: int, body: bytes) -> None:
    # Snappy knows blocks that are not compressed.
    words = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    words["X-Prometheus-Remote-Write-Version"] = "0.1.0"
    data = _varint(len(body)) + b"\xfc" + struct.pack("<I", len(body) - 1) + body
    with OPENER.open(urllib.request.Request(f"http://127.0.0.1:{port}/api/v1/write", data, words), timeout=60):
        pass


def _labels(name: str, labels: Mapping[str, str]) -> bytes:
    pairs = sorted({"__name__": name, **labels}.items())
    return b"".join(_field(1, _field(1, key.encode()) + _field(2, value.encode())) for key, value in pairs if value)


def _sample(value: float, moment: int) -> bytes:
    return _field(2, b"\x09" + struct.pack("<d", value) + b"\x10" + _varint(moment))


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*found, number])
