"""What the user sees: progress with times, and a log file of each run."""

from __future__ import annotations

import os
import time
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape

__all__ = ["LOGS", "Progress", "err", "escape", "open_log", "out"]

LOGS = Path("/var/log/superpod")
KEPT = 50

out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out = Console(highlight=False, soft_wrap=True, width=160)
err = Console(highlight=False, soft_wrap=True, stderr=True)


def open_log(verb: str, directory: Path = LOGS) -> Path:
    """A new log file for this run; the oldest ones go."""
    directory.mkdir(parents=True, exist_ok=True)
    for old in sorted(directory.glob("*.log"))[:-KEPT]:  # by the time in the name: another run may remove them too
        old.unlink(missing_ok=True)
    path = directory / f"{datetime.now():%Y%m%d-%H%M%S}-{verb}-{os.getpid()}.log"
    path.touch(mode=0o600)
    return path


class Progress:
    """Prints each step with the seconds since the start, and writes it to the log."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.started = time.monotonic()

    def __call__(self, message: str) -> None:
        elapsed = time.monotonic() - self.started
        out.print(f"[dim]{elapsed:6.1f} s[/dim]  {message}", markup=True)
        with self.log.open("a") as handle:
            handle.write(f"{elapsed:6.1f} s  {message}\n")
