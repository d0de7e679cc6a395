"""Dashboards as Grafana takes them: which ones there are, whether a file is one, and whether two are the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Ours have this tag; without it a dashboard is somebody's, whatever its uid.
MARK = "superpod-dcgm"
SOURCES = tuple(
    f"salt://dcgm/grafana/files/superpod-{name}.json" for name in ("cluster", "node", "job", "users", "health", "fleet")
)
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
# What a server gives a dashboard, and what an export brings along for the import by hand.
_OF_SERVER = ("id", "version", "iteration", "uid")
_OF_EXPORT = ("__inputs", "__requires", "__elements")
_CLASSIC = (
    "export it in Grafana as a classic dashboard (Export, Export as code, Model: Classic), or give the file "
    "that it was "
    "made of"
)


class BoardError(ValueError):
    """A dashboard cannot be used. Its text names the file and what to do."""


@dataclass(frozen=True)
class Board:
    """A dashboard: where it came from, and its content as it is to be."""

    source: str
    content: Mapping[str, Any]

    @property
    def uid(self) -> str:
        """By what Grafana knows it."""
        return str(self.content["uid"])

    @property
    def title(self) -> str:
        """What it is called."""
        return str(self.content["title"])

    @property
    def text(self) -> str:
        """Its JSON, as it stands in a file."""
        return json.dumps(self.content, indent=1, sort_keys=True) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of what counts in it."""
        return digest(self.content)


def read(source: str, text: str, data_source: str = "") -> Board:
    """
    Return the dashboard in a JSON file, ready to be put into Grafana.

    :param source: what the file is called.
    :param data_source: uid of the data source for which an exported dashboard asks; empty: there is none of ours.
    :raises BoardError: it is none that Grafana 11 to 13 can take from a file.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as exc:
        raise BoardError(f"{source} is no JSON: {exc}") from exc
    if not isinstance(content, dict):
        raise BoardError(f"{source} is no dashboard: a mapping is wanted")
    if "elements" in content or "spec" in content or "apiVersion" in content:
        raise BoardError(f"{source} has the new form of dashboards, which Grafana takes from no file: {_CLASSIC}")
    if not isinstance(content.get("panels", content.get("rows")), list):
        raise BoardError(f"{source} is no dashboard: it has no panels; {_CLASSIC}")
    if not _UID.fullmatch(str(content.get("uid") or "")):
        raise BoardError(f"{source}: uid is {content.get('uid')!r}; give it one of at most 40 letters, digits, - and _")
    if not str(content.get("title") or "").strip():
        raise BoardError(f"{source}: title is empty; give it one")
    found = _marked({**_filled(source, content, data_source)})
    return Board(source, {name: value for name, value in found.items() if name not in ("id", "version", "iteration")})


def _filled(source: str, content: dict[str, Any], data_source: str) -> dict[str, Any]:
    """An export asks for its data sources by name: those of Prometheus are ours."""
    inputs = content.get("__inputs") or []
    text = json.dumps({name: value for name, value in content.items() if name not in _OF_EXPORT})
    for entry in inputs if isinstance(inputs, list) else []:
        name, kind = entry.get("name"), entry.get("pluginId")
        if entry.get("type") != "datasource" or kind != "prometheus":
            raise BoardError(
                f"{source} asks for {name} ({kind or entry.get('type')}) when it is imported: import it by hand"
            )
        if not data_source:
            raise BoardError(f"{source} asks for a data source ({name}): give dcgm:grafana:data_source:url")
        text = text.replace(f"${{{name}}}", data_source)
    found: dict[str, Any] = json.loads(text)
    return found


def _marked(content: dict[str, Any]) -> dict[str, Any]:
    tags = content.get("tags")
    tags = [str(tag) for tag in tags] if isinstance(tags, list) else []
    return {**content, "tags": tags if MARK in tags else [*tags, MARK]}


def is_marked(content: Mapping[str, Any]) -> bool:
    """Return whether a dashboard, in any form, says that it is ours."""
    tags = content.get("tags")
    return isinstance(tags, list) and MARK in tags


def twins(boards: Sequence[Board]) -> list[str]:
    """Return a sentence per uid or title that two have: Grafana would then write none of them."""
    found = []
    for number, board in enumerate(boards):
        for other in boards[:number]:
            for what in ("uid", "title"):
                if getattr(board, what) == getattr(other, what):
                    found.append(f"{board.source} and {other.source} have the same {what}, {getattr(board, what)!r}")
    return found


def essence(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard without what a server gives it."""
    return {name: value for name, value in content.items() if name not in _OF_SERVER}


def digest(content: Mapping[str, Any]) -> str:
    """Return by what a dashboard is told from another: SHA-256 in hexadecimal digits, whatever the server added."""
    return hashlib.sha256(json.dumps(essence(content), sort_keys=True).encode()).hexdigest()


def differences(now: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts that differ, such as ``panels``; ``form`` where it has another form."""
    old, new = essence(now), essence(wanted)
    if "panels" in new and "panels" not in old:
        return ["form"]
    return sorted(
        name
        for name in {*old, *new}
        if json.dumps(old.get(name), sort_keys=True) != json.dumps(new.get(name), sort_keys=True)
    )


def titles(boards: Iterable[Board]) -> dict[str, str]:
    """Return the titles by uid."""
    return {board.uid: board.title for board in boards}
