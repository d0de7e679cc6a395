"""Stops what of ours uses the GPUs of this node, for a driver update, a reset or a MIG change, and brings it back."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from typing import Any

from superpod_dcgm.agent import device_table, devices, gpu_users, job_map, metrics, nvidia
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.gpu_users import User
from superpod_dcgm.base import job_map_conf, maintenance, paths, systemd

# What a stop leaves behind sleeps in the driver; nobody waits for that longer than this.
_GONE_SECONDS = 20.0
_PAUSE = 0.25


def free(now: str, test: bool = False) -> dict[str, Any]:
    """
    Stop our units that use GPUs, keep them down until ``resume``, and return what is left (of ``status``).

    Jobs are not disturbed, and nothing that is not ours is stopped.

    :param now: a time stamp.
    :param test: stop nothing, only say what would be stopped.
    :return: besides, ``stopped``: our units that ran.
    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be written.
    """
    up = [unit for unit in maintenance.UNITS if systemd.is_up(systemd.show(unit))]
    if test:
        return {**status(), "stopped": up}
    maintenance.begin(now)
    systemd.systemctl("daemon-reload")
    known = [unit for unit in maintenance.UNITS if systemd.show(unit).get("LoadState") == "loaded"]
    if known:
        systemd.systemctl("stop", *known)
    _await_end()
    # The timer writes no metrics now: the last ones say why.
    with contextlib.suppress(OSError):
        table = devices.current() or device_table.Table()
        metrics.write(job_map_conf.of_this_node(), table, devices.read_status().get("ok") is True)
    return {**status(), "stopped": up}


def resume(test: bool = False) -> dict[str, Any]:
    """
    Let our units start again, make a new device table, and start the timer where it is enabled.

    Without a driver nothing is changed, and the GPUs stay free. The exporter is left to the caller.

    :return: ``resumed``: our units may start, or would; ``was``: the record of the maintenance, or None; ``gpus`` and
        ``instances``: UUIDs and MIG profiles before and after, where they differ; ``started``; ``problems``: sentences.
    :raises UnitError: systemd refused.
    :raises OSError: a file cannot be removed.
    """
    empty: dict[str, Any] = {"gpus": {}, "instances": {}, "started": [], "problems": []}
    if problem := _no_driver():
        return {**empty, "resumed": False, "was": maintenance.held(), "problems": [problem]}
    found = {**empty, "resumed": True, "was": maintenance.held()}
    timer = systemd.show(paths.JOB_MAP_TIMER)
    start = [paths.JOB_MAP_TIMER] if timer.get("UnitFileState") == "enabled" and not systemd.is_up(timer) else []
    if test:
        return {**found, "started": start}
    maintenance.end()
    systemd.systemctl("daemon-reload")
    old = devices.current() or Table()
    found["problems"] = _make_table()
    found |= _differences(old, devices.current() or Table())
    for unit in start:
        systemd.systemctl("start", unit)
    return {**found, "started": start}


def status() -> dict[str, Any]:
    """
    Return whether the GPUs of this node are free, and who uses them.

    ``freed``: the record of the maintenance, or None. ``free``: nobody uses a GPU or is allocated one. ``users``: the
    processes. ``jobs``: the jobs of the job map, with user and GPUs. ``modules``: kernel modules that use the driver.
    ``comment``: all that as sentences.

    :raises OSError: the job map cannot be read.
    """
    record, users, jobs = maintenance.held(), gpu_users.find(), _jobs()
    return {
        "freed": record,
        "free": record is not None and not users and not jobs,
        "users": [dataclasses.asdict(user) | {"devices": list(user.devices)} for user in users],
        "jobs": jobs,
        "modules": gpu_users.modules(),
        "comment": _sentences(record, users, jobs),
    }


def _sentences(record: dict[str, Any] | None, users: list[User], jobs: dict[str, dict[str, Any]]) -> list[str]:
    ours = [maintenance.sentence(record) if record else "our units may use the GPUs: dcgm_gpu.free stops them"]
    if record and not users and not jobs:
        return [*ours, "nothing uses a GPU"]
    held = [
        f"Slurm job {job} of {found['user'] or 'an unknown user'} has GPU {', '.join(found['gpus'])}: drain the node"
        for job, found in jobs.items()
    ]
    return [*ours, *held, *(f"a GPU is used by {user.sentence}" for user in users)]


def _jobs() -> dict[str, dict[str, Any]]:
    try:
        seen = job_map.look(job_map_conf.of_this_node().get("directory", ""))
    except FileNotFoundError:
        return {}
    found = {}
    for job, names in sorted(seen.holders().items(), key=lambda item: int(item[0])):
        record = job_map.parse_record(seen.records[job].data) if job in seen.records else None
        found[job] = {"user": record.user if record else "", "gpus": names}
    return found


def _await_end() -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while any(user.unit in maintenance.UNITS for user in gpu_users.find()) and time.monotonic() < deadline:
        time.sleep(_PAUSE)


def _no_driver() -> str:
    if os.path.isdir(os.path.join(nvidia.PROC, "gpus")):
        return ""
    return f"no NVIDIA driver is loaded ({nvidia.PROC}/gpus is not there): load it, then say dcgm_gpu.resume again"


def _make_table() -> list[str]:
    try:
        problem = devices.refresh(job_map_conf.of_this_node(), force=True)["problem"]
    except FileNotFoundError:
        return []
    return [f"the device table could not be made: {problem}"] if problem else []


def _differences(old: Table, new: Table) -> dict[str, Any]:
    pairs = {"gpus": (old.gpus, new.gpus), "instances": (_profiles(old), _profiles(new))}
    return {key: {"before": before, "after": after} for key, (before, after) in pairs.items() if before != after}


def _profiles(table: Table) -> dict[str, str]:
    return {name: profile for name, (_, profile) in table.instances.items()}
