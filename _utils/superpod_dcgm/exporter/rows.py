"""What the exporter shows on its page: of which GPUs it has rows, of which profiling rows, and how fast it answers."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import time
import urllib.parse
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.base import exposition, paths

# A page that takes longer is not waited for; one was seen that took 45 s while a job ran (NVIDIA/DCGM#313).
PATIENCE = 60
# Seconds from which an answer is told to be slow.
SLOW = 5
_LARGEST = 64 << 20
_PROFILING = "DCGM_FI_PROF_"
_ROW = re.compile(r'^(\w+)\{[^\n]*?\buuid="(GPU-[^"\n]+)"', re.ASCII | re.IGNORECASE | re.MULTILINE)
_DRIVER_GPUS = "/proc/driver/nvidia/gpus"


@dataclass(frozen=True)
class Shown:
    """
    One look at the page.

    ``gpus``: UUIDs of GPUs that have rows, ``profiled`` of those with profiling rows. ``seconds``: how long the answer
    took. ``fault``: why there was no page: ``slow``, ``down``, ``hidden`` (it asks for a credential), or ``HTTP 500``.
    ``highest``: the highest value of each metric, which no record keeps.
    """

    gpus: frozenset[str] = frozenset()
    profiled: frozenset[str] = frozenset()
    seconds: float = 0.0
    fault: str = ""
    highest: Mapping[str, float] = field(default_factory=dict, compare=False)

    def record(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        lists = {"gpus": sorted(self.gpus), "profiled": sorted(self.profiled)}
        return {**lists, "seconds": self.seconds, "fault": self.fault}


def from_record(record: Any) -> Shown | None:
    """Return what ``Shown.record`` gave; None where it is damaged."""
    if not isinstance(record, dict):
        return None
    gpus, profiled = record.get("gpus"), record.get("profiled")
    seconds, fault = record.get("seconds"), record.get("fault")
    if not isinstance(gpus, list) or not isinstance(profiled, list) or not isinstance(fault, str):
        return None
    if not isinstance(seconds, int | float):
        return None
    return Shown(frozenset(map(str, gpus)), frozenset(map(str, profiled)), float(seconds), fault)


@dataclass(frozen=True)
class Wanted:
    """What a counters file asks for: any row of a GPU, and any profiling row."""

    rows: bool
    profiling: bool


def parse(page: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the UUIDs of GPUs that have rows, and of those with profiling rows."""
    found = set(_ROW.findall(page))
    profiled = frozenset(gpu for name, gpu in found if name.startswith(_PROFILING))
    return frozenset(gpu for _, gpu in found), profiled


def names(lines: Iterable[str]) -> list[str]:
    """Return the names that a counters file asks for, as the exporter reads it; the header of a table is none."""
    with contextlib.suppress(csv.Error):
        records = csv.reader(line for line in lines if not line.startswith("#"))
        return [name for record in records if record and (name := record[0].strip(" "))]
    return []


def wanted(path: str = "") -> Wanted:
    """
    Return what the counters file asks for; nothing, where it cannot be read.

    :param path: by default the file that the exporter reads.
    """
    found: list[str] = []
    with (
        contextlib.suppress(OSError),
        open(path or paths.EXPORTER_COUNTERS, encoding="utf-8", errors="replace") as text,
    ):
        found = names(text.read(_LARGEST).splitlines(keepends=True))
    return Wanted(bool(found), any(name.startswith(_PROFILING) for name in found))


def counters_changed() -> float:
    """Return when the counters file was last changed, its date alone included; 0 where there is none."""
    # By the time that nobody can set: an image that is synced brings its own dates.
    moments = [0.0]
    for ask in (os.lstat, os.stat):
        with contextlib.suppress(OSError):
            moments.append(ask(paths.EXPORTER_COUNTERS).st_ctime)
    return max(moments)


def table_gpus() -> list[str]:
    """Return the UUID, or ``-``, of each GPU in the device table; of each that the driver has, where no table is."""
    with contextlib.suppress(OSError), open(paths.DEVICES, encoding="utf-8", errors="replace") as stream:
        lines = [line.split() for line in stream.read(_LARGEST).splitlines()]
        return [words[2] for words in lines if len(words) > 2 and words[0] == "gpu"]
    with contextlib.suppress(OSError):
        return ["-" for _ in os.listdir(_DRIVER_GPUS)]
    return []


def look(url: str, patience: float = PATIENCE) -> Shown:
    """
    Return what the page shows now.

    :param patience: seconds that it may take.
    """
    began = time.monotonic()
    status, page = _get(url, patience)
    seconds = time.monotonic() - began
    if not isinstance(status, int):
        return Shown(seconds=seconds, fault=status)
    if status != 200:
        return Shown(seconds=seconds, fault="hidden" if status == 401 else f"HTTP {status}")
    return Shown(*parse(page), seconds, highest=exposition.highest(page))


def _get(url: str, patience: float) -> tuple[int | str, str]:
    # Loaded here: a role call that stops the exporter asks nothing.
    import http.client
    import ssl

    parts = urllib.parse.urlsplit(url)
    deadline = time.monotonic() + patience
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The name in the certificate is the node's, and no secret is sent.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    host, port = str(parts.hostname), parts.port
    secure = parts.scheme == "https"
    connection = (
        http.client.HTTPSConnection(host, port, timeout=patience, context=context)
        if secure
        else http.client.HTTPConnection(host, port, timeout=patience)
    )
    try:
        connection.request("GET", parts.path)
        answer = connection.getresponse()
        body = b""
        while (block := answer.read(1 << 16)) and len(body) < _LARGEST:
            body += block
            if time.monotonic() > deadline:
                return "slow", ""
        return answer.status, body.decode("utf-8", "replace")
    except TimeoutError:
        return "slow", ""
    except ssl.SSLError:
        # It wants a client certificate, or speaks no TLS: whether it answers at all is the probe's question.
        return "hidden", ""
    except (OSError, http.client.HTTPException):
        return "down", ""
    finally:
        connection.close()
