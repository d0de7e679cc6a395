"""What the last apply left on this node, for the metrics: a node that boots from an old image shows it."""

from __future__ import annotations

import os
from typing import Any

from superpod_dcgm.base import files, own_code, paths
from superpod_dcgm.base.exposition import Family

# Bytes of the record, and digits that tell one digest from another.
_MOST, _DIGITS = 1 << 20, 12


def info() -> Family:
    """
    Return one metric whose value is 1.

    Its labels: ``release`` that is linked, ``method`` by which the last good apply got it, digests of the
    configuration ``applied`` and of the ``code`` of the agent; each empty where nothing tells it.
    """
    found = Family("superpod_dcgm_info", "gauge", "What is deployed on this node, by labels; always 1.")
    record = _section(files.read_json(os.path.join(paths.NODE_STATE, paths.APPLIED_RECORD), most=_MOST))
    exporter = _section(_section(record.get("configuration")).get("exporter"))
    method = _text(exporter.get("method")) if exporter.get("enabled") is True else ""
    applied = _text(record.get("digest"))[:_DIGITS]
    code = own_code.digest(own_code.AGENT_PARTS)[:_DIGITS]
    found.add(1, release=_release(), method=method, applied=applied, code=code)
    return found


def _release() -> str:
    try:
        return os.path.basename(os.readlink(paths.EXPORTER_CURRENT))
    except OSError:
        return ""


def _section(found: Any) -> dict[str, Any]:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""
