"""Counts XIDs and SXids of the kernel log. Counts and the place in the log stand in one record, and outlast a boot."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from superpod_dcgm.agent import kernel_log, xid_lines
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.kernel_log import News, Place
from superpod_dcgm.base import files, paths
from superpod_dcgm.base.exposition import Family

KINDS = ("xid", "sxid")
# Series of a node: far more than GPUs have of XIDs. What comes beyond counts as one of its own.
_MOST = 500
# A new series has the value 0 for one tick, so that `increase` sees its first event: a metric that begins with 1 did
# not grow. The next tick may be a bit early.
_ZERO_SECONDS = 20.0
_TEXTS = {
    "xid": ("superpod_dcgm_kernel_xid", "Lines `NVRM: Xid` of the kernel log, by number and GPU."),
    "sxid": ("superpod_dcgm_kernel_sxid", "Lines `SXid` of NVSwitches in the kernel log, by number and switch."),
}


def count(table: Table, read: Callable[[Place], News] | None = None) -> str:
    """
    Count what came since the last time.

    :param table: the device table, which knows the GPU at a bus.
    :param read: reads the kernel log; tests give their own.
    :return: why the kernel log could not be read, or ``""``.
    :raises OSError: the record cannot be written; the next run counts the same again.
    """
    record = load()
    place = kernel_log.stored(record["place"])
    news = (read or kernel_log.read)(place)
    for line in news.lines:
        if event := xid_lines.parse(line.text, table):
            _add(record["counts"], event, line.moment)
    fresh = {**record, "place": asdict(place), "ok": None if news.none else not news.problem, "behind": news.behind}
    files.make_directory(os.path.dirname(paths.KERNEL_LOG))
    files.write_atomic(paths.KERNEL_LOG, json.dumps(fresh, sort_keys=True) + "\n")
    return news.problem


def _add(counts: list[dict[str, Any]], event: xid_lines.Event, moment: float) -> None:
    labels = event.labels
    there = _find(counts, event.kind, labels)
    if there is None and len(counts) >= _MOST:
        labels = {key: "unknown" if key == event.kind else "" for key in labels if key != "action"}
        there = _find(counts, event.kind, labels)
    if there is None:
        there = {"kind": event.kind, "labels": labels, "count": 0, "last": 0.0, "began": _now()}
        counts.append(there)
    there["count"] += 1
    there["last"] = max(there["last"], moment)


def _find(counts: list[dict[str, Any]], kind: str, labels: Mapping[str, str]) -> dict[str, Any] | None:
    return next((one for one in counts if one["kind"] == kind and one["labels"] == labels), None)


def _now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def load() -> dict[str, Any]:
    """Return the record; what is lost or damaged begins anew: any counter may."""
    found = files.read_json(paths.KERNEL_LOG)
    found = found if isinstance(found, dict) else {}
    counts = found.get("counts")
    return {
        "place": found.get("place"),
        "ok": found.get("ok") if isinstance(found.get("ok"), bool) else None,
        "behind": found.get("behind") is True,
        "counts": [one for one in counts if _is_whole(one)] if isinstance(counts, list) else [],
    }


def _is_whole(one: Any) -> bool:
    if not isinstance(one, dict) or one.get("kind") not in KINDS or not isinstance(one.get("labels"), dict):
        return False
    words = [*one["labels"], *one["labels"].values()]
    # JSON's true is a number for Python.
    numbers = [one.get(key) for key in ("count", "last", "began")]
    good = [isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e18 for value in numbers]
    return all(good) and all(isinstance(word, str) for word in words)


def families() -> list[Family]:
    """Return what was counted as metrics; none of them before the first run, and in a container without kernel log."""
    record = load()
    ok = Family("superpod_dcgm_kernel_log_ok", "gauge", "Whether the kernel log could be read at the last tick.")
    behind = Family("superpod_dcgm_kernel_log_behind", "gauge", "Whether there is more of it than a tick reads.")
    if record["ok"] is not None:
        ok.add(int(record["ok"]))
        behind.add(int(record["behind"]))
    found = [ok, behind]
    for kind, (name, text) in _TEXTS.items():
        total = Family(f"{name}_total", "counter", text)
        last = Family(f"{name}_last_timestamp_seconds", "gauge", "When the last of these lines was written.")
        for one in record["counts"]:
            if one["kind"] == kind:
                is_new = 0 <= _now() - one["began"] < _ZERO_SECONDS
                total.add(0 if is_new else one["count"], **one["labels"])
                last.add(one["last"], **one["labels"])
        found += [total, last]
    return found
