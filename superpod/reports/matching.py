"""Which of Slurm's records are of a job that the metrics show: ids come round, and other clusters have them, too."""

from __future__ import annotations

from superpod.reports import devices, slurm
from superpod.reports.devices import Try
from superpod.reports.held import Run
from superpod.reports.prometheus import Client, matchers
from superpod.reports.times import MINUTE

# Without Slurm, a shorter pause is missing data.
_PAUSE = 2 * MINUTE
_WAITS = {True: "It waits", False: "It waited"}


def records(client: Client, run: Run, job: str, every: list[slurm.Record]) -> tuple[list[slurm.Record], list[str]]:
    """
    Return Slurm's records of the tries of a run, and what there is to say of the others.

    :raises SuperpodError: the server does not answer.
    """
    waits = [one for one in every if one.begin is None and _same_user(one, run)]
    begun = [one for one in every if one.begin is not None]
    fitting = _here(client, run, job, [one for one in begun if _fits(one, run)])
    notes = []
    if waits and (fitting or not begun):
        notes.append(f"{_WAITS[waits[-1].end is None]} for another try: Slurm says {waits[-1].state}.")
    if begun and not fitting:
        notes.append("Slurm knows another job of this id, which ran at another time or elsewhere: it is left out.")
    return fitting, notes


def _same_user(record: slurm.Record, run: Run) -> bool:
    return not (run.user and record.user) or record.user == run.user


def _fits(record: slurm.Record, run: Run) -> bool:
    """Return whether Slurm means this run: ids come round, and its record may be that of a job of years ago."""
    if record.begin is None or not _same_user(record, run):
        return False
    return record.begin <= run.end + MINUTE and (record.end is None or record.end >= run.begin - MINUTE)


def _here(client: Client, run: Run, job: str, records: list[slurm.Record]) -> list[slurm.Record]:
    """Return the records of tries on nodes that the metrics show: another cluster's Slurm has other nodes."""
    if not records:
        return []
    seen = {host.partition(".")[0] for host in devices.hosts(client, Try(run.cluster, job, run.begin, run.end))}
    mine = any(seen & {node.partition(".")[0] for node in one.nodes} for one in records)
    return records if mine or not seen or not any(one.nodes for one in records) else []


def waited(client: Client, run: Run, job: str, pause: tuple[float, float], records: list[slurm.Record]) -> bool:
    """
    Return whether a job held nothing in a pause; else nobody told.

    :raises SuperpodError: the server does not answer.
    """
    begin, end = pause
    if records:
        return not any(one.begin is not None and one.begin <= begin and (one.end or end) >= end for one in records)
    if end - begin <= _PAUSE:
        return False
    before = Try(run.cluster, job, max(run.begin, begin - 10 * MINUTE), begin)
    here = matchers(cluster=run.cluster, host=devices.hosts(client, before))
    # Who says what jobs hold: our own metrics, or where these have no jobs, the exporter; and what is recorded of it.
    told = "dcgm_job_map_device_table_ok" if run.user else "gpu:memory_used_bytes:max"
    return all(_goes_on(client, f"{one}{{{here}}}", before, pause) for one in (told, "node:gpus:count"))


def _goes_on(client: Client, selector: str, before: Try, pause: tuple[float, float]) -> bool:
    """Return whether there are samples in a pause about as often as before."""
    rates, (begin, end) = [], pause
    for seconds, at in ((before.end - before.begin + MINUTE, before.at), (end - begin - 2, end - 1)):
        rows = client.instant(f"sum(count_over_time({selector}[{round(seconds)}s]))", at)
        rates.append(sum(row.value for row in rows) / seconds)
    return rates[1] > rates[0] / 2
