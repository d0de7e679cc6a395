"""Runs a program of this machine; its failure is one sentence that quotes the last thing it said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

from superpod.errors import SuperpodError


def output(argv: Sequence[str], failed: str, environment: Mapping[str, str] | None = None) -> str:
    """What the program printed; `failed` begins the sentence if it ends with anything but 0."""
    surroundings = {**os.environ, **(environment or {})}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, env=surroundings)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise SuperpodError(f"{failed}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout
