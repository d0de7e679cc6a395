"""
Outputter ``dcgm_releases``: what ``dcgm.releases`` returns, one row per release of dcgm-exporter.

``--out=json`` and every other outputter print all of it. It imports nothing of ours: Salt's loader of outputters does
not know _utils.
"""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any

_TITLES = (
    *("RELEASE", "COMMIT", "GO", "OLDEST", "SHA-256", "DCGM", "LIBRARY", "NVML", "MIG MAP", "EMPTY MAP", "ENGINE"),
    *("METRICS", "FACTS"),
)
_NOTES = (
    "?         not known: a build asks for exporter:commit, go:version and go:sha256",
    "NVML      start: the exporter needs a live driver at every start, with a remote engine too",
    "ENGINE    what exporter:engine_address may be besides host:port: ipv6 is [::1]:5555, unix is unix:///path",
    "METRICS   the schema of names and units: 2 from 4.9.0 on",
    "FACTS     read: in its source. inferred: from release notes, its source was never read",
)


def output(data: Any, **_kwargs: Any) -> str:
    """
    Return the table.

    CLI Example:

    .. code-block:: bash

        salt-run dcgm.releases
    """
    if not isinstance(data, dict) or "releases" not in data:
        return data if isinstance(data, str) else pprint.pformat(data)
    rows = [_TITLES, *(_row(name, facts) for name, facts in data["releases"].items())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(f"{text:{size}}" for text, size in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "", *_NOTES])


def _row(name: str, facts: Mapping[str, Any]) -> tuple[str, ...]:
    engine = [word for word, key in (("ipv6", "ipv6"), ("unix", "unix_socket")) if facts[key]]
    return (
        *(name, facts["commit"][:12] or "?", facts["go"] or "?", facts["go_minimum"] or "?"),
        *(" ".join(facts["go_sha256"]) or "?", facts["dcgm"] or "?", facts["libdcgm"]),
        *("start" if facts["nvml"] else "-", "read" if facts["mig_map"] else "-"),
        *("hides" if facts["empty_hides"] else "-", " ".join(engine) or "-", str(facts["metrics"])),
        "inferred" if facts["inferred"] else "read",
    )
