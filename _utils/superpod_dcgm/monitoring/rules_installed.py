"""Rule files of ours in a directory that Prometheus reads: checked all together, and removed when they went."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass

from superpod_dcgm.base import files
from superpod_dcgm.monitoring import written
from superpod_dcgm.monitoring.ownership import is_ours


@dataclass(frozen=True)
class Rules:
    """
    The rule files that are to be in a directory.

    ``wanted``: text by name; each text begins with our mark. ``promtool``: checks them; without one, nothing does.
    """

    directory: str
    wanted: Mapping[str, str]
    promtool: str = ""

    def foreign(self) -> list[str]:
        """Return the files of others that stand where ours are to be."""
        places = [f"{self.directory}/{name}" for name in self.wanted]
        return [path for path in places if os.path.lexists(path) and not is_ours(path)]

    def differences(self) -> dict[str, str]:
        """Return what is to be done, by path: ``written`` or ``removed``."""
        found = {}
        for name, text in self.wanted.items():
            if written.File(f"{self.directory}/{name}", text).differences():
                found[f"{self.directory}/{name}"] = "written"
        for path in of_ours(self.directory):
            if os.path.basename(path) not in self.wanted:
                found[path] = "removed"
        return found

    def refused(self) -> list[str]:
        """Return why promtool refuses any of them, in a sentence per file; nothing is written for good."""
        found = []
        for name, text in self.wanted.items():
            file = written.File(f"{self.directory}/{name}", text, self.promtool, ("check", "rules"))
            if problem := file.refused():
                found.append(f"{file.path} is not written: {problem}")
        return found

    def install(self, todo: Mapping[str, str]) -> None:
        """
        Do what ``differences`` says; a directory that is left empty goes.

        :raises OSError: a file cannot be written or removed.
        """
        if self.wanted:
            files.make_directory(self.directory)
        for path, what in todo.items():
            if what == "removed":
                os.unlink(path)
            else:
                written.File(path, self.wanted[os.path.basename(path)]).write()
        if not self.wanted:
            with contextlib.suppress(OSError):
                os.rmdir(self.directory)


def of_ours(directory: str) -> list[str]:
    """Return the rule files in a directory that are ours."""
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []
    return [path for name in names if name.endswith(".yml") and is_ours(path := f"{directory}/{name}")]


def marked(texts: Mapping[str, str], mark: str) -> dict[str, str]:
    """Return rule files with our mark in their first line."""
    line = f"{mark}: edit the pillar, not this file.\n"
    return {name: text if text.startswith(mark) else line + text for name, text in texts.items()}
