"""Which Prometheus it is: what it may be told depends on that."""

from __future__ import annotations

import re

from superpod_dcgm.base import process
from superpod_dcgm.monitoring.page import Page

Version = tuple[int, ...]
# From these on: the key scrape_config_files, and the key fallback_scrape_protocol, without which a page that has no
# Content-Type is a failure. Before it the key is unknown, and the whole configuration is refused.
INCLUDES: Version = (2, 43)
FALLBACK: Version = (3, 0)
_NUMBERS = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_SECONDS = 20


def parse(text: str) -> Version:
    """Return the first version in a text as numbers, ``()`` where there is none."""
    found = _NUMBERS.search(text)
    return tuple(int(part) for part in found.groups() if part is not None) if found else ()


def of_program(path: str) -> Version:
    """Return the version of prometheus or promtool at ``path``, ``()`` where it cannot be run."""
    if not path:
        return ()
    answer = process.run([path, "--version"], _SECONDS, together=True)
    return parse(answer.output.partition("version")[2]) if answer.code == 0 else ()


def of_server(page: Page) -> Version:
    """Return the version of the Prometheus that answers, ``()`` where it does not tell."""
    return parse(str(page.rooted().data("/api/v1/status/buildinfo").get("version", "")))


def words(version: Version) -> str:
    """Return a version as people write it."""
    return ".".join(map(str, version))
