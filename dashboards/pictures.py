"""
Pictures of the dashboards for the docs: of made-up clusters, drawn with Grafana's UI library, by a headless Chromium.

It needs root, npm, and the lab's image for Prometheus. No Grafana server is involved, and each picture says so.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from superpod.errors import SuperpodError
from superpod.lab import browser, drawn, drawn_server

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDER = REPOSITORY / "docs/images"
WIDTH, SECONDS = 1440, 180
READY = "window.drawn && window.drawn.ready"


@dataclass(frozen=True)
class Picture:
    """A dashboard with values of its variables, by day or by night; ``large``: of 2,000 nodes."""

    board: str
    dark: bool = False
    large: bool = False
    values: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return what its file is called."""
        return f"{self.board}-large" if self.large else self.board

    def address(self, server: str, begin: int, end: int) -> str:
        """Return where it is to be seen, with a time that ends with its samples."""
        time = {"from": f"{begin}000", "to": f"{end}000", "now": f"{end}000"}
        chosen = {f"var-{name}": value for name, value in self.values.items()}
        return f"{server}/d/superpod-{self.board}?{urlencode({**time, **chosen})}"


PICTURES = (
    Picture("cluster"),
    Picture("node", dark=True, values={"host": "dgx-07"}),
    Picture("job", values={"job": "48219"}),
    Picture("users"),
    Picture("health", dark=True),
    Picture("fleet"),
    Picture("cluster", large=True),
)


def wrong(seen: browser.Seen) -> list[str]:
    """Return what a page or its panels say is wrong."""
    panels: dict[str, dict[str, Any]] = seen.answer
    return [*seen.errors, *(f"{one['title']}: {one['error']}" for one in panels.values() if one.get("error"))]


def look(picture: Picture, server: str, begin: int, end: int, kind: str = "webp") -> browser.Seen:
    """
    Return what there is to see.

    :raises SuperpodError: the page or a panel says that something is wrong.
    """
    address = picture.address(server, begin, end)
    seen = browser.look(address, picture.dark, WIDTH, 200, READY, "window.drawn.panels", kind, SECONDS)
    if found := wrong(seen):
        raise SuperpodError(f"{picture.name}: {'; '.join(found)}")
    return seen


@contextmanager
def served(prometheus: str, page: Path) -> Iterator[str]:
    """Serve the drawn dashboards of a Prometheus, and yield the address."""
    server = drawn_server.server(prometheus, page, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def main(*names: str) -> None:
    """Write pictures into docs/images: all, or those of some names."""
    sys.path.insert(0, str(REPOSITORY / "tests/boards"))
    board_server, small, large = map(import_module, ("board_server", "picture_world", "large_world"))
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        log = Path(name, "log")
        browser.ensure(log, print)
        page = drawn.ensure(log, print)
        # What is recorded of the large one is made up, too.
        for world, rules in ((small, True), (large, False)):
            here = [one for one in PICTURES if one.large == (world is large) and (not names or one.name in names)]
            if not here:
                continue
            print(f"A database of {world.CLUSTER}", flush=True)
            place = Path(name, world.CLUSTER)
            place.mkdir()
            data = board_server.make(place, world.openmetrics(), world.BEGIN, world.END, rules)
            with board_server.running("3", data) as prometheus, served(prometheus.address, page) as address:
                for picture in here:
                    seen = look(picture, address, world.BEGIN, world.END)
                    (FOLDER / f"{picture.name}.webp").write_bytes(seen.picture)
                    print(f"docs/images/{picture.name}.webp: {len(seen.picture) // 1024} KiB", flush=True)
