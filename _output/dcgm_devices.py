"""
Outputter ``dcgm_devices``: what ``dcgm_devices.show`` returns, one row per GPU and its MIG devices below it.

``--out=json`` and every other outputter print all of it. It imports nothing of ours: Salt's loader of outputters does
not know _utils.
"""

from __future__ import annotations

import pprint
from collections.abc import Mapping
from typing import Any

_TITLES = ("GPU", "SLURM", "MINOR", "BUS OR PROFILE", "UUID")
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))


def output(data: Any, **_kwargs: Any) -> str:
    """
    Return the tables of all nodes.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' dcgm_devices.show
    """
    if not isinstance(data, dict):
        return str(data)
    return "\n".join(f"{name}: {_node(shown)}" for name, shown in data.items())


def _node(shown: Any) -> str:
    if not isinstance(shown, dict) or "gpus" not in shown:
        return shown if isinstance(shown, str) else pprint.pformat(shown)
    count = len(shown["gpus"])
    lines = [f"{count} GPU{'' if count == 1 else 's'}, table made {_age(shown['age'])} ago, {_order(shown)}"]
    lines += [f"  problem: {shown['problem']}"] if shown["problem"] else []
    # A note that a warning has is not said twice.
    warnings = shown.get("warnings", [])
    lines += [f"  note: {shown['note']}"] if shown["note"] and shown["note"] not in " ".join(warnings) else []
    lines += [f"  warning: {warning}" for warning in warnings]
    return "\n".join([*lines, *_aligned([_TITLES, *_rows(shown)])])


def _order(shown: Mapping[str, Any]) -> str:
    if not shown["order"]:
        return "no positions in Slurm"
    if shown.get("known") == "guessed":
        return f"positions in Slurm GUESSED from {shown['order']}"
    return f"positions in Slurm from {shown['order']}"


def _rows(shown: Mapping[str, Any]) -> list[tuple[str, ...]]:
    positions: dict[str, list[str]] = {}
    for position, name in shown["positions"].items():
        positions.setdefault(name, []).append(str(position))
    rows: list[tuple[str, ...]] = []
    for gpu, uuid in shown["gpus"].items():
        minor, bus = shown["places"].get(gpu, ("-", "-"))
        rows.append((gpu, ",".join(positions.get(gpu, ["-"])), minor, bus, uuid))
        for name, (parent, profile) in shown["instances"].items():
            if parent == uuid:
                words = f"{profile} shared" if name in shown["shared"] else profile
                devices = [device for device, of in shown["uuids"].items() if of == name] or ["-"]
                place = ",".join(positions.get(name, ["-"]))
                rows += [(name, place, "", words, device) for device in devices]
    return rows


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(f"{text:{size}}" for text, size in zip(row, widths, strict=True)).rstrip() for row in rows]


def _age(seconds: int) -> str:
    return next((f"{seconds // size}{unit}" for size, unit in _UNITS if seconds >= size), "0s")
