"""Alerts on what jobs do with GPUs, and on the job map that says which."""

from __future__ import annotations

from superpod_dcgm.monitoring import recording
from superpod_dcgm.monitoring.alert_parts import OF_GPU, OF_NODE, Alert
from superpod_dcgm.monitoring.alert_site import GPU, INSTANCE, NODE, WINDOW, Missing, Site

_OWNER = f"{INSTANCE}, hpc_job, user, account, partition"
# A GPU that is busy by GPU_UTIL, while profiling says 0: profiling is dead there (NVIDIA/DCGM#303).
_BUSY = 0.1
_WHOLE = 'GPU_I_ID=""'


def _idle(site: Site) -> str:
    if site.users:
        return f"{site.own('slurm_gpu_job_info', _OWNER)} and on ({INSTANCE}) ({_unused(site, INSTANCE)})"
    if site.configuration["job_map"]["label"] and site.configuration["slurm"]["enabled"]:
        return _unused(site, f"{INSTANCE}, hpc_job", 'hpc_job!=""')
    raise Missing("nothing says which GPU a job holds: job_map:users and job_map:label are false, or slurm is")


def _unused(site: Site, by: str, matchers: str = "") -> str:
    """
    Return GPUs and instances that do nothing for certain.

    Profiling that reads 0 counts only where nothing else says otherwise: GPU_UTIL, or for an instance, which has no
    GPU_UTIL or one that reads 0, the power of its board.
    """
    least = f"< {site.configuration['rules']['idle_utilization']} / 100"
    whole = ", ".join(filter(None, [_WHOLE, matchers]))
    if "prof_engine" not in site.rows:
        return f"{site.row('gpu_utilization', by, matchers=whole)} {least}"
    used = site.row("gpu_utilization", by, matchers=whole) if "gpu_utilization" in site.rows else ""
    profiled = site.row("prof_engine", by, matchers=matchers)
    idle, unknown = f"{profiled} {least}", ""
    if used:
        busy = site.row("gpu_utilization", matchers=_WHOLE)
        # Of a page whose profiling rows are gone, GPU_UTIL alone tells.
        idle = f"({idle} or ({used} {least} unless on ({by}) {profiled}))"
        idle = f"({idle} unless on ({GPU}) ({busy} >= {site.configuration['rules']['idle_utilization']} / 100))"
        unknown = f" unless on ({GPU}) {busy}"
    if "power" not in site.rows:
        return idle
    return f"{idle} unless on ({GPU}) ({site.row('power')} > {_resting(site)}{unknown})"


def _resting(site: Site) -> str:
    """Return the watts up to which a board may take nothing, as the recording rules have it."""
    watts = str(site.configuration["rules"]["idle_power"])
    if "power_limit" not in site.rows:
        return watts
    of_limit = f"{site.row('power_limit')} * {recording.Settings.idle_limit_ratio:g}"
    return f"on ({GPU}) ({of_limit} or {site.row('power')} * 0 + {watts})"


def _profiling_dead(site: Site) -> str:
    return f"{site.row('prof_engine')} == 0 and on ({GPU}) ({site.row('gpu_utilization')} > {_BUSY})"


def _profiling_missing(site: Site) -> str:
    return f"{site.row('gpu_temperature')} unless on ({GPU}) {site.row('prof_engine')}"


def _stale(site: Site) -> str:
    age = f"time() - {site.own('dcgm_job_map_reconcile_timestamp_seconds')}"
    return f"{age} > {site.thresholds['job_map']}{site.not_freed()}"


def _table_old(site: Site) -> str:
    return f"{site.own('dcgm_job_map_device_table_ok')} == 0{site.not_freed()}"


def _guessed(site: Site) -> str:
    return f"{site.own('dcgm_job_map_device_table_guessed')} == 1{site.not_freed()}"


def _pending(site: Site) -> str:
    return f"{site.own('dcgm_job_map_device_table_pending')} == 1"


def _prolog(site: Site) -> str:
    counter, by = "dcgm_job_map_failures_total", f"{NODE}, script, reason"
    now, then = site.own(counter, by), site.own(counter, by, f"{{}} offset {WINDOW}")
    # One reason is there only from its first event on. For VictoriaMetrics a number is != to nothing.
    read = f"{site.own('dcgm_job_map_device_table_ok', form=f'{{}} offset {WINDOW}')} >= 0"
    return f"({now} - {then} != 0 and {now} > 0) or (({now} > 0 unless {then}) and on ({NODE}) ({read}))"


ALERTS = (
    Alert(
        *("SuperpodGpuIdle", "info", _idle),
        summary="A job holds a GPU and does not use it.",
        description=f"Job {{{{ $labels.hpc_job }}}} of {{{{ $labels.user }}}} does not use {OF_GPU}.",
        hold="idle",
    ),
    Alert(
        *("SuperpodGpuProfilingDead", "warning", _profiling_dead),
        summary="Profiling metrics of a GPU read 0 while the GPU is busy.",
        description=f"DCGM_FI_PROF_ metrics of {OF_GPU} are dead: they read 0, and GPU_UTIL does not.",
        hold="15m",
    ),
    Alert(
        *("SuperpodGpuProfilingMissing", "warning", _profiling_missing),
        summary="A GPU has no profiling metrics.",
        description=f"{OF_GPU} has no DCGM_FI_PROF_ metrics, and its exporter should show them.",
        hold="1h",
    ),
    Alert(
        *("SuperpodJobMapStale", "warning", _stale),
        summary="The job map was not compared with Slurm for a long time.",
        description=f"The job map of {OF_NODE} was last reconciled {{{{ $value | humanizeDuration }}}} ago.",
        hold="5m",
    ),
    Alert(
        *("SuperpodDeviceTableOld", "warning", _table_old),
        summary="The device table of a node could not be made anew.",
        description=f"The device table of {OF_NODE} is old: jobs may be shown on the wrong GPU.",
        hold="15m",
    ),
    Alert(
        *("SuperpodDeviceTableGuessed", "warning", _guessed),
        summary="What Slurm's positions of GPUs mean is guessed.",
        description=f"The positions of GPUs of {OF_NODE} are guessed: jobs may be shown on the wrong GPU.",
        hold="30m",
    ),
    Alert(
        *("SuperpodDeviceTablePending", "info", _pending),
        summary="gres.conf was changed, and slurmd has not read it.",
        description=f"slurmd of {OF_NODE} will count its GPUs otherwise once it is reconfigured.",
        hold="1h",
    ),
    Alert(
        *("SuperpodPrologFailures", "warning", _prolog),
        summary="Prolog or epilog of the job map did not do its work.",
        description=f"The {{{{ $labels.script }}}} of {OF_NODE} failed lately ({{{{ $labels.reason }}}}).",
    ),
)
