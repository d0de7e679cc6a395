"""Runs a program for a bounded time, and is not held up by one that cannot even be killed."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass

# How long a killed program may take to go; one in uninterruptible sleep never does.
_BURIAL_SECONDS = 0.5


@dataclass(frozen=True)
class Answer:
    """What a program said; ``code`` is None if it did not run or not end in time, and ``error`` then says why."""

    code: int | None
    output: str = ""
    error: str = ""

    @property
    def problem(self) -> str:
        """The last line of its complaint."""
        return (self.error.strip().splitlines() or [f"exit code {self.code}"])[-1]


def run(command: list[str], environment: dict[str, str], seconds: float) -> Answer:
    """
    Run a program in a session of its own; when its time is over, all of that session is killed.

    :param command: its path and arguments.
    :param environment: all that it gets.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except OSError as exc:
        return Answer(None, error=f"cannot be run: {exc.strerror}")
    try:
        output, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return Answer(None, error="does not answer")
    return Answer(process.returncode, output, error)


def _abandon(process: "subprocess.Popen[str]") -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_BURIAL_SECONDS)
    # Whoever left the session may still hold the other ends.
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
