"""What is known of dcgm-exporter releases: the only reader of compatibility.yaml."""

from __future__ import annotations

import re
from typing import Any


def version(text: str) -> tuple[int, ...]:
    """
    Return the exporter's own version in a release tag: the part after the dash where DCGM's stands before it.

    Tags carry the exporter version only from 4.8.4 on: ``4.5.3-4.8.2`` and ``4.8.2`` are the same exporter.
    """
    numbers = re.findall(r"\d+\.\d+\.\d+", text)
    return tuple(int(part) for part in numbers[-1].split(".")) if numbers else ()


def facts(release: str, compatibility: dict[str, Any]) -> dict[str, Any]:
    """
    Return what compatibility.yaml says of ``release``, and ``known``: whether it is listed.

    A release that is not listed behaves as the newest listed one before it; its commit is not known.

    :raises ValueError: it is older than every listed release.
    """
    releases: dict[str, dict[str, Any]] = compatibility["releases"]
    if release in releases:
        return {**releases[release], "known": True}
    older = [name for name in releases if version(name) <= version(release)]
    if not older:
        oldest = min(releases, key=version)
        raise ValueError(f"{release!r} is older than {oldest}, the first release with job mapping")
    return {**releases[max(older, key=version)], "commit": "", "known": False}
