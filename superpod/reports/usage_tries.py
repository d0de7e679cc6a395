"""Minutes of jobs of which nothing can be measured: the first of each try, when a GPU still tells of the job before."""

from __future__ import annotations

from superpod.reports.prometheus import Client, Row, matchers
from superpod.reports.times import MINUTE

JOB = "cluster, hpc_job, user, account, partition"
# Jobs whose tries are counted: those of which most is missing.
_MOST = 200
_HELD = "job:gpus_allocated:sum"


def begun(where: str, span: str) -> str:
    """Return the query for the GPUs of jobs that began within a span up to now: they have a first minute there."""
    held = f"max by ({JOB}) (max_over_time({_HELD}{where}{span}))"
    return f"({held} unless on ({JOB}) {_HELD}{where} offset {span.strip('[]')})"


def first_minutes(client: Client, more: str, window: tuple[float, float]) -> list[Row]:
    """
    Return by job the GPU hours of the first minutes of its second try and those after it.

    :param more: matchers of the jobs that are meant.
    :raises SuperpodError: the server does not answer.
    """
    span, where = f"{round(window[1] - window[0])}s", f"{{{more}}}"
    hours = {
        kind: f"max by ({JOB}) (sum_over_time(job:gpu_hours_{kind}:increase1m{where}[{span}]))"
        for kind in ("allocated", "measured")
    }
    once = f"({begun(where, f'[{span}]')} / {3600 // MINUTE})"
    # A minute and more is missing.
    missing = f"{hours['allocated']} - ({once} or {hours['allocated']} * 0) - {hours['measured']}"
    lacking = client.instant(f"topk({_MOST}, {missing} > 1e-6)", window[1])
    jobs = sorted({row.labels.get("hpc_job", "") for row in lacking})
    if not jobs:
        return []
    mine = f"{{{','.join(filter(None, [more, matchers(hpc_job=jobs)]))}}}"
    begins = f"({_HELD}{mine} unless on ({JOB}) {_HELD}{mine} offset {MINUTE}s)"
    every = f"max by ({JOB}) (sum_over_time({begins}[{span}:{MINUTE}s])) / {3600 // MINUTE}"
    return client.instant(f"{every} - ({begun(mine, f'[{span}]')} / {3600 // MINUTE} or {every} * 0) > 0", window[1])
