"""A node for the real scripts, and the processes that a test starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_node import Node


@pytest.fixture(scope="session", autouse=True)
def ordinary_signals() -> Iterator[None]:
    """Start scripts with the signals that slurmd gives them: under nohup, or in the background, some are ignored."""
    ignored = [sign for sign in (signal.SIGHUP, signal.SIGINT) if signal.getsignal(sign) == signal.SIG_IGN]
    for sign in ignored:
        signal.signal(sign, signal.SIG_DFL)
    yield
    for sign in ignored:
        signal.signal(sign, signal.SIG_IGN)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    yield Node(tmp_path / "node")


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes that a test started, killed with their groups after it."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
        for stream in (process.stdout, process.stderr):
            if stream:
                stream.close()
