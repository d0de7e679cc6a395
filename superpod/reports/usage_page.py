"""The report of uses as one page."""

from __future__ import annotations

from superpod.reports import charts, page, usage_text
from superpod.reports.text import UNKNOWN, number
from superpod.reports.times import show
from superpod.reports.usage import Report, Use

_BARS = 30


def page_of(report: Report, source: str, warnings: list[str]) -> str:
    """Return the page."""
    clusters = len({one.cluster for one in report.uses}) > 1
    header = [text.capitalize() for text in usage_text.header(report, clusters)]
    bars = [_bar(one, clusters) for one in report.uses[:_BARS]]
    rows = [usage_text.cells(one, clusters) for one in report.uses]
    parts = [
        page.note(f"{usage_text.span(report)}; {source}, {show(report.asked)}"),
        *(page.note(text) for text in usage_text.capacity(report)),
        *(page.note(text, "warn") for text in [*report.notes(), *warnings]),
        page.heading(f"GPU hours held{_most(report)}"),
        charts.bars("GPU hours", bars, number),
        page.keys({"used": "used", "bar": "held, the rest", "none": "not known", "idle": "idle"}),
        page.heading("In numbers"),
        page.table(header, rows, left=len(header) - len(usage_text.NUMBERS)),
    ]
    return page.page(usage_text.title(report), parts)


def _bar(one: Use, clusters: bool) -> tuple[str, float, float, float, float]:
    return _name(one, clusters), one.held, one.used, max(0.0, one.possible - one.measured), one.waste or 0.0


def _most(report: Report) -> str:
    return f": the {_BARS} with most" if len(report.uses) > _BARS else ""


def _name(one: Use, clusters: bool) -> str:
    names = [one.labels[label] for label in usage_text.NAMES if label in one.labels][:2]
    return " ".join([one.cluster] * clusters + names).strip() or one.cluster or UNKNOWN
