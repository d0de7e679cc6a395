"""Starts a program in a network of its own, from which one port of our loopback can be reached, or nothing."""

from __future__ import annotations

import asyncio
import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from superpod.errors import SuperpodError
from superpod.lab.forwarder import CLONE_NEWNET, serve

HERE = "127.0.0.1"


def start(argv: Sequence[str], port: int | None, pass_fds: Sequence[int] = ()) -> subprocess.Popen[str]:
    """
    Return the process of a program that has no network but a loopback of its own.

    :param port: what it reaches on 127.0.0.1 at this port, is what this process reaches there; None: nothing.
    :raises SuperpodError: this user may not make networks.
    """
    # A network belongs to a thread; this one ends when its child has it.
    with ThreadPoolExecutor(1) as pool:
        process, listener = pool.submit(_start, argv, port, pass_fds).result()
    if listener and port:
        threading.Thread(target=lambda: asyncio.run(serve(listener, HERE, port)), daemon=True).start()
    return process


def _start(
    argv: Sequence[str], port: int | None, pass_fds: Sequence[int]
) -> tuple[subprocess.Popen[str], socket.socket | None]:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET):
        reason = os.strerror(ctypes.get_errno())
        raise SuperpodError(f"A network for the browser could not be made ({reason}): that needs root.")
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    listener = socket.create_server((HERE, port)) if port else None
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=pass_fds,
    )
    return process, listener
