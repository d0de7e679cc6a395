"""Charts as SVG that stands in a page: a line over time, a field of cells, bars. Colours are the page's."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from html import escape

from superpod.reports.times import short

WIDTH = 900
_LEFT, _TOP, _BOTTOM, _HEIGHT = 70, 10, 22, 170
_POINTS = 600
# How wide a letter is, and names may be.
_LETTER, _WIDEST = 6.6, 400
# Of what is less than that, nobody sees a colour.
_IDLE = 0.01
_KINDS = {"bar": "held", "used": "used", "none": "not known", "idle": "idle"}
Values = Sequence[float | None]
Form = Callable[[float | None], str]


def line(title: str, values: Values, span: tuple[float, float], form: Form, highest: float | None = None) -> str:
    """
    Return a line over time; where nothing is known there is none.

    :param highest: the top of the scale; by default the highest value.
    """
    values = _thinned(values)
    most = highest or _round(max((one for one in values if one is not None), default=0))
    bottom, step = _HEIGHT - _BOTTOM, (WIDTH - _LEFT - 10) / max(1, len(values) - 1)

    def point(place: int, value: float) -> str:
        return f"{_LEFT + place * step:.1f},{bottom - (bottom - _TOP) * min(1, value / most):.1f}"

    drawn = []
    for part in _known(values):
        points = [point(place, value) for place, value in part]
        edge = [f"{points[-1].split(',')[0]},{bottom}", f"{points[0].split(',')[0]},{bottom}"]
        drawn.append(f'<polygon class="area" points="{" ".join([*points, *edge])}"/>')
        # A single value is a line too short to be seen.
        again = [*points, f"{float(points[0].split(',')[0]) + 2:.1f},{points[0].split(',')[1]}"][: max(2, len(points))]
        drawn.append(f'<polyline class="line" points="{" ".join(again)}"/>')
    scale = [_level(_TOP + (bottom - _TOP) * (1 - part), form(most * part)) for part in (0, 0.5, 1)]
    return _svg(title, _HEIGHT, [*scale, *drawn, *_times(span, _HEIGHT)])


def _round(value: float) -> float:
    """Return a value from there on that has few digits, and half of it too."""
    power: float = 10.0 ** math.floor(math.log10(value)) if value > 0 else 1.0
    return next((part * power for part in (1, 2, 4, 6, 8) if part * power >= value), 10 * power)


def _known(values: Values) -> list[list[tuple[int, float]]]:
    found: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            found.append([])
        else:
            found[-1].append((place, value))
    return [part for part in found if part]


def _thinned(values: Values) -> Values:
    """Return no more values than can be seen: means of some that follow each other."""
    if len(values) <= _POINTS:
        return values
    return [_mean(values[len(values) * n // _POINTS : len(values) * (n + 1) // _POINTS]) for n in range(_POINTS)]


def _mean(values: Values) -> float | None:
    known = [one for one in values if one is not None]
    return sum(known) / len(known) if known else None


def _level(height: float, text: str) -> str:
    rule = f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - 10}" y1="{height:.1f}" y2="{height:.1f}"/>'
    return f'{rule}<text x="{_LEFT - 6}" y="{height + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _times(span: tuple[float, float], height: float, left: float = _LEFT) -> list[str]:
    first, last = span
    anchors = (("start", 0.0), ("middle", 0.5), ("end", 1.0))
    found = []
    for anchor, part in anchors:
        where = f'x="{left + (WIDTH - left - 10) * part:.0f}" y="{height - 6}" text-anchor="{anchor}"'
        found.append(f"<text {where}>{short(first + (last - first) * part)}</text>")
    return found


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    inner = f"<title>{escape(title)}</title>{''.join(parts)}"
    found = f'<svg role="img" viewBox="0 0 {WIDTH} {height:.0f}" aria-label="{escape(title)}">{inner}</svg>'
    # In a narrow window it is moved, and not made so small that nobody can read it.
    return f'<div class="scroll">{found}</div>'


def field(title: str, rows: Sequence[tuple[str, Values]], span: tuple[float, float], form: Form) -> str:
    """Return a row of cells for each name, the fuller the higher the value (0 to 1); idle and unknown stand out."""
    left, tall = _names(name for name, _ in rows), max(6, min(16, 640 // max(1, len(rows))))
    height = _TOP + tall * len(rows) + _BOTTOM
    # Where rows are lower than letters, some have a name: one can count from there.
    parts, named = [], 1 if tall >= 10 else 2 * -(-10 // tall)
    for place, (name, values) in enumerate(rows):
        top, wide = _TOP + place * tall, (WIDTH - left - 10) / max(1, len(values))
        if place % named == 0:
            line = top + (tall - 3 if named == 1 else 8)
            parts.append(f'<text x="{left - 6:.0f}" y="{line}" text-anchor="end">{escape(name)}</text>')
        cells = (_cell(left + n * wide, top, wide, tall, value) for n, value in enumerate(values))
        known = _mean(values)
        parts.append(f"<g><title>{escape(name)}: {escape(form(known))}</title>{''.join(cells)}</g>")
    return _svg(title, height, [*parts, *_times(span, height, left)])


def _names(names: Iterable[str]) -> float:
    """Return the room that names need at the left."""
    return min(_WIDEST, max(_LEFT, 12 + _LETTER * max(map(len, names), default=0)))


def _cell(left: float, top: float, wide: float, tall: float, value: float | None) -> str:
    where = f'x="{left:.2f}" y="{top}" width="{wide:.2f}" height="{tall - (tall >= 10):.1f}"'
    if value is None:
        return f'<rect class="none" {where}/>'
    if value < _IDLE:
        return f'<rect class="idle" {where}/>'
    return f'<rect class="cell" opacity="{0.15 + 0.85 * min(1, value):.2f}" {where}/>'


def bars(title: str, rows: Sequence[tuple[str, float, float, float, float]], form: Form) -> str:
    """Return a bar for each name: all of it, of which a part was used, a part is not known, and a part is waste."""
    left, tall = _names(name for name, *_ in rows), 20
    most = max((whole for _, whole, *_ in rows), default=0) or 1
    scale = (WIDTH - left - 90) / most
    parts = []
    for place, (name, whole, used, unknown, idle) in enumerate(rows):
        top = _TOP + place * tall
        parts.append(f'<text x="{left - 6:.0f}" y="{top + 13}" text-anchor="end">{escape(name)}</text>')
        lengths = {"bar": (0.0, whole), "used": (0.0, used), "none": (whole - idle - unknown, unknown)}
        for kind, (begin, length) in {**lengths, "idle": (whole - idle, idle)}.items():
            where = f'x="{left + begin * scale:.1f}" y="{top + 2}" width="{length * scale:.1f}" height="{tall - 6}"'
            parts.append(f'<rect class="{kind}" {where}><title>{_KINDS[kind]}: {escape(form(length))}</title></rect>')
        parts.append(f'<text x="{left + whole * scale + 6:.1f}" y="{top + 13}">{escape(form(whole))}</text>')
    return _svg(title, _TOP * 2 + tall * len(rows), parts)
