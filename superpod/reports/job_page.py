"""A job's report as one page with charts."""

from __future__ import annotations

from superpod.reports import charts, devices, hints, job_text, page
from superpod.reports.devices import Device, Try
from superpod.reports.held import Minutes
from superpod.reports.job import IDLE, MEASURED, MEMORY, POWER, Job
from superpod.reports.prometheus import Client, Series
from superpod.reports.text import amount, number, percent
from superpod.reports.times import MINUTE, show

# Devices that have a row of their own, and cells of a row.
_ROWS, _CELLS = 64, 120
_HEADER = ("Node", "GPU", "Used", "Peak", "Idle", "Memory", "of", "Power", "Tensor", "DRAM", "Known")
# Rows of the table of devices.
_TABLE = 256


def page_of(client: Client, job: Job) -> str:
    """
    Return the page.

    :raises SuperpodError: the server does not answer.
    """
    name = job.record.name if job.record else ""
    found = [(one.text, one.rule) for one in hints.collect(job)]
    parts = [
        page.note(f"{client.server.address}, {show(job.now)}"),
        page.facts(job_text.facts(job, bars=False)),
        *([page.heading("Hints"), page.hints(found)] if found else []),
        *(page.note(text, "warn") for text in [*job.notes, *client.warnings]),
        *_tries(job),
        *_field(client, job),
        *_charts(job),
        *_table(job),
    ]
    return page.page(f"Job {job.id} {name}".strip(), parts)


def _tries(job: Job) -> list[str]:
    if len(job.attempts) < 2:
        return []
    return [page.heading("Tries"), page.table(("", "Time", "Nodes", "State"), job_text.tries(job), left=4)]


def _span(job: Job) -> tuple[float, float]:
    return job.run.begin, job.run.end


def _charts(job: Job) -> list[str]:
    span = _span(job)
    # Where nothing was measured, 0 of idle GPUs means nothing.
    measured = job.run.records[MEASURED]
    idle: Minutes = {minute: value * 60 for minute, value in job.run.records[IDLE].items() if measured.get(minute)}
    memory = [one.capacity for one in job.devices if one.capacity is not None]
    whole = sum(memory) if len(memory) == len(job.devices) else None
    every = {
        "Utilization, mean of all GPUs": (job.utilizations, percent, 1.0),
        "Memory": (job.run.records[MEMORY], lambda value: amount(value, "B", 1024), whole),
        "Power": (job.run.records[POWER], lambda value: amount(value, "W"), None),
        "Idle GPUs": (idle, number, job.gpus),
    }
    found = []
    for title, (values, form, highest) in every.items():
        if values:
            found += [page.heading(title), charts.line(title, job_text.series(job, values), span, form, highest)]
    return found


def _field(client: Client, job: Job) -> list[str]:
    """Return the utilization of each GPU over time, or of each node where there are many."""
    begin, end = _span(job)
    step = max(float(MINUTE), (end - begin) / _CELLS)
    whole = Try(job.run.cluster, job.id, begin, end)
    by = devices.DEVICE if len(job.devices) <= _ROWS else "host"
    mine = list(dict.fromkeys(_name(one, by) for one in job.devices))
    selector = f"gpu:utilization_ratio:max{{{devices.where(whole, job.devices)}}}[{step:.0f}s]"
    found = client.range(f"avg by ({by}) (avg_over_time({selector}))", begin + step, end, step)
    rows = {_labelled(one): _cells(job, one, begin + step, step) for one in found}
    shown = [(name, rows[name]) for name in mine if name in rows]
    title = "Utilization by GPU" if by != "host" else "Utilization by node"
    drawn = charts.field(title, shown, (begin, end), percent)
    keys = page.keys({"cell": "in use, the stronger the more", "idle": "idle", "none": "not known, or not held"})
    return [page.heading(title), drawn, keys] if shown else []


def _name(one: Device, by: str) -> str:
    return one.name if by == devices.DEVICE else one.host


def _labelled(one: Series) -> str:
    labels = one.labels
    if "gpu" not in labels:
        return labels.get("host", "")
    return Device(labels.get("host", ""), labels["gpu"], labels.get("GPU_I_ID", "")).name


def _cells(job: Job, one: Series, begin: float, step: float) -> list[float | None]:
    """Return the values of a series; what a GPU did while the job did not hold it is somebody else's."""
    values: list[float | None] = [None] * (int((job.run.end - begin) / step) + 1)
    held = [(part.begin, part.end + step) for part in job.attempts if one.labels.get("host", "") in part.hosts]
    for at, value in one.samples:
        if any(first < at <= last for first, last in held):
            values[min(len(values) - 1, round((at - begin) / step))] = value
    return values


def _table(job: Job) -> list[str]:
    least = sorted(job.devices, key=lambda one: (one.utilization is None, one.utilization or 0))
    shown = job.devices if len(job.devices) <= _TABLE else least[:_TABLE]
    title = "GPUs" if shown is job.devices else f"GPUs: the {_TABLE} of {len(job.devices)} that were used least"
    return [page.heading(title), page.table(_HEADER, [job_text.cells(one) for one in shown], left=1)]
