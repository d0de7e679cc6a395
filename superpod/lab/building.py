"""Says while states are applied that a node builds the exporter; the true one takes minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from superpod.errors import SuperpodError
from superpod.lab.lab import Lab

# exporter:build:directory, which is there only while a build runs.
DIRECTORY = "/opt/dcgm-exporter-deployment"
# Seconds between two looks; a build of the stand-in is over before.
PAUSE = 30.0


@contextmanager
def said(lab: Lab, pause: float = PAUSE) -> Iterator[None]:
    """Say now and then, as long as the block runs, which node builds and since when."""
    over = threading.Event()
    watching = threading.Thread(target=_watch, args=(lab, over, pause), daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


def _watch(lab: Lab, over: threading.Event, pause: float) -> None:
    begun: dict[str, float] = {}
    while not over.wait(pause):
        for node in lab.nodes:
            if not _builds(lab, node):
                begun.pop(node, None)
                continue
            since = begun.setdefault(node, time.monotonic() - pause)
            lab.progress(
                f"{node} builds dcgm-exporter {lab.record['release']}, for {time.monotonic() - since:.0f} s now"
            )


def _builds(lab: Lab, node: str) -> bool:
    """A node that cannot be asked is not said to build."""
    with suppress(SuperpodError, OSError):
        return lab.exec(node, ["test", "-d", DIRECTORY], timeout=10).returncode == 0
    return False
