"""The report of uses as text, CSV and JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from superpod.reports.text import UNKNOWN, folded, kilowatt_hours, number, percent, table
from superpod.reports.times import between, lasting
from superpod.reports.usage import LEVELS, Report, Use

SCHEMA = 1
_TITLES = {"user": "USER", "account": "ACCOUNT", "partition": "PARTITION", "hpc_job": "JOB"}
NUMBERS = ("HELD", "USED", "IDLE", "MEAN", "KNOWN", "ENERGY", "JOBS")
CSV = ("gpu_hours_held", "gpu_hours_measured", "gpu_hours_used", "gpu_hours_idle", "utilization_ratio")


def lines(report: Report, most: int) -> Iterator[str]:
    """Return the report; ``most`` are the rows that are shown, 0: all."""
    yield f"#{title(report)}"
    yield f"  {span(report)}"
    for text in capacity(report):
        yield f"  {text}"
    yield ""
    shown = report.uses[:most] if most else report.uses
    clusters = len({one.cluster for one in report.uses}) > 1
    rows = [cells(one, clusters) for one in shown]
    if len(report.uses) > 1:
        left = len(header(report, clusters)) - len(NUMBERS)
        rows.append(("all", *[""] * (left - 1), *_numbers(report.total)))
    left = len(header(report, clusters)) - len(NUMBERS)
    yield from ("  " + line for line in table(header(report, clusters), rows, left))
    if len(shown) < len(report.uses):
        yield f"  {len(report.uses) - len(shown)} more: --rows 0 shows all, as do --csv, --json and --html."
    yield ""
    yield from folded("HELD, USED and IDLE are GPU hours; IDLE are those held and not used. MEAN is", "  ")
    yield from folded("the utilization of what is KNOWN of the time held.", "  ")
    for note in report.notes():
        yield from (f"!{line}" for line in folded(note, "  "))


def title(report: Report) -> str:
    """Return what the report is of."""
    who = ", ".join(f"{name} {value}" for name, value in report.filters.items())
    return f"Use of GPUs by {report.level}" + (f": {who}" if who else "")


def span(report: Report) -> str:
    """Return of which time it is."""
    return f"{between(report.begin, report.end)} ({lasting(report.end - report.begin)})"


def capacity(report: Report) -> Iterator[str]:
    """Return, where all jobs are counted, how much of each cluster was held and used."""
    if set(report.filters) - {"cluster"}:
        return
    for one in report.capacities:
        mine = [use for use in report.uses if use.cluster == one.cluster]
        held, used = sum(use.held for use in mine), sum(use.used for use in mine)
        shares = [percent(hours / one.hours) if one.hours else UNKNOWN for hours in (held, used)]
        name = one.cluster or "(no cluster)"
        yield f"{name}: {number(one.hours)} GPU hours were there, {shares[0]} held, {shares[1]} used"


def header(report: Report, clusters: bool) -> tuple[str, ...]:
    """Return the titles of the columns."""
    names = [_TITLES[label] for label in shown_labels(report.level)]
    return (*(["CLUSTER"] if clusters or not names else []), *names, *NUMBERS)


def shown_labels(level: str) -> tuple[str, ...]:
    """Return the labels that are shown as text: of a job, whose it is."""
    return ("hpc_job", "user") if level == "job" else LEVELS[level]


NAMES = ("hpc_job", "user", "account", "partition")


def cells(one: Use, clusters: bool) -> tuple[str, ...]:
    """Return one row."""
    names = [one.labels[label] or UNKNOWN for label in NAMES if label in one.labels]
    names = names[:2] if "hpc_job" in one.labels else names
    return (*([one.cluster] if clusters or not names else []), *names, *_numbers(one))


def _numbers(one: Use) -> tuple[str, ...]:
    hours = (number(one.held), number(one.used if one.measured else None), number(one.waste))
    return (*hours, percent(one.utilization), percent(one.coverage), kilowatt_hours(one.energy), str(int(one.jobs)))


def as_csv(report: Report) -> str:
    """Return it as CSV; what is not known is empty."""
    found = io.StringIO()
    labels = LEVELS[report.level]
    writer = csv.writer(found, lineterminator="\n")
    names = ["job" if label == "hpc_job" else label for label in labels]
    writer.writerow(["cluster", *names, *CSV, "coverage", "energy_joules", "jobs", "begin", "end"])
    for one in report.uses:
        values = _values(one)
        every = [values[name] for name in (*CSV, "coverage", "energy_joules", "jobs")]
        texts = ["" if value is None else f"{value:.10g}" for value in every]
        writer.writerow([one.cluster, *one.labels.values(), *texts, round(report.begin), round(report.end)])
    return found.getvalue()


def _values(one: Use) -> dict[str, float | None]:
    return {
        **{"gpu_hours_held": one.held, "gpu_hours_measured": one.measured},
        **{"gpu_hours_used": one.used if one.measured else None, "gpu_hours_idle": one.waste},
        **{"utilization_ratio": one.utilization, "coverage": one.coverage},
        **{"energy_joules": one.energy, "jobs": int(one.jobs)},
    }


def as_json(report: Report, source: str, warnings: list[str]) -> dict[str, Any]:
    """Return it for programs; what is not known is null."""
    return {
        **{"schema": SCHEMA, "by": report.level, "begin": report.begin, "end": report.end, "source": source},
        "generated": datetime.fromtimestamp(report.asked, timezone.utc).isoformat(timespec="seconds"),
        "filters": report.filters,
        "complete": report.complete and not warnings,
        "clusters": [
            {"cluster": one.cluster, "gpu_hours_present": one.hours, "recorded_ratio": one.recorded}
            for one in report.capacities
        ],
        "rows": [{"cluster": one.cluster, **_named(one), **_values(one)} for one in report.uses],
        "total": _values(report.total),
        "notes": [*report.notes(), *warnings],
    }


def _named(one: Use) -> dict[str, str]:
    return {("job" if label == "hpc_job" else label): value for label, value in one.labels.items()}
