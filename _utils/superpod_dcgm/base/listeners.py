"""Who listens on a TCP port of this machine, as the kernel knows it."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

_LISTEN = "0A"
_TABLES = ("tcp", "tcp6")


@dataclass(frozen=True)
class Listener:
    """A process that listens; all but the port is empty or 0 where it is not to be seen, as from a container."""

    port: int
    pid: int = 0
    program: str = ""
    unit: str = ""

    @property
    def words(self) -> str:
        """What it is, for a sentence."""
        if not self.pid:
            return "a process that is not to be seen from here"
        return f"{self.program} (process {self.pid}{', ' + self.unit if self.unit else ''})"


def on(port: int, proc: str = "/proc") -> list[Listener]:
    """Return the processes that listen on ``port``, at whatever address; those that share a socket are all told."""
    inodes = set(_sockets(port, proc))
    found = [Listener(port, pid, _program(pid, proc), unit(pid, proc)) for pid in _holders(inodes, proc)]
    return found or [Listener(port) for _ in list(inodes)[:1]]


def unit(pid: int, proc: str = "/proc") -> str:
    """Return the systemd unit that a process belongs to, or ``""``."""
    for line in _text(f"{proc}/{pid}/cgroup").splitlines():
        if found := re.search(r"/([^/]+\.(?:service|scope))(?:/|$)", line):
            return found[1]
    return ""


def _sockets(port: int, proc: str) -> Iterator[str]:
    for table in _TABLES:
        for line in _text(f"{proc}/net/{table}").splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _LISTEN and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _holders(inodes: set[str], proc: str) -> Iterator[int]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        # A process that ends meanwhile holds nothing any more.
        with contextlib.suppress(OSError):
            links = (os.readlink(entry.path) for entry in os.scandir(f"{proc}/{pid}/fd"))
            if not wanted.isdisjoint(links):
                yield pid


def _program(pid: int, proc: str) -> str:
    return _text(f"{proc}/{pid}/comm").strip()


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""
