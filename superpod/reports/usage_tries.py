"""Minutes of jobs of which nothing can be measured: the first of each try, when a GPU still tells of the job before."""

from __future__ import annotations

from superpod.reports.prometheus import Client, Row, matchers
from superpod.reports.times import MINUTE

JOB = "cluster, hpc_job, user, account, partition"
# Jobs whose tries are counted: those of which most is missing.
_MOST = 200
_HELD = "job:gpus_allocated:sum"
# Label with the number of GPUs.
SIZE = "held_gpus"


def questions(names: str, where: str, span: str) -> dict[str, str]:
    """
    Return queries, by names: how many jobs of each number of GPUs there were, and the GPUs of those from before.

    The last ones have no first minute in the span. All samples of all jobs are read once.
    """
    each = names if "hpc_job" in names else f"{names}, hpc_job"
    sizes = f"max by ({each}) (max_over_time({_HELD}{where}{span}))"
    before = f"max by ({each}) ({_HELD}{where} offset {span.strip('[]')})"
    return {"sizes": f'count_values by ({names}) ("{SIZE}", {sizes})', "before": f"sum by ({names}) ({before})"}


def first_minutes(client: Client, more: str, window: tuple[float, float]) -> list[Row]:
    """
    Return by job the GPU hours of the first minutes of its second try and those after it.

    :param more: matchers of the jobs that are meant.
    :raises SuperpodError: the server does not answer.
    """
    span, where = f"{round(window[1] - window[0])}s", f"{{{more}}}"
    hours = [
        f"max by ({JOB}) (sum_over_time(job:gpu_hours_{kind}:increase1m{where}[{span}]))"
        for kind in ("allocated", "measured")
    ]
    lacking = client.instant(f"topk({_MOST}, {' - '.join(hours)})", window[1])
    jobs = sorted({row.labels.get("hpc_job", "") for row in lacking})
    if not jobs:
        return []
    mine = f"{{{','.join(filter(None, [more, matchers(hpc_job=jobs)]))}}}"
    begins = f"({_HELD}{mine} unless on ({JOB}) {_HELD}{mine} offset {MINUTE}s)"
    every = f"max by ({JOB}) (sum_over_time({begins}[{span}:{MINUTE}s]))"
    held = f"max by ({JOB}) (max_over_time({_HELD}{mine}[{span}]))"
    once = f"({held} unless on ({JOB}) {_HELD}{mine} offset {span})"
    return client.instant(f"({every} - ({once} or {every} * 0) > 0) / {3600 // MINUTE}", window[1])
