"""Starts the forwarder that makes a port of the head node reachable on the host's loopback."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import cgroups
from superpod.lab.holder import Holder
from superpod.lab.layout import HEAD, Layout, addresses_of


def ensure(layout: Layout, holder: Holder, port: int) -> str:
    """Address of a forwarder to that port of the head node; one is started if none runs."""
    group, record = holder.group / f"forward-{port}", layout.root / f"forward-{port}"
    log = layout.root / "forward.log"
    if not cgroups.populated(group):
        record.unlink(missing_ok=True)
        group.mkdir(exist_ok=True)
        arguments = [str(holder.pid), addresses_of(HEAD)[0], str(port), str(record)]
        # By path, not as a module of the package: it needs nothing of it.
        cgroups.spawn(group, [sys.executable, str(Path(__file__).with_name("forwarder.py")), *arguments], log)
    deadline = time.monotonic() + 10
    # It is there a moment before its number is.
    while not (number := record.read_text().strip() if record.exists() else ""):
        if time.monotonic() > deadline:
            raise SuperpodError(f"The forwarder for port {port} did not start; see {log}")
        time.sleep(0.05)
    return f"http://127.0.0.1:{number}"
