"""What a report of uses makes of hours: what is possible, known, and waste."""

from __future__ import annotations

import csv
import io

import pytest

from superpod.reports import usage_page, usage_text
from superpod.reports.usage import Capacity, Report, Use


@pytest.mark.parametrize(
    ("use", "coverage", "waste"),
    [
        # The first minute of each job is of the one before.
        (Use("a", held=10, first=1, measured=9, idle=3), 1.0, 3),
        # Jobs that began before have no first minute here.
        (Use("a", held=10, first=1, measured=10, idle=3), 1.0, 3),
        (Use("a", held=10, first=0, measured=8.9, idle=3), 0.89, None),
        (Use("a", held=10, measured=0, idle=0), 0.0, None),
        (Use("a", held=1 / 60, first=1 / 60), None, None),
    ],
)
def test_waste_is_told_where_enough_is_known(use: Use, coverage: float | None, waste: float | None) -> None:
    assert use.coverage == (None if coverage is None else pytest.approx(coverage)) and use.waste == waste


def report(*uses: Use, recorded: float = 1.0, level: str = "user") -> Report:
    return Report(level, 1_800_000_000, 1_800_604_800, {}, 1_800_700_000, [*uses], [Capacity("a", 100, recorded)])


GOOD = Use("a", {"user": "ada"}, held=10, measured=10, used=5, idle=1, energy=3.6e6, jobs=2)
BLIND = Use("a", {"user": "=bob"}, held=10, measured=5, used=5, idle=0, jobs=1)


def test_it_is_complete_only_if_use_and_time_are_known() -> None:
    assert report(GOOD).complete and report(GOOD).notes() == []
    assert not report(GOOD, BLIND).complete and not report(GOOD, recorded=0.5).complete
    assert report(GOOD, recorded=0.5).notes() == [
        "Cluster a: 3 d 12 h of 7 d are recorded; of the rest nothing is known."
    ]
    assert report(GOOD, BLIND).notes() == [
        "The use of 5 GPU hours that were held is not known.",
        "Idle hours are told only where 90 % of the time are known.",
    ]


def test_the_total_adds_up() -> None:
    total = report(GOOD, BLIND).total
    assert (total.held, total.used, total.energy, total.jobs, total.coverage) == (20, 10, 3.6e6, 3, 0.75)
    assert (total.utilization, total.waste) == (pytest.approx(10 / 15), None)


def test_what_is_not_known_is_a_dash_null_and_an_empty_field() -> None:
    shown = report(GOOD, BLIND)
    line = next(line for line in usage_text.lines(shown, 20) if "=bob" in line)
    assert line.split() == ["=bob", "10", "5", "\u2013", "100", "%", "50", "%", "\u2013", "1"]
    rows = list(csv.DictReader(io.StringIO(usage_text.as_csv(shown))))
    assert (rows[1]["gpu_hours_idle"], rows[1]["energy_joules"], rows[0]["gpu_hours_idle"]) == ("", "", "1")
    assert rows[0]["begin"] == "1800000000"
    found = usage_text.as_json(shown, "x", ["partly"])
    assert found["generated"] == "2027-01-23T10:26:40+00:00" and found["end"] == 1_800_604_800
    assert found["rows"][1]["gpu_hours_idle"] is None and not found["complete"] and found["notes"][-1] == "partly"


def test_rows_that_are_not_shown_are_counted() -> None:
    uses = [Use("a", {"user": f"u{n}"}, held=1, measured=1, used=1) for n in range(30)]
    lines = list(usage_text.lines(report(*uses), 20))
    assert "  10 more: --rows 0 shows all, as do --csv, --json and --html." in lines
    assert sum(line.startswith("  u") for line in usage_text.lines(report(*uses), 0)) == 30


def test_a_page_has_all_rows_and_names_as_they_are() -> None:
    uses = [Use("a", {"user": f"<u{n}>"}, held=1, measured=1, used=1) for n in range(40)]
    page = usage_page.page_of(report(*uses), "http://x", ["a store is away"])
    assert page.count("&lt;u39&gt;") == 1 and "<u" not in page and "a store is away" in page
    assert page.count("<title>used") == 30 and "the 30 with most" in page
