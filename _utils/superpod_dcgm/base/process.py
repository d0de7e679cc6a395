"""The one way to run a program: for a bounded time, and not held up by one that cannot even be killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

# How long a killed program may take to go; one in uninterruptible sleep never does.
_BURIAL_SECONDS = 0.5


@dataclass(frozen=True)
class Answer:
    """
    What a program said.

    ``code`` is None if it did not run or not end in time; ``error`` then says why, ``missing`` whether it is not
    installed at all, and ``late`` whether it was ended because its time was over.
    """

    code: int | None
    output: str = ""
    error: str = ""
    missing: bool = False
    late: bool = False

    @property
    def problem(self) -> str:
        """The last line of its complaint."""
        return (self.error.strip().splitlines() or [f"exit code {self.code}"])[-1]


def run(
    argv: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    directory: str = "/",
    together: bool = False,
) -> Answer:
    """
    Run a program in a session of its own; when its time is over, all of that session is killed.

    :param argv: its path, or its name in PATH, and its arguments.
    :param seconds: how long it may take.
    :param environment: all that it gets; by default what this process has.
    :param directory: where it runs.
    :param together: put its standard error into ``output``, in the order in which it was written.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            text=True,
            errors="replace",
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    except OSError as exc:
        return Answer(None, error=f"cannot be run: {exc.strerror}", missing=_is_missing(exc, argv[0]))
    try:
        output, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return Answer(None, error="does not answer", late=True)
    return Answer(process.returncode, output, error or "")


def _is_missing(exc: OSError, program: str) -> bool:
    """The directory where it was to run may be what is missing."""
    return isinstance(exc, FileNotFoundError) and exc.filename == program


def _abandon(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_BURIAL_SECONDS)
    # Whoever left the session may still hold the other ends.
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
