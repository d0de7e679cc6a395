"""
Reads the kernel log from the journal: what came since the last time, each line once, for a bounded time.

This is ``journalctl -k``, by its match, so that the end of the boot before is read as well. The place in the journal is
a cursor, which need not be there any more: journalctl then goes on at the next entry, or all of the boot is read again.
What was told before is known by the kernel's own time and the text.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.agent import xid_lines
from superpod_dcgm.base import boot as this_boot
from superpod_dcgm.base import process

_JOURNALCTL = ["journalctl", "--quiet", "--no-pager", "--output=json", "_TRANSPORT=kernel"]
_TIME = "_SOURCE_MONOTONIC_TIMESTAMP"
_FIELDS = f"--output-fields=MESSAGE,{_TIME}"
# Of one tick: a line of the journal takes about 300 bytes.
_SECONDS = 5.0
_BYTES = 4 << 20
# A node that boots from an image lost its record with the last boot: what this boot said is news then.
_YOUNG_SECONDS = 600
# Lines that are known by their time and text; of older ones the time alone is compared.
_KNOWN = 500
_BOOT = re.compile(r"[0-9a-f]{32}", re.ASCII)
_CURSOR = re.compile(r"[0-9a-z=;]{1,400}", re.ASCII)
_MARK = re.compile(r"[0-9]{1,19}\.[0-9a-f]{1,8}", re.ASCII)
# Numbers in place of a text: journalctl's way to write what is no UTF-8, such as the name of a process.
_BINARY = re.compile(r'"MESSAGE"\s*:\s*\[')
_NOT_FOUND = "seek to cursor"
_EMPTY = "the journal has no message of the kernel of this boot; journald takes them with ReadKMsg=yes"

Ask = Callable[[list[str], float, int], process.Answer]


@dataclass
class Place:
    """
    Up to where the log was read: ``boot`` and ``cursor``, as journald writes them.

    ``floor``: what is not newer by the kernel's time (microseconds) was told. ``known``: what newer was told, too.
    ``any``: whether the journal had any message of this boot.
    """

    boot: str = ""
    cursor: str = ""
    floor: int = -1
    known: list[str] = field(default_factory=list)
    any: bool = False


@dataclass(frozen=True)
class Line:
    """One line, and when it was written (seconds since the epoch)."""

    text: str
    moment: float


@dataclass
class News:
    """
    Lines that may tell of XIDs.

    ``problem``: why not all could be read; ``final``: the next try says the same. ``behind``: there are more to read.
    ``none``: this machine has no kernel log, and never will.
    """

    lines: list[Line] = field(default_factory=list)
    problem: str = ""
    final: bool = False
    behind: bool = False
    none: bool = False


def stored(found: Any) -> Place:
    """Return the place that a record has; that of a damaged one is the beginning."""
    place = found if isinstance(found, dict) else {}
    boot, cursor, floor, known = (place.get(key) for key in ("boot", "cursor", "floor", "known"))
    if not (isinstance(boot, str) and _BOOT.fullmatch(boot) and isinstance(cursor, str) and isinstance(floor, int)):
        return Place()
    if cursor and not _CURSOR.fullmatch(cursor):
        return Place()
    if not isinstance(known, list) or not all(isinstance(one, str) and _MARK.fullmatch(one) for one in known):
        return Place()
    return Place(boot, cursor, floor, known, place.get("any") is True)


def read(place: Place, ask: Ask = process.run_bounded, uptime: float | None = None, boot: str = "") -> News:
    """
    Return what came since ``place``, and move it.

    :param ask: runs journalctl for so many seconds and bytes; tests give their own.
    :param uptime: seconds since the boot.
    :param boot: this boot, by default as the kernel calls it.
    """
    current, deadline = boot or this_boot.kernel_id(), time.monotonic() + _SECONDS
    news = News()
    if not _BOOT.fullmatch(current):
        news.problem = "the kernel does not tell which boot this is"
        return news
    if not place.boot:
        age = time.clock_gettime(time.CLOCK_BOOTTIME) if uptime is None else uptime
        _begin(place, current, ask, news, age < _YOUNG_SECONDS)
    elif place.boot != current and (_go_on(place, ask, deadline, news) or news.final):
        # All of the boot before was read, or it cannot be read.
        vars(place).update(vars(Place(current)))
    if place.boot == current and not news.problem and _go_on(place, ask, deadline, news) and not place.any:
        # The kernel of a container is that of its host, which has the messages.
        news.none = this_boot.in_container()
        news.problem = "" if news.none else _EMPTY
    return news


def _begin(place: Place, boot: str, ask: Ask, news: News, young: bool) -> None:
    """Where nothing is known of the past: what is in the journal is old, unless the machine has just booted."""
    if young:
        place.boot = boot
        return
    answer = ask([*_JOURNALCTL, f"_BOOT_ID={boot}", _FIELDS, "--lines=1"], _SECONDS, _BYTES)
    if answer.code != 0:
        news.problem = _why(answer)
        return
    place.boot = boot
    for entry in _entries(answer.output):
        place.cursor, place.floor, place.any = entry["__CURSOR"], _time(entry), True


def _go_on(place: Place, ask: Ask, deadline: float, news: News) -> bool:
    """Read a boot on, and return whether it was read to its end."""
    words = [*_JOURNALCTL, f"_BOOT_ID={place.boot}", _FIELDS]
    # From the entry itself: older versions leave out the next one where it is gone.
    answer = ask([*words, *([f"--cursor={place.cursor}"] if place.cursor else [])], deadline - time.monotonic(), _BYTES)
    if answer.code not in (0, None) and place.cursor and _NOT_FOUND in answer.error:
        place.cursor = ""
        answer = ask(words, deadline - time.monotonic(), _BYTES)
    before = place.cursor
    _take(place, answer, news)
    if answer.code == 0:
        return True
    # What takes longer than a tick, and gets on, is no trouble.
    news.behind = answer.cut or (answer.late and place.cursor != before)
    news.problem, news.final = "" if news.behind else _why(answer), answer.code is not None
    return False


def _why(answer: process.Answer) -> str:
    return f"journalctl {'is not installed' if answer.missing else answer.problem}"


def _take(place: Place, answer: process.Answer, news: News) -> None:
    # The last line of a program that was ended is a part.
    rows, known = answer.output.split("\n")[:-1], set(place.known)
    for entry in _entries("\n".join(row for row in rows if xid_lines.may_tell(row) or _BINARY.search(row))):
        mark = _mark(entry)
        if _moment(mark) > place.floor and mark not in known:
            known.add(mark)
            news.lines.append(Line(_text(entry), _number(entry, "__REALTIME_TIMESTAMP") / 1e6))
    _remember(place, known)
    for entry in _last(rows):
        place.cursor, place.any = entry["__CURSOR"], True


def _last(rows: list[str]) -> Iterator[dict[str, Any]]:
    for row in reversed(rows):
        for entry in _entries(row):
            yield entry
            return


def _entries(output: str) -> Iterator[dict[str, Any]]:
    for row in output.split("\n"):
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(row)
            if isinstance(entry, dict) and _CURSOR.fullmatch(str(entry.get("__CURSOR"))):
                yield entry


def _text(entry: dict[str, Any]) -> str:
    """The message, which journalctl writes as numbers where it is no text."""
    found = entry.get("MESSAGE")
    with contextlib.suppress(TypeError, ValueError):
        return bytes(found).decode("utf-8", "replace") if isinstance(found, list) else str(found)
    return ""


def _number(entry: dict[str, Any], key: str) -> int:
    found = str(entry.get(key, ""))
    return int(found) if found.isdecimal() and len(found) < 20 else 0


def _time(entry: dict[str, Any]) -> int:
    """When the kernel wrote it: another time for each line, and the same one if journald reads it again."""
    return _number(entry, _TIME if _TIME in entry else "__MONOTONIC_TIMESTAMP")


def _mark(entry: dict[str, Any]) -> str:
    """By what a line is known again."""
    return f"{_time(entry)}.{zlib.crc32(_text(entry).encode(errors='replace')):x}"


def _moment(mark: str) -> int:
    return int(mark.partition(".")[0])


def _remember(place: Place, known: set[str]) -> None:
    """Keep the newest lines, and of the others the time."""
    marks = sorted(known, key=_moment)
    place.known = marks[-_KNOWN:]
    for mark in marks[:-_KNOWN][-1:]:
        place.floor = max(place.floor, _moment(mark))
