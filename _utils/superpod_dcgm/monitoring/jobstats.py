"""
Recording rules under the names of jobstats' GPU exporter, so that a site's jobstats reads our data.

jobstats asks by ``cluster`` and ``jobid`` (``GPU_EXPORTER_JOBID = True`` in its config.py), takes the node from
``instance`` and the GPU from ``minor_number``. Source: PrincetonUniversity/jobstats, jobstats.py.
"""

from __future__ import annotations

from typing import Any

from superpod_dcgm.monitoring import metric_names
from superpod_dcgm.monitoring.recording import BOARD, DEVICE, INTERVAL, Rule

_HELD = "gpu_job:gpus_allocated:split"
# name there: rows of ours in its unit, and the labels that tell whose they are
_ROWS = {
    "nvidia_gpu_duty_cycle": ("gpu:utilization_ratio:max * 100", DEVICE),
    "nvidia_gpu_memory_total_bytes": ("gpu:memory_capacity_bytes:max", DEVICE),
    "nvidia_gpu_memory_used_bytes": ("gpu:memory_used_bytes:max", DEVICE),
    "nvidia_gpu_temperature_celsius": (metric_names.promql("gpu_temperature", form=f"max by ({BOARD}) ({{}})"), BOARD),
}
_POWER = ("gpu:power_watts:max * 1000", BOARD)


def groups() -> list[dict[str, Any]]:
    """Return the rules as they stand in a rule file; they need those of ``recording`` that know who holds a GPU."""
    one_each = f"group by ({DEVICE}, hpc_job) ({_HELD})"
    rules = [_rule(name, one_each, *row) for name, row in _ROWS.items()]
    # A job has its part of a board's power, as everywhere: jobstats adds it up.
    rules.append(_rule("nvidia_gpu_power_usage_milliwatts", f"max by ({DEVICE}, hpc_job) ({_HELD})", *_POWER))
    count = 'label_replace(node:gpus:count, "instance", "$1", "host", "(.*)")'
    rules.append({"record": "nvidia_gpu_num_devices", "expr": f"sum by (cluster, instance) ({count})"})
    return [{"name": "superpod-dcgm-jobstats", "interval": f"{INTERVAL}s", "rules": rules}]


def _rule(name: str, jobs: str, rows: str, key: str) -> Rule:
    """Return a rule that has the rows once for each job, and those of GPUs without one."""
    text = f"{jobs} * on ({key}) group_left () ({rows})\nor ({rows}) unless on ({key}) {_HELD}"
    # 3 is a GPU and 1.7 an instance, as in the job map.
    text = f'label_join({text},\n"minor_number", ".", "gpu", "GPU_I_ID")'
    for label, source, regex in (
        ("minor_number", "minor_number", "(.*)[.]"),
        ("instance", "host", "(.*)"),
        ("jobid", "hpc_job", "(.*)"),
    ):
        text = f'label_replace({text},\n"{label}", "$1", "{source}", "{regex}")'
    return {"record": name, "expr": f"max by (cluster, instance, minor_number, jobid) ({text})"}
