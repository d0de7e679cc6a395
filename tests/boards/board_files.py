"""Reads the dashboards that are checked in, and takes them apart."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / "salt/dcgm/grafana/files"
Json = dict[str, Any]
_VARIABLE = re.compile(r"\$\{(\w+)(?::\w+)?\}|\$(\w+)")


def boards() -> dict[str, Json]:
    """Return all dashboards by the names of their files, read anew: a test may change them."""
    return {path.name: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Json) -> list[Json]:
    """Return the panels of a dashboard, those in closed rows too, without rows."""
    found = []
    for panel in board["panels"]:
        found += panel["panels"] if panel["type"] == "row" else [panel]
    return found


def name(panel: Json) -> str:
    return f"{panel.get('title') or panel['type']} ({panel.get('id')})"


def targets(board: Json) -> Iterator[tuple[Json, Json]]:
    """Yield each question of a dashboard, with its panel."""
    for panel in panels(board):
        for target in panel.get("targets", ()):
            yield panel, target


def variables(board: Json) -> dict[str, Json]:
    return {variable["name"]: variable for variable in board["templating"]["list"]}


def used(text: str) -> set[str]:
    """Return the variables in a text, Grafana's own (``__range``) among them."""
    return {one or two for one, two in _VARIABLE.findall(text)}


def strings(content: Any) -> Iterator[str]:
    """Yield all strings in a part of a dashboard."""
    if isinstance(content, str):
        yield content
    elif isinstance(content, dict):
        for value in content.values():
            yield from strings(value)
    elif isinstance(content, list):
        for value in content:
            yield from strings(value)


def overrides(panel: Json) -> dict[str, Json]:
    """Return what a panel says otherwise of its fields: properties by the name of the field."""
    return {
        one["matcher"]["options"]: {prop["id"]: prop.get("value") for prop in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }


def units(panel: Json) -> dict[str, str]:
    """Return the unit of each question by its letter."""
    default = panel["fieldConfig"]["defaults"].get("unit", "")
    letters = [target["refId"] for target in panel["targets"]]
    if panel["type"] != "table":
        return dict.fromkeys(letters, default)
    (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
    titles, found = organize["renameByName"], overrides(panel)
    columns = {letter: titles.get("Value" if len(letters) == 1 else f"Value #{letter}", "") for letter in letters}
    return {letter: found.get(title, {}).get("unit", "") for letter, title in columns.items()}
