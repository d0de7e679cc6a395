"""Numbers, bars and tables as text: in 80 columns, and in ASCII where nothing else can be shown."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

from rich.text import Text

from superpod import ui
from superpod.errors import SuperpodError

WIDTH = 80
# Names that are said of many.
_NAMED = 6
BARS = "▁▂▃▄▅▆▇█"
UNKNOWN = "\u2013"
_ASCII = str.maketrans({UNKNOWN: "-", "·": "|", "…": "~", "°": "", **dict(zip(BARS, "_.-=+*#@", strict=True))})


def percent(ratio: float | None) -> str:
    """Return ``97 %``; what is not nothing is never shown as 0, nor what is not all as 100."""
    if ratio is None:
        return UNKNOWN
    if 0 < ratio < 0.01:
        return "<1 %"
    if 0.99 < ratio < 0.9999:
        return ">99 %"
    return f"{ratio * 100:.0f} %"


def amount(value: float | None, unit: str, base: int = 1000) -> str:
    """Return a value with its unit and prefix: ``1.2 kW``, ``40 GiB``."""
    if value is None:
        return UNKNOWN
    prefixes = ("", "Ki", "Mi", "Gi", "Ti", "Pi") if base == 1024 else ("", "k", "M", "G", "T", "P")
    step = 0
    while abs(value) >= base * 0.9995 and step < len(prefixes) - 1:
        value, step = value / base, step + 1
    return f"{number(value)} {prefixes[step]}{unit}"


def number(value: float | None) -> str:
    """Return a number with three digits where it is small, and all where it is large."""
    if value is None:
        return UNKNOWN
    if value == 0 or abs(value) >= 99.95:
        return f"{value:,.0f}"
    digits = 1 if abs(value) >= 9.995 else 2
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def kilowatt_hours(joules: float | None) -> str:
    """Return energy as people pay for it."""
    return UNKNOWN if joules is None else amount(joules / 3600, "Wh")


def sparkline(values: Sequence[float | None], highest: float, width: int = 40) -> str:
    """Return a line of bars; where nothing is known it is blank."""
    groups = [values[len(values) * n // width : len(values) * (n + 1) // width] for n in range(width)]
    return "".join(_bar(group, highest) for group in (groups if len(values) > width else [[one] for one in values]))


def _bar(group: Sequence[float | None], highest: float) -> str:
    known = [one for one in group if one is not None]
    if not known:
        return " "
    part = sum(known) / len(known) / highest if highest else 0
    return BARS[max(0, min(len(BARS) - 1, int(part * len(BARS))))]


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> list[str]:
    """Return a table: its first ``left`` columns begin at the left, numbers end at the right."""
    every = [header, *rows]
    widths = [max(len(row[column]) for row in every) for column in range(len(header))]
    lines = []
    for row in every:
        pairs = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if column < left else cell.rjust(width) for column, (cell, width) in pairs]
        lines.append("  ".join(cells).rstrip())
    return lines


def folded(text: str, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return a sentence in lines of 80 columns; words are never cut."""
    lines, now = [], ""
    for word in text.split(" "):
        if now and len(indent) + len(now) + 1 + len(word) > width:
            lines.append(indent + now)
            now = word
        else:
            now = f"{now} {word}" if now else word
    return [*lines, indent + now]


def show(lines: Iterable[str]) -> None:
    """Print lines; one that begins with ``#`` is a heading, and one with ``!`` tells that something is not well."""
    with printing():
        for line in lines:
            style = {"#": "bold", "!": "yellow"}.get(line[:1], "")
            shown = fitting(line[1:] if style else line)
            ui.out.print(Text(shown, style=style), no_wrap=True, overflow="ignore", crop=False)


@contextlib.contextmanager
def printing() -> Iterator[None]:
    """
    Turn what goes wrong with the output into a sentence; a reader who has seen enough is none of it.

    :raises SuperpodError: it cannot be printed, as on a full disk.
    """
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        # What is left would be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SuperpodError(f"The report cannot be printed: {error.strerror}.") from error


def fitting(text: str) -> str:
    """Return a text in letters that the terminal has."""
    # A job's name may hold what a terminal would obey.
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text
