"""Spans and moments, as people write and read them. All reckoning is in seconds since 1970."""

from __future__ import annotations

import re
from datetime import datetime

from superpod.errors import SuperpodError

_UNITS = {"y": 365 * 86400, "w": 7 * 86400, "d": 86400, "h": 3600, "m": 60, "s": 1}
_SPAN = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
MINUTE = 60
_FIRST, _LAST = 1971, 2999


def span(text: str) -> int:
    """
    Return the seconds of ``7d``, ``1d12h`` or ``90m``, as in Prometheus: a day has always 24 hours.

    :raises SuperpodError: it is none.
    """
    found = _SPAN.fullmatch(text)
    numbers = found.groups("0") if found else ("0",) * len(_UNITS)
    seconds = sum(int(number) * unit for number, unit in zip(numbers, _UNITS.values(), strict=True))
    if not 0 < seconds <= 100 * _UNITS["y"]:
        raise SuperpodError(f"{text!r} is no span of time; write 7d, 12h, 90m or 1d12h.", 2)
    return seconds


def moment(text: str, now: float) -> float:
    """
    Return the moment that is meant: a time of this machine's zone, one with an offset, or a span before now.

    :raises SuperpodError: it is none, it comes twice, or never.
    """
    if text == "now":
        return now
    try:
        found = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith("Z") else text)
    except ValueError:
        return now - _span_or_moment(text)
    if not _FIRST <= found.year <= _LAST:
        raise SuperpodError(f"{text!r}: the year should be from {_FIRST} to {_LAST}.", 2)
    return found.timestamp() if found.tzinfo else _local(found, text)


def _span_or_moment(text: str) -> int:
    try:
        return span(text)
    except SuperpodError as error:
        example = "7d, 2026-11-20, 2026-11-20T08:00 or 2026-11-20T08:00+01:00"
        raise SuperpodError(f"{text!r} is no time; write {example}.", 2) from error


def _local(found: datetime, text: str) -> float:
    """Return a time of this machine's zone; when clocks are set, an hour comes twice or never."""
    first, second = found.replace(fold=0).astimezone(), found.replace(fold=1).astimezone()
    if first.utcoffset() == second.utcoffset():
        return first.timestamp()
    offsets = " or ".join(f"{text}{one.isoformat()[-6:]}" for one in (first, second))
    how_often = "comes twice" if first.replace(tzinfo=None) == found else "does not exist"
    raise SuperpodError(f"{text} {how_often} here, where clocks are set: write {offsets}.", 2)


def show(at: float, seconds: bool = False) -> str:
    """Return a moment in this machine's zone, which is named."""
    return f"{short(at, seconds)} {_zone(datetime.fromtimestamp(at).astimezone())}"


def short(at: float, seconds: bool = False) -> str:
    """Return a moment without its zone."""
    return f"{datetime.fromtimestamp(at):{'%Y-%m-%d %H:%M:%S' if seconds else '%Y-%m-%d %H:%M'}}"


def _zone(at: datetime) -> str:
    # Names such as CST are of several zones.
    name, offset = at.tzname() or "", f"{at:%z}"
    return "UTC" if offset == "+0000" else f"{name} ({offset[:3]}:{offset[3:5]})"


def between(begin: float, end: float) -> str:
    """Return a time from one moment to another: the day is said twice only where it is another."""
    first, last = show(begin), show(end)
    same_zone = first[17:] == last[17:]
    until = last[11:] if first[:10] == last[:10] else last
    return f"{first[:16] if same_zone else first} to {until}"


def lasting(seconds: float) -> str:
    """Return a span in words: its two largest units."""
    left, parts = max(0, round(seconds)), list[str]()
    for name, unit in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        if left >= unit and (name != "s" or not parts):
            parts.append(f"{left // unit} {name}")
        left %= unit
    return " ".join(parts[:2]) or "0 s"
