"""Which rows a release's counters file gets beyond its own, and what a site's own file may have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superpod_dcgm.config import field_names, releases
from superpod_dcgm.exporter import counters as reader
from superpod_dcgm.monitoring import metric_names

# What exporter:counters may be besides a file; empty is the first.
DEFAULT, EXTENDED = "default", "extended"


def rows(exporter: dict[str, Any], compatibility: dict[str, Any]) -> list[str]:
    """
    Return what is added to the counters file: the rows of ``extended`` that the release knows, and the site's own.

    :param exporter: the section ``exporter`` with its ``facts``.
    """
    found = []
    if exporter["counters"] == EXTENDED:
        facts = exporter["facts"]
        like = releases.version(facts["assumed"] or exporter["release"])
        new = renamed(facts)
        for row in compatibility["counters"]:
            name = new.get(row["name"], row["name"])
            if name and releases.version(row.get("since", "")) <= like:
                found.append(f"{name}, {row['type']}, {row['help']}")
    return [*found, *exporter["counter_rows"]]


def renamed(facts: dict[str, Any]) -> dict[str, str]:
    """Return the new names that the release's metric schema has for old ones; empty: one that is not known."""
    return metric_names.renamed() if facts["metrics"] == metric_names.NEW else {}


def names(release: str, facts: dict[str, Any], fields: dict[str, Any]) -> frozenset[str]:
    """Return the names that ``release`` is known to have; none where its source was not read: then all are allowed."""
    if facts["inferred"] or (facts["assumed"] and releases.version(facts["assumed"]) != releases.version(release)):
        return frozenset()
    return field_names.known(release, fields)


def problems(exporter: dict[str, Any], fields: dict[str, Any], read: Callable[[str], str | None]) -> list[str]:
    """
    Return what is wrong with the site's own counters file and rows, one sentence each.

    :param exporter: the section ``exporter`` of the configuration.
    :param fields: the content of fields.yaml.
    :param read: returns the text of a file that the master serves, by its salt:// address; None where there is none.
    """
    there, own = names(exporter["release"], exporter["facts"], fields), exporter["counters"]
    known = there.__contains__ if there else None
    found = []
    # A path is one on the nodes.
    if own.startswith("salt://"):
        text = read(own)
        wrong = ["this master does not serve it"] if text is None else reader.problems(text, known, there)
        found += [f"dcgm:exporter:counters: {own}: {sentence}" for sentence in wrong]
    for place, row in enumerate(exporter["counter_rows"]):
        wrong = [sentence.removeprefix("line 1: ") for sentence in reader.problems(row, known, there)]
        found += [f"dcgm:exporter:counter_rows[{place}]: {sentence}" for sentence in wrong]
    return found


def errors(counter_rows: list[str]) -> list[str]:
    """Return what is wrong with the form of the pillar's own rows, one sentence each."""
    found = []
    for place, row in enumerate(counter_rows):
        wrong = ["it has more than one line"] if "\n" in row else reader.problems(row)
        # There is one line only.
        found += [f"dcgm:exporter:counter_rows[{place}]: {text.removeprefix('line 1: ')}" for text in wrong]
    return found
