"""Who listens on a TCP port of this node, and whether the exporter could."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from superpod_dcgm.base import systemd

_ANY = ("", "0.0.0.0", "::")
_FIRST_FREE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


@dataclass(frozen=True)
class Listener:
    """A process that listens; ``unit`` is the systemd unit it belongs to, or ``""``."""

    pid: int
    program: str
    unit: str

    def __str__(self) -> str:
        return f"{self.program} (process {self.pid}{f' of {self.unit}' if self.unit else ''})"


def obstacle(listen: str, unit: str) -> str:
    """
    Return why the exporter could not listen, or ``""``; what its own unit holds is no obstacle.

    :param listen: ``address:port`` as the exporter takes it; without an address on all.
    """
    host, separator, digits = listen.rpartition(":")
    if not separator or not digits.isdigit():
        return ""
    address, port = host.strip("[]"), int(digits)
    if (first := _first_free_port()) > port and not _may_bind_low(unit):
        return (
            f"dcgm:exporter:port {port} cannot be used: the exporter has no privilege for ports below {first}. "
            f"Choose one from {first} on"
        )
    return _unbound(address, port, unit)


def _unbound(address: str, port: int, unit: str) -> str:
    try:
        _bind(address, port)
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            return _held(address, port, unit)
        return (
            f"dcgm:exporter:address {address!r} with port {port} cannot be used on this node: {exc.strerror or exc}. "
            "Give an address that this node has, or none for all"
        )
    return ""


def _held(address: str, port: int, unit: str) -> str:
    found = list(holders(address, port))
    others = [holder for holder in found if holder.unit != unit]
    if found and not others:
        return ""
    who = " and ".join(map(str, others)) or "a process that cannot be named"
    return (
        f"dcgm:exporter:port {port} is held by {who}. Stop it, choose another port, or, if that exporter shall stay, "
        "set dcgm:exporter:enabled: false"
    )


def _first_free_port() -> int:
    with contextlib.suppress(OSError, ValueError), open(_FIRST_FREE, encoding="ascii") as stream:
        return int(stream.read())
    return 1024


def _may_bind_low(unit: str) -> bool:
    """A drop-in of the administrator may give the privilege."""
    return "cap_net_bind_service" in systemd.systemctl("show", "--property=AmbientCapabilities", unit).lower()


def _bind(address: str, port: int) -> None:
    """
    Try to bind as the exporter does, and listen to nobody.

    :raises OSError: it is not possible.
    """
    # Without an address Go listens for both families at once.
    name = address or ("::" if socket.has_dualstack_ipv6() else "0.0.0.0")
    (family, kind, protocol, _, place), *_ = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM)
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            trial.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(bool(address)))
        trial.bind(place)


def holders(address: str, port: int) -> Iterator[Listener]:
    """Give the processes that listen where ``address`` and ``port`` would; all with an address that means all."""
    inodes = {
        inode for local, inode in sockets("/proc/net", port) if local in _ANY or address in _ANY or local == address
    }
    for folder in glob.iglob("/proc/[0-9]*"):
        if inodes & _inodes(folder):
            yield _listener(folder)


def sockets(folder: str, port: int) -> Iterator[tuple[str, str]]:
    """Give local address and inode of each socket that listens on a port, from ``tcp`` and ``tcp6`` in a folder."""
    for table in ("tcp", "tcp6"):
        try:
            with open(f"{folder}/{table}", encoding="ascii") as stream:
                rows = [line.split() for line in stream][1:]
        except OSError:
            continue
        # Columns of proc(5): 1 local address:port in hexadecimal, 3 state (0A is LISTEN), 9 inode.
        for row in rows:
            address, _, number = row[1].rpartition(":")
            if row[3] == "0A" and int(number, 16) == port:
                yield _address(address), row[9]


def _address(digits: str) -> str:
    """The kernel prints an address as words in its own byte order."""
    words = struct.pack(f"={len(digits) // 8}I", *(int(word, 16) for word in re.findall("." * 8, digits)))
    return socket.inet_ntop(socket.AF_INET if len(words) == 4 else socket.AF_INET6, words)


def _inodes(folder: str) -> set[str]:
    found = set()
    for path in glob.iglob(f"{folder}/fd/*"):
        with contextlib.suppress(OSError):
            kind, _, inode = os.readlink(path).partition(":[")
            if kind == "socket":
                found.add(inode.rstrip("]"))
    return found


def _listener(folder: str) -> Listener:
    program = _read(f"{folder}/comm").strip()
    with contextlib.suppress(OSError):
        program = os.readlink(f"{folder}/exe").removesuffix(" (deleted)")
    units = re.findall(r"/([^/\n]+\.(?:service|scope))(?=/|$)", _read(f"{folder}/cgroup"), re.MULTILINE)
    return Listener(int(os.path.basename(folder)), program, units[-1] if units else "")


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read()
    return ""


def listens(pid: int, port: int) -> bool:
    """
    Return whether process ``pid`` itself listens on TCP ``port``.

    An answer on the port alone proves nothing: another exporter may hold it while ours cannot start.
    """
    return bool({inode for _, inode in sockets(f"/proc/{pid}/net", port)} & _inodes(f"/proc/{pid}"))
