"""Dashboards as files of our own Grafana: replaced in place, and not where another file has the same uid or title."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from superpod_dcgm.base import files, paths
from superpod_dcgm.monitoring import grafana_own, written
from superpod_dcgm.monitoring.grafana_boards import Board, is_marked

_LARGEST = 16 << 20
# Grafana reads a file again if its time changed: one of the seventies, as images have them, it may never have read.
_OLDEST = 365 * 86400


@dataclass(frozen=True)
class Folder:
    """The dashboards that are to be in our folder, which Grafana shows under this title."""

    boards: Sequence[Board]
    title: str

    def path(self, board: Board) -> str:
        """Return where a dashboard stands."""
        return f"{paths.GRAFANA_DASHBOARDS}/{board.uid}.json"

    def obstacles(self) -> list[str]:
        """Return a sentence per file of others with a uid or title of ours: Grafana would then write none of them."""
        wanted = {self.path(board) for board in self.boards}
        ours = {f"{paths.GRAFANA_DASHBOARDS}/{name}" for name in _noted()}
        found = grafana_own.links()
        for path, folder in _others(self.title):
            if path in wanted | ours:
                continue
            content = files.read_json(path, {}, _LARGEST)
            for board in self.boards if isinstance(content, dict) else ():
                same = [what for what in ("uid", "title") if content.get(what) == getattr(board, what)]
                if "uid" in same or (same and folder == self.title):
                    found.append(
                        f"{path} has the {same[0]} of our dashboard {board.title!r}: with both, Grafana would "
                        "update none; "
                        "give it another uid and title"
                    )
        foreign = [path for path in sorted(wanted - ours) if os.path.lexists(path) and not _is_board_of_ours(path)]
        return [*found, *(f"{path} was not written by this project: move it away" for path in foreign)]

    def differences(self) -> dict[str, str]:
        """Return what is to be done, by path: ``written`` or ``removed``."""
        found = {}
        for board in self.boards:
            path = self.path(board)
            if _file(board, path).differences() or os.stat(path).st_mtime < _OLDEST:
                found[path] = "written"
        wanted = {self.path(board) for board in self.boards}
        former = (f"{paths.GRAFANA_DASHBOARDS}/{name}" for name in _noted())
        return found | {path: "removed" for path in former if path not in wanted and os.path.lexists(path)}

    def install(self, todo: dict[str, str]) -> None:
        """
        Do what ``differences`` says, each file in one step.

        :raises OSError: a file cannot be written or removed.
        :raises KeyError: there is no group grafana.
        """
        files.make_directory(paths.GRAFANA_DASHBOARDS)
        # First noted: what is half done is ours, too.
        names = {f"{board.uid}.json" for board in self.boards}
        grafana_own.note(boards=sorted(names | set(_noted())))
        for board in self.boards:
            if self.path(board) in todo:
                _file(board, self.path(board)).write()
                # With the same content it keeps its old time.
                os.utime(self.path(board))
        for path in [path for path, what in todo.items() if what == "removed"]:
            os.unlink(path)
        grafana_own.note(boards=sorted(names))


def _file(board: Board, path: str) -> written.File:
    return written.File(path, board.text, group=paths.GRAFANA_USER)


def _noted() -> list[str]:
    found = grafana_own.record().get("boards")
    return [str(name) for name in found] if isinstance(found, list) else []


def _is_board_of_ours(path: str) -> bool:
    content = files.read_json(path, {}, _LARGEST)
    return isinstance(content, dict) and is_marked(content)


def _others(title: str) -> Iterator[tuple[str, str]]:
    """Give the dashboards that any provider of this Grafana reads, and the title of the folder where it shows them."""
    yield from ((path, title) for path in _json_below(paths.GRAFANA_DASHBOARDS))
    place = os.path.dirname(paths.GRAFANA_PROVIDER_FILE)
    for name in _listed(place):
        if not name.endswith((".yaml", ".yml")) or f"{place}/{name}" == paths.GRAFANA_PROVIDER_FILE:
            continue
        for provider in _providers(f"{place}/{name}"):
            options = provider.get("options")
            path = options.get("path") if isinstance(options, dict) else None
            if isinstance(path, str) and path.startswith("/"):
                yield from ((found, str(provider.get("folder") or "")) for found in _json_below(path))


def _providers(path: str) -> list[dict[str, Any]]:
    try:
        found = yaml.safe_load(files.read_bounded(path, _LARGEST))
        entries = found["providers"]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return []
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _json_below(path: str) -> Iterator[str]:
    for folder, below, names in os.walk(path):
        below[:] = [name for name in below if not name.startswith(".")]
        yield from (f"{folder}/{name}" for name in sorted(names) if name.endswith(".json"))


def _listed(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return sorted(os.listdir(path))
    return []
