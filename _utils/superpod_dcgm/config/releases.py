"""What is known of dcgm-exporter releases: the only reader of compatibility.yaml."""

from __future__ import annotations

import re
from typing import Any

_UNKNOWN = {"commit": "", "go": "", "go_minimum": "", "inferred": False}


def version(text: str) -> tuple[int, ...]:
    """
    Return the exporter's own version in a release tag: the part after the dash where DCGM's stands before it.

    Tags carry the exporter version only from 4.8.4 on: ``4.5.3-4.8.2`` and ``4.8.2`` are the same exporter.
    """
    numbers = re.findall(r"\d+\.\d+\.\d+", text)
    return tuple(int(part) for part in numbers[-1].split(".")) if numbers else ()


def facts(release: str, compatibility: dict[str, Any]) -> dict[str, Any]:
    """
    Return what compatibility.yaml says of ``release``: the keys of its releases and of its behaviour.

    ``known`` is whether it is listed. For one that is not, ``assumed`` names the newest listed release before it, whose
    behaviour it is taken to have; its commit is not known, nor its Go unless it is the same exporter (a fork, a rebuild
    for another DCGM). For a listed one ``assumed`` is empty.

    :raises ValueError: it is older than every listed release.
    """
    releases: dict[str, dict[str, Any]] = compatibility["releases"]
    listed = release if release in releases else _before(release, releases)
    entry = {"dcgm": _dcgm(release), **_UNKNOWN, **releases[listed]}
    if listed != release:
        entry.update(commit="", dcgm=_dcgm(release))
        if version(listed) != version(release):
            entry.update(go="", go_minimum="")
    return {
        **entry,
        **{name: _since(values, listed) for name, values in compatibility["behaviour"].items()},
        "known": listed == release,
        "assumed": "" if listed == release else listed,
    }


def table(compatibility: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the facts of all listed releases, with the architectures whose SHA-256 of Go is known (``go_sha256``)."""
    return {
        release: {**found, "go_sha256": sorted(compatibility["go"].get(found["go"], {}))}
        for release, found in ((release, facts(release, compatibility)) for release in compatibility["releases"])
    }


def notice(release: str, found: dict[str, Any]) -> str:
    """
    Return in a sentence what is assumed of ``release``; nothing where its source was read.

    :param found: its ``facts``.
    """
    if found["assumed"]:
        return (
            f"dcgm-exporter {release} is not in compatibility.yaml: it is taken to read job map and counters, "
            f"and to need of DCGM and driver, what {found['assumed']} does (docs/compatibility.md)"
        )
    if found["inferred"]:
        return (
            f"what is known of dcgm-exporter {release} comes from release notes, its source was never read "
            "(docs/compatibility.md)"
        )
    return ""


def _before(release: str, releases: dict[str, dict[str, Any]]) -> str:
    older = [name for name in releases if version(name) <= version(release)]
    if not older:
        oldest = min(releases, key=version)
        raise ValueError(f"{release!r} is older than {oldest}, the first release with job mapping")
    return max(older, key=version)


def _dcgm(release: str) -> str:
    """Return the version of DCGM that a tag begins with, or ``""``."""
    numbers = re.findall(r"\d+\.\d+\.\d+", release)
    return numbers[0] if len(numbers) > 1 else ""


def _since(values: dict[str, Any], release: str) -> Any:
    """Return the value that holds for ``release``, of values by the release from which each holds."""
    return values[max((name for name in values if version(name) <= version(release)), key=version)]
