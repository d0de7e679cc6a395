"""The Go compiler that builds dcgm-exporter: where it is, and whether it is new enough."""

from __future__ import annotations

import os
import re
from typing import Any

from superpod_dcgm.base import process

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
    answer = process.run([command, "version"], _SECONDS, {"GOTOOLCHAIN": "local", "HOME": "/nonexistent"})
    words = answer.output.split()
    if answer.code != 0 or len(words) < 3:
        raise GoError(f"{command} does not run: {answer.problem}")
    return words[2].removeprefix("go")


def is_new_enough(found: str, minimum: str) -> bool:
    """Return whether Go ``found`` can build what asks for Go ``minimum``; a pre-release counts as its release."""
    return _numbers(found) >= _numbers(minimum)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    return (*numbers, 0, 0, 0)[:3]
