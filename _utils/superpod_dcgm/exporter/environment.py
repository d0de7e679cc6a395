"""What the exporter's environment file says: what it will run with, or runs with, whatever the pillar says by now."""

from __future__ import annotations

import contextlib
import re

from superpod_dcgm.base import paths

LISTEN = "DCGM_EXPORTER_LISTEN"
ENGINE = "DCGM_REMOTE_HOSTENGINE_INFO"
WEB_CONFIG = "DCGM_EXPORTER_WEB_CONFIG_FILE"
_INTERVAL = "DCGM_EXPORTER_INTERVAL"
# Milliseconds between two samples where nothing is said.
_USUAL = 30000
_ANY = ("", "0.0.0.0", "[::]")
_LARGEST = 1 << 20


def read(path: str = "") -> dict[str, str]:
    """
    Return the variables in the file that the unit reads; none without a file.

    :param path: of another file of that kind.
    """
    found, path = {}, path or paths.EXPORTER_ENVIRONMENT
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        for line in stream.read(_LARGEST).splitlines():
            name, separator, value = line.partition("=")
            if separator and not line.startswith("#"):
                found[name] = re.sub(r"\\(.)", r"\1", value.removeprefix('"').removesuffix('"'))
    return found


def metrics_url(variables: dict[str, str]) -> str:
    """Return the address at which an exporter with these variables answers on this node, or ``""``."""
    host, separator, port = variables.get(LISTEN, "").rpartition(":")
    if not separator or not port.isdigit():
        return ""
    scheme = "https" if variables.get(WEB_CONFIG) else "http"
    return f"{scheme}://{'127.0.0.1' if host in _ANY else host}:{port}/metrics"


def interval(variables: dict[str, str]) -> float:
    """Return the seconds between two samples of an exporter with these variables."""
    value = variables.get(_INTERVAL, "")
    return (int(value) if value.isdecimal() else _USUAL) / 1000


def is_local(engine: str) -> bool:
    """Return whether the host engine at that address is on this node; an embedded one, without address, is."""
    host = re.sub(r":\d+$", "", engine)
    return engine.startswith("unix://") or host.strip("[]") in ("", "localhost", "127.0.0.1", "::1")
