"""The live view as text."""

from __future__ import annotations

from collections.abc import Iterator

from superpod.reports.text import UNKNOWN, amount, folded, number, percent, sparkline, table
from superpod.reports.times import lasting, show
from superpod.reports.top import History, Now

# Columns that a narrow terminal does without, the first one first.
_LEFT_OUT = ("PARTITION", "POWER", "MEMORY", "UTILIZATION", "USER", "CLUSTER")
Size = tuple[int, int]


def overview(clusters: list[Now], nodes: list[Now], jobs: list[Now], at: float, size: Size) -> Iterator[str]:
    """Return the clusters, and as many jobs and nodes as fit into columns and lines: those with idle GPUs first."""
    yield f"#{show(at, seconds=True)}"
    width, height = size
    summary = [line for one in clusters for line in folded(_cluster(one), "  ", width)]
    yield from summary
    room = max(6, height - len(summary) - 8)
    for_jobs = min(len(jobs), max(room // 2, room - len(nodes)))
    jobs.sort(key=lambda one: (-one.idle, -one.values.get("held", 0), one.labels["hpc_job"]))
    nodes.sort(key=lambda one: (-one.idle, -one.values.get("held", 0), one.labels["host"]))
    several = len({one.labels["cluster"] for one in nodes}) > 1
    yield from ("", *_table("JOB", "hpc_job", jobs, (width, for_jobs), several))
    yield from ("", *_table("NODE", "host", nodes, (width, room - for_jobs), several))


def _cluster(one: Now) -> str:
    values = one.values
    held = f"{number(values.get('held'))} of {number(values.get('gpus'))} GPUs held, {number(one.idle)} of them idle"
    use = f"utilization {percent(values.get('utilization'))}, {amount(values.get('power'), 'W')}"
    return f"{one.labels['cluster'] or '(no cluster)'}: {held}, {use}"


def _table(title: str, label: str, rows: list[Now], size: Size, several: bool) -> Iterator[str]:
    width, most = size
    header = [*(["CLUSTER"] if several else []), title, *(["USER", "PARTITION"] if label == "hpc_job" else [])]
    left = len(header)
    cells = []
    for one in rows[:most]:
        names = [one.labels["cluster"]] * several + [one.labels[label]]
        names += [one.labels["user"], one.labels["partition"]] if label == "hpc_job" else []
        cells.append([*(name or UNKNOWN for name in names), *_numbers(one, label)])
    yield from _fitting([*header, "GPUS", "IDLE", "USED", "MEMORY", "POWER"], cells, left, width)
    if len(rows) > most:
        yield f"  … {len(rows) - most} more"


def _fitting(header: list[str], rows: list[list[str]], left: int, width: int) -> Iterator[str]:
    """Return a table without the columns for which there is no room, the first ``left`` of which are names."""
    shown, lines = [*range(len(header))], list[str]()
    for name in ("", *_LEFT_OUT):
        shown = [column for column in shown if header[column] != name]
        names = sum(column < left for column in shown)
        lines = table([header[one] for one in shown], [[row[one] for one in shown] for row in rows], names)
        if max(map(len, lines)) + 2 <= width:
            break
    yield f"#  {lines[0]}"
    yield from ("  " + line for line in lines[1:])


def _numbers(one: Now, label: str) -> list[str]:
    values = one.values
    gpus = number(values.get("held"))
    gpus = gpus if label == "hpc_job" else f"{gpus}/{number(values.get('gpus'))}"
    # Where nothing was measured, nothing is known to be idle.
    known = not values.get("held") or values.get("measured", 0) > 0
    memory = amount(values.get("memory"), "B", 1024)
    use = percent(values.get("utilization"))
    return [gpus, number(one.idle if known else None), use, memory, amount(values.get("power"), "W")]


def node(found: list[History], span: tuple[float, float], width: int) -> Iterator[str]:
    """Return the GPUs of a node, each with a line of its utilization."""
    yield f"#{found[0].host}, {show(span[1], seconds=True)}; the last {lasting(span[1] - span[0])}"
    rows = []
    for one in found:
        memory, power = amount(one.last("memory"), "B", 1024), amount(one.last("power"), "W")
        line = sparkline(one.values.get("utilization", []), 1, 20)
        gpu = f"{one.gpu}.{one.instance}" if one.instance else one.gpu
        rows.append(
            [gpu, ",".join(one.jobs) or UNKNOWN, line.ljust(20), percent(one.last("utilization")), memory, power]
        )
    yield from _fitting(["GPU", "JOB", "UTILIZATION", "NOW", "MEMORY", "POWER"], rows, 3, width)


def gpu(one: History, span: tuple[float, float], width: int) -> Iterator[str]:
    """Return the history of one GPU, each value in a line."""
    name = f"{one.host} GPU {one.gpu}" + (f" instance {one.instance}" if one.instance else "")
    yield f"#{name}, {show(span[1], seconds=True)}; the last {lasting(span[1] - span[0])}"
    yield f"  Jobs now: {', '.join(one.jobs) or 'none'}"
    yield ""
    for title in ("utilization", "memory", "power", "temperature"):
        values = one.values.get(title, [])
        known = [value for value in values if value is not None]
        line = sparkline(values, 1 if title == "utilization" else max(known, default=0), max(8, min(60, width - 14)))
        yield f"  {title:<12}{line}"
        words = f"{_form(title, one.last(title))} now"
        if known:
            mean = sum(known) / len(known)
            words += f"; {_form(title, min(known))} least, {_form(title, mean)} mean, {_form(title, max(known))} most"
        yield from folded(words, " " * 14, width)


def _form(title: str, value: float | None) -> str:
    if title == "utilization":
        return percent(value)
    if title == "temperature":
        return UNKNOWN if value is None else f"{value:.0f} °C"
    return amount(value, "B", 1024) if title == "memory" else amount(value, "W")
