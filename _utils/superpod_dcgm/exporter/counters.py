"""
Reads a counters file as strictly as dcgm-exporter does: one row that it cannot read ends the program.

It reads with Go's encoding/csv: comments begin with ``#`` in the first column, quotes stand only around a whole field,
and of what surrounds a field only blanks go. A row is a name, a Prometheus type and a help text.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

TYPES = ("gauge", "counter", "histogram", "summary", "label")


@dataclass(frozen=True)
class Row:
    """A row of a counters file; ``line`` counts from 1."""

    line: int
    name: str
    type: str
    help: str


class _FormError(ValueError):
    """What Go's reader does not take: a sentence."""


def problems(text: str, known: Callable[[str], bool] | None = None, names: Collection[str] = ()) -> list[str]:
    """
    Return what is wrong with a counters file, one sentence each with the number of the line; nothing if it will do.

    :param text: its content.
    :param known: says whether the release has a field or counter of this name. None: names are not checked.
    :param names: names that may be meant by an unknown one.
    """
    found, wrong = _read(text)
    for row in found:
        wrong += [f"line {row.line}: {sentence}" for sentence in _of_row(row, known, names)]
    if not found and not wrong:
        return ["there is no row in it: /metrics would be empty"]
    return wrong


def rows(text: str) -> list[Row]:
    """Return the rows of a counters file that have the right form."""
    return _read(text)[0]


def _of_row(row: Row, known: Callable[[str], bool] | None, names: Collection[str]) -> Iterator[str]:
    if known and not known(row.name):
        near = difflib.get_close_matches(row.name, names, n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        yield f"{_shown(row.name)} is not a name that this release knows{meant}"
    if row.type not in TYPES:
        yield f"{_shown(row.type)} is no type of a metric; it must be one of {', '.join(TYPES)}"
    if "\n" in row.help:
        yield "the help text has more than one line, which would spoil the page"


def _shown(value: str) -> str:
    """Return what stands in the file, with a word on what cannot be seen."""
    return f"{value!r} (with a tab; only blanks may surround a field)" if "\t" in value else repr(value)


def _read(text: str) -> tuple[list[Row], list[str]]:
    found, wrong = list[Row](), list[str]()
    lines = enumerate((line[:-1] if line.endswith("\r") else line for line in text.split("\n")), 1)
    for number, line in lines:
        if line.startswith("#") or not line:
            continue
        try:
            name, kind, help_text = _three([field.strip(" ") for field in _fields(line, lines)])
            found.append(Row(number, name, kind, help_text))
        except _FormError as exc:
            wrong.append(f"line {number}: {exc}")
    return found, wrong


def _three(fields: list[str]) -> list[str]:
    if len(fields) == 3:
        return fields
    if fields == [""]:
        raise _FormError("it has only blanks, which count as a row of one field; leave it empty")
    commas = "; a help text with commas needs quotes, the first directly after the comma" if len(fields) > 3 else ""
    raise _FormError(f"it has {len(fields)} field{'s'[: len(fields) > 1]} and must have 3: name, type, help{commas}")


def _fields(line: str, following: Iterator[tuple[int, str]]) -> list[str]:
    """Return the fields of the record that begins with ``line``; in quotes it may go on in the lines that follow."""
    fields = []
    while True:
        if line.startswith('"'):
            field, line = _quoted(line[1:], following)
            comma, line = line[:1], line[1:]
        else:
            field, comma, line = line.partition(",")
            if '"' in field:
                raise _FormError("a quote within a field; quotes may only stand around a whole one, after its comma")
        fields.append(field)
        if not comma:
            return fields


def _quoted(line: str, following: Iterator[tuple[int, str]]) -> tuple[str, str]:
    """Return the content of a field after its first quote, and what stands behind its last one: a comma or nothing."""
    field = ""
    while True:
        text, quote, line = line.partition('"')
        field += text
        if not quote:
            try:
                field, line = field + "\n", next(following)[1]
            except StopIteration:
                raise _FormError("a quote is not closed") from None
        elif line.startswith('"'):
            field, line = field + '"', line[1:]
        elif line and line[0] != ",":
            raise _FormError("something stands between a closing quote and the next comma")
        else:
            return field, line
