"""Why there may be no data: nothing is recorded at all, the job was too short, or it held no GPU."""

from __future__ import annotations

from superpod.reports import slurm
from superpod.reports.prometheus import Client
from superpod.reports.times import lasting, show


def of_job(client: Client, raw: str, cluster: str, window: tuple[float, float], records: list[slurm.Record]) -> str:
    """Return why there may be nothing of a job, in sentences."""
    why = at_all(client, window[1])
    if why:
        return why
    words = f"There is no data of job {raw}" + (f" in cluster {cluster}" if cluster else "")
    words += f" in the last {lasting(window[1] - window[0])} before {show(window[1])}."
    if not client.instant("count(last_over_time(job:gpus_allocated:sum[1d]))", window[1]):
        words += " No job at all was recorded in the day before: does anything tell who holds a GPU (docs/job-map.md)?"
    # Ids come round: one that ended before is another job's.
    records = [one for one in records if one.begin is None or one.end is None or one.end >= window[0]]
    if not records:
        return f"{words} Only jobs that held a GPU for a minute are known; --since looks further back."
    last = records[-1]
    return f"{words} Slurm says: {last.state}, {_with(last)}."


def _with(record: slurm.Record) -> str:
    if record.begin is None:
        return "not started"
    held_there = "its GPUs are not accounted" if record.gpus is None else f"{record.gpus:g} GPUs"
    return f"{held_there}, started {show(record.begin)}"


def at_all(client: Client, at: float) -> str:
    """Return in a sentence that there are no records at all on the server; ``""``: there are."""
    if client.instant("count(last_over_time(cluster:gpus:count[1d]))", at):
        return ""
    rows = client.instant('count({__name__=~"DCGM_FI_DEV_FB_USED|DCGM_FI_DEV_FB_USED_BYTES"})', at)
    server = f"Prometheus at {client.server.address}"
    if rows:
        rules = "the recording rules are not loaded there (docs/rules.md), or since less than a minute"
        return f"{server} has GPU metrics, and no records: {rules}."
    return f"{server} has neither records nor metrics of dcgm-exporter of the last day: is it the right one?"
