"""Who listens on a TCP port of this machine, as the kernel knows it."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from superpod_dcgm.base import systemd

_LISTEN = "0A"
_TABLES = ("tcp", "tcp6")
_ANY = ("", "0.0.0.0", "::")
_UNIT = re.compile(r"/([^/\n]+\.(?:service|scope))(?=/|$)", re.MULTILINE)
_DELETED = " (deleted)"
# It holds the sockets of socket units.
_SYSTEMD = 1


@dataclass(frozen=True)
class Listener:
    """
    A process that listens; all but the port is empty or 0 where it is not to be seen, as from a container.

    ``unit``: the systemd unit that it belongs to, or the socket unit for which systemd listens.
    """

    port: int
    pid: int = 0
    program: str = ""
    unit: str = ""

    @property
    def words(self) -> str:
        """What it is, for a sentence."""
        if not self.pid:
            return "a process that is not to be seen from here"
        if self.pid == _SYSTEMD and self.unit.endswith(".socket"):
            return f"systemd for {self.unit} (`systemctl disable --now {self.unit}` ends that)"
        return f"{self.program} (process {self.pid}{f' of {self.unit}' if self.unit else ''})"


def on(port: int, address: str = "", proc: str = "/proc") -> list[Listener]:
    """
    Return the processes that listen on ``port``; those that share a socket are all told.

    :param address: only those that listen at this address or at all; without one, at whatever address.
    """
    wanted = {
        inode for local, inode in sockets(f"{proc}/net", port) if local in _ANY or address in _ANY or local == address
    }
    found = [_listener(port, pid, proc) for pid in _holders(wanted, proc)]
    return found or [Listener(port) for _ in list(wanted)[:1]]


def sockets(folder: str, port: int) -> Iterator[tuple[str, str]]:
    """Give local address and inode of each socket that listens on a port, from ``tcp`` and ``tcp6`` in a folder."""
    for table in _TABLES:
        # Columns of proc(5): 1 local address:port in hexadecimal, 3 state, 9 inode.
        for row in (line.split() for line in _text(f"{folder}/{table}").splitlines()[1:]):
            if len(row) > 9 and row[3] == _LISTEN and int(row[1].rpartition(":")[2], 16) == port:
                yield _address(row[1].rpartition(":")[0]), row[9]


def held(pid: int, proc: str = "/proc") -> set[str]:
    """Return the inodes of the sockets that a process has open; none of one that is gone or not to be seen."""
    found = set()
    with contextlib.suppress(OSError), os.scandir(f"{proc}/{pid}/fd") as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(entry.path).partition(":[")
                if kind == "socket":
                    found.add(inode.rstrip("]"))
    return found


def unit(pid: int, proc: str = "/proc") -> str:
    """Return the innermost systemd unit that a process belongs to, or ``""``."""
    units = _UNIT.findall(_text(f"{proc}/{pid}/cgroup"))
    return units[-1] if units else ""


def _listener(port: int, pid: int, proc: str) -> Listener:
    program = _text(f"{proc}/{pid}/comm").strip()
    with contextlib.suppress(OSError):
        program = os.readlink(f"{proc}/{pid}/exe").removesuffix(_DELETED)
    whose = _socket_unit(port) if pid == _SYSTEMD else ""
    return Listener(port, pid, program, whose or unit(pid, proc))


def _socket_unit(port: int) -> str:
    """Return the socket unit for which systemd listens on a port, or ``""``."""
    with contextlib.suppress(systemd.UnitError):
        for line in systemd.systemctl("list-sockets", "--no-legend", "--no-pager", "--full").splitlines():
            words = line.split()
            if len(words) > 1 and words[0].rpartition(":")[2] == str(port) and words[1].endswith(".socket"):
                return words[1]
    return ""


def _address(digits: str) -> str:
    """The kernel prints an address as words in its own byte order."""
    words = struct.pack(f"={len(digits) // 8}I", *(int(word, 16) for word in re.findall("." * 8, digits)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


def _holders(inodes: set[str], proc: str) -> Iterator[int]:
    if not inodes:
        return
    for pid in sorted(int(name) for name in os.listdir(proc) if name.isdigit()):
        if inodes & held(pid, proc):
            yield pid


def _text(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""
