"""Where the lab's stand-ins are, and small helpers to run them."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

PROJECT = Path(__file__).resolve().parents[3]
HEAD = PROJECT / "lab/rootfs/head"
NODE = PROJECT / "lab/rootfs/node"
UPSTREAM = PROJECT / "lab/upstream"


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(what: str, condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.02)


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def program(path: Path) -> ModuleType:
    """Load a program that has no .py ending as a module."""
    name = path.name.replace("-", "_")
    loader = importlib.machinery.SourceFileLoader(name, str(path))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module
