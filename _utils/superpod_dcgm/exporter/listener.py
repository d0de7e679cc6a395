"""Whether the exporter could listen where it shall, and who is in its way."""

from __future__ import annotations

import contextlib
import errno
import socket

from superpod_dcgm.base import listeners, systemd

_FIRST_FREE = "/proc/sys/net/ipv4/ip_unprivileged_port_start"


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
    found = listeners.on(port, address)
    others = [holder for holder in found if holder.unit != unit]
    if found and not others:
        return ""
    who = " and ".join(holder.words for holder in others) or "a process that cannot be named"
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


def listens(pid: int, port: int) -> bool:
    """
    Return whether process ``pid`` itself listens on TCP ``port``.

    An answer on the port alone proves nothing: another exporter may hold it while ours cannot start.
    """
    return bool({inode for _, inode in listeners.sockets(f"/proc/{pid}/net", port)} & listeners.held(pid))
