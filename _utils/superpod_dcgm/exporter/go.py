"""The Go compiler that builds dcgm-exporter: where it is, and whether it is new enough."""

from __future__ import annotations

import os
import re
import tempfile
from typing import Any

from superpod_dcgm.base import files, process

_SECONDS = 60


class GoError(Exception):
    """A Go compiler does not run. Its text says which and why."""


def prefix(go: dict[str, Any]) -> str:
    """Return the directory with ``bin/go`` that the section ``go`` chooses."""
    if go["enabled"] and go["method"] == "archive":
        # The archive has one folder `go`. Unpacked as it is, Salt finds what an interrupted unpacking left out.
        return os.path.join(go["directory"], f"go{go['version']}", "go")
    # Where Go's own instructions put it, if an administrator did; else the distribution's.
    by_hand = "/usr/local/go"
    return by_hand if not go["enabled"] and os.path.exists(f"{by_hand}/bin/go") else "/usr"


def version(command: str) -> str:
    """
    Return the version of a Go compiler, such as ``1.26.2``.

    :raises GoError: it does not run.
    """
    # Go writes counters of its own use below the home that it is given, even by this.
    with tempfile.TemporaryDirectory(prefix="superpod-go-") as home:
        quiet(home)
        surroundings = process.surroundings(GOTOOLCHAIN="local", HOME=home, XDG_CONFIG_HOME=f"{home}/.config")
        answer = process.run([command, "version"], _SECONDS, surroundings)
    words = answer.output.split()
    if answer.code != 0 or len(words) < 3:
        raise GoError(f"{command} does not run: {answer.problem}")
    return words[2].removeprefix("go")


def quiet(home: str) -> None:
    """
    Let Go, run with this home, count nothing: a helper that it leaves running would write after home is removed.

    No variable says so, only this file (go.dev/doc/telemetry).
    """
    folder = os.path.join(home, ".config/go/telemetry")
    files.make_directory(folder)
    files.write_atomic(os.path.join(folder, "mode"), "off")


def unpacked(directory: str) -> list[str]:
    """Return the Go releases in ``directory`` that this project unpacked, each a folder with an archive's folder."""
    try:
        names = sorted(name for name in os.listdir(directory) if re.fullmatch(r"go\d+\.\d+(\.\d+)?", name))
    except OSError:
        return []
    folders = [os.path.join(directory, name) for name in names]
    return [folder for folder in folders if os.path.isdir(folder) and set(os.listdir(folder)) <= {"go"}]


def is_new_enough(found: str, minimum: str) -> bool:
    """Return whether Go ``found`` can build what asks for Go ``minimum``; a pre-release counts as its release."""
    return _numbers(found) >= _numbers(minimum)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    return (*numbers, 0, 0, 0)[:3]
