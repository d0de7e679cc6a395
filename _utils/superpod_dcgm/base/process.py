"""
The one way to run a program: for a bounded time, in a clean environment, not held up by one that cannot even be killed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import complaint

# Where programs are looked for, whatever the PATH of the minion or master is.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# How long a killed program may take to go; one in uninterruptible sleep never does.
_BURIAL_SECONDS = 0.5
# Bytes that are read at once, and that are kept of what is said on standard error where output is bounded.
_BLOCK, _WORDS = 1 << 16, 1 << 12


@dataclass(frozen=True)
class Answer:
    """
    What a program said.

    ``code`` is None if it did not run or not end in time; ``error`` then says why, ``missing`` whether it is not
    installed at all, ``late`` whether it was ended because its time was over, and ``cut`` because it said too much.
    """

    code: int | None
    output: str = ""
    error: str = ""
    missing: bool = False
    late: bool = False
    cut: bool = False

    @property
    def problem(self) -> str:
        """The line of its complaint that says why, in one line; how it ended where it said nothing."""
        return complaint.reason(self.error) or complaint.reason(self.output) or self.ending

    @property
    def ending(self) -> str:
        """How it ended: its exit code, or the signal that ended it."""
        if self.code is None or self.code >= 0:
            return f"exit code {self.code}"
        with contextlib.suppress(ValueError):
            return f"ended by {signal.Signals(-self.code).name}"
        return f"ended by signal {-self.code}"


def surroundings(**more: str) -> dict[str, str]:
    """
    Return what a program gets: a fixed search path, messages in English, the home of the user that this process has.

    Nothing of this process's own environment is in it. What an administrator's shell or a unit's drop-in says, such as
    a proxy, BASH_ENV, GIT_DIR, GOFLAGS, SLURM_CONF or a language, would else decide what programs do and print.

    :param more: what this program needs besides.
    """
    clean = {"PATH": PATH, "LC_ALL": "C"}
    with contextlib.suppress(KeyError):
        entry = pwd.getpwuid(os.geteuid())
        clean.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)
    return {**clean, **more}


def run(
    argv: Sequence[str],
    seconds: float,
    environment: Mapping[str, str] | None = None,
    directory: str = "/",
    together: bool = False,
    program: str | None = None,
) -> Answer:
    """
    Run a program in a session of its own; when its time is over, all of that session is killed.

    :param argv: its path, or its name in PATH, and its arguments.
    :param seconds: how long it may take.
    :param environment: all that it gets; by default what ``surroundings`` returns.
    :param directory: where it runs.
    :param together: put its standard error into ``output``, in the order in which it was written.
    :param program: the file that is run where ``argv[0]`` is only what the program shall take for its name.
    """
    given = surroundings() if environment is None else environment
    try:
        process = subprocess.Popen(
            argv,
            executable=program,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if together else subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            cwd=directory,
            env=given,
            start_new_session=True,
        )
    except OSError as exc:
        return Answer(None, error=f"cannot be run: {exc.strerror}", missing=_is_missing(exc, program or argv[0]))
    try:
        output, error = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        _abandon(process)
        return Answer(None, error="does not answer", late=True)
    return Answer(process.returncode, output, error or "")


def run_bounded(argv: Sequence[str], seconds: float, most: int) -> Answer:
    """
    Run a program that may say any amount, and end it after ``most`` bytes: what it said until then counts.

    :param argv: its path, or its name in PATH, and its arguments.
    :param seconds: how long it may take; what it said until then is in ``output``, too.
    :return: ``cut`` or ``late`` where it was ended, with ``code`` None. The last line may be a part.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            env=surroundings(),
            start_new_session=True,
        )
    except OSError as exc:
        return Answer(None, error=f"cannot be run: {exc.strerror}", missing=_is_missing(exc, argv[0]))
    deadline = time.monotonic() + seconds
    output, error, ended = _listen(process, deadline, most)
    told, words = output[:most].decode("utf-8", "replace"), error.decode("utf-8", "replace")
    with contextlib.suppress(subprocess.TimeoutExpired):
        if ended:
            process.wait(max(0.0, deadline - time.monotonic()))
            return Answer(process.returncode, told, words)
    _abandon(process)
    cut = len(output) > most
    return Answer(None, told, words or ("says too much" if cut else "does not answer"), late=not cut, cut=cut)


def _listen(process: subprocess.Popen[bytes], deadline: float, most: int) -> tuple[bytearray, bytearray, bool]:
    """What a program says on both its streams, and whether it has said all."""
    output, error = bytearray(), bytearray()
    with selectors.DefaultSelector() as waiting:
        for stream, kept in ((process.stdout, output), (process.stderr, error)):
            if stream:
                waiting.register(stream, selectors.EVENT_READ, kept)
        while waiting.get_map() and len(output) <= most and (left := deadline - time.monotonic()) > 0:
            for key, _ in waiting.select(left):
                block = os.read(key.fd, _BLOCK)
                if not block:
                    waiting.unregister(key.fileobj)
                elif key.data is output or len(error) < _WORDS:
                    key.data.extend(block)
        return output, error, not waiting.get_map()


def _is_missing(exc: OSError, program: str) -> bool:
    """The directory where it was to run may be what is missing."""
    return isinstance(exc, FileNotFoundError) and exc.filename == program


def _abandon(process: subprocess.Popen[Any]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_BURIAL_SECONDS)
    # Whoever left the session may still hold the other ends.
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
