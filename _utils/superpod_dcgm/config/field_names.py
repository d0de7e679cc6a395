"""Which names a counters file of a release may have: the only reader of fields.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from superpod_dcgm.config import releases


def known(release: str, fields: dict[str, Any]) -> frozenset[str]:
    """
    Return the names that ``release`` knows, fields of DCGM and counters of the exporter's own.

    :param release: a listed one; that of an unlisted one is what ``releases.facts`` calls ``assumed``.
    :param fields: the content of fields.yaml.
    """
    found: set[str] = set()
    for tag in sorted({*fields["new"], *fields["gone"]}, key=releases.version):
        if releases.version(tag) <= releases.version(release):
            found -= set(_names(fields["gone"].get(tag, {})))
            found |= set(_names(fields["new"].get(tag, {})))
    return frozenset(found)


def _names(by_beginning: dict[str, str]) -> Iterator[str]:
    for beginning, ends in by_beginning.items():
        for end in ends.split():
            yield from (beginning + name for name in _numbered(end))


def _numbered(text: str) -> list[str]:
    """Return ``L[0-2]_X`` as ``L0_X``, ``L1_X``, ``L2_X``."""
    found = re.fullmatch(r"(.*)\[(\d+)-(\d+)\](.*)", text)
    if not found:
        return [text]
    before, first, last, after = found.groups()
    return [f"{before}{number}{after}" for number in range(int(first), int(last) + 1)]
