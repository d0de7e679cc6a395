"""A process that listens on the host's loopback and connects in a lab's network, which has no route to the host.

usage: forwarder.py PID ADDRESS PORT RECORD
PID is a process in the lab's network, RECORD a file that gets the local port.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import sys
from pathlib import Path

CLONE_NEWNET = 0x40000000


def listen(preferred: int) -> socket.socket:
    """A listening socket on loopback, on the preferred port if it is free."""
    for port in (preferred, 0):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            listener.close()
            continue
        listener.listen(64)
        return listener
    raise SystemExit("No free port on 127.0.0.1.")


def enter_network(pid: int) -> None:
    """Move this process to the network of another one; sockets that are open stay where they are."""
    with Path(f"/proc/{pid}/ns/net").open() as handle:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def serve(listener: socket.socket, address: str, port: int) -> None:
    """Connect each connection of a listening socket with that address, as long as the process lives."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(address, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, far_writer), _pump(far_reader, writer))

    server = await asyncio.start_server(connected, sock=listener)
    await server.serve_forever()


def main(pid: str, address: str, port: str, record: str) -> None:
    """Bind first, then enter the lab's network, then say which port it is."""
    listener = listen(int(port))
    enter_network(int(pid))
    Path(record).write_text(f"{listener.getsockname()[1]}\n")
    asyncio.run(serve(listener, address, int(port)))


if __name__ == "__main__":
    main(*sys.argv[1:])
