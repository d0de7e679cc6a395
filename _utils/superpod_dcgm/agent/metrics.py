"""This project's own metrics of a node, written as one text file."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from superpod_dcgm.agent import certificate, counters, deployed, job_map, xids
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.job_map import View
from superpod_dcgm.base import files, maintenance, paths
from superpod_dcgm.base.exposition import Family, render


def write(conf: dict[str, str], table: Table, table_ok: bool, status: Mapping[str, Any] | None = None) -> None:
    """
    Write all metrics into the directory that job-map.conf names; none named, nothing is written.

    :param table_ok: the last attempt to make it worked.
    :param status: what else ``devices.read_status`` says of it.
    :raises OSError: it cannot be written. Only the directory of our own server is made.
    """
    directory = conf.get("textfile", "")
    if not directory:
        return
    if directory == paths.TEXTFILE_DIRECTORY:
        files.make_directory(directory)
    try:
        view = job_map.look(conf.get("directory", ""))
    except OSError:
        # Said by the reconciliation; the other metrics are still true.
        view = View({}, {})
    freed = Family("superpod_dcgm_gpus_freed", "gauge", "Whether the GPUs are free for maintenance (dcgm_gpu.free).")
    freed.add(int(maintenance.held() is not None))
    families = [
        *_counted(counters.load()),
        *_devices(table, table_ok, status or {}),
        *xids.families(),
        _certificate(conf),
        freed,
        deployed.info(),
    ]
    if not maintenance.held():
        # Nobody writes them again meanwhile: who has a GPU would soon be wrong.
        families += _jobs(view, table, conf.get("users") == "yes")
    path = os.path.join(directory, paths.TEXTFILE)
    files.write_atomic(path, render(families))
    # The same text is not written again, but its time says that it is still true.
    os.utime(path, follow_symlinks=False)


def _certificate(conf: Mapping[str, str]) -> Family:
    name = "superpod_dcgm_exporter_certificate_expiry_timestamp_seconds"
    found = Family(name, "gauge", "When the certificate of the exporter's page expires.")
    # With one that cannot be read the exporter answers nobody, which is told otherwise.
    with contextlib.suppress(OSError, ValueError):
        if (moment := certificate.expiry(conf.get("web_config", ""))) is not None:
            found.add(moment)
    return found


def _counted(known: dict[str, Any]) -> list[Family]:
    runs = Family("dcgm_job_map_runs_total", "counter", "Runs of prolog and epilog of the job map.")
    failures = Family("dcgm_job_map_failures_total", "counter", "What did not work in prolog and epilog, by reason.")
    seconds = Family("dcgm_job_map_duration_seconds", "summary", "How long prolog and epilog took.")
    for script in counters.SCRIPTS:
        runs.add(known["runs"][script], script=script)
        seconds.add(known["microseconds"][script] / 1e6, "_sum", script=script)
        seconds.add(known["runs"][script], "_count", script=script)
    for key, value in known["failures"].items():
        script, reason = key.split()
        if value or script in counters.SCRIPTS:
            failures.add(value, script=script, reason=reason)
    removed = Family("dcgm_job_map_reconcile_removed_total", "counter", "Job ids that reconciliation removed.")
    removed.add(known["removed"])
    restored = Family("dcgm_job_map_reconcile_restored_total", "counter", "Jobs that got a lost label back.")
    restored.add(known["restored"])
    repaired = Family("dcgm_job_map_repaired_total", "counter", "Odd files in the job map that were put right.")
    for reason, value in known["repaired"].items():
        repaired.add(value, reason=reason)
    last = Family("dcgm_job_map_reconcile_timestamp_seconds", "gauge", "When a reconciliation got all answers last.")
    ok = Family("dcgm_job_map_reconcile_ok", "gauge", "Whether the last reconciliation got all answers.")
    if known["answered"]:
        last.add(known["answered"])
    if known["tried"]:
        ok.add(int(known["ok"]))
    return [runs, failures, seconds, removed, restored, repaired, last, ok]


def _devices(table: Table, table_ok: bool, status: Mapping[str, Any]) -> list[Family]:
    made = Family("dcgm_job_map_device_table_timestamp_seconds", "gauge", "When the device table was made.")
    ok = Family("dcgm_job_map_device_table_ok", "gauge", "Whether the last attempt to make the device table worked.")
    if table.made:
        made.add(table.made)
    ok.add(int(table_ok))
    guessed = Family(
        "dcgm_job_map_device_table_guessed",
        "gauge",
        "Whether the positions of GPUs in Slurm are guessed, not slurmd's.",
    )
    if "guessed" in status:
        guessed.add(int(status["guessed"] is True))
    pending = Family(
        "dcgm_job_map_device_table_pending",
        "gauge",
        "Whether slurmd will count its GPUs otherwise once it is reconfigured.",
    )
    if "guessed" in status:
        pending.add(int(bool(status.get("pending"))))
    bad = Family("dcgm_job_map_gpu_bad", "gauge", "Whether nvidia-smi cannot read a GPU, or warns of it.")
    wrong = {(one.get("gpu", ""), one.get("bus", "")) for one in status.get("bad", [])}
    for gpu in sorted({gpu for gpu, _ in wrong if gpu} | table.gpus.keys(), key=int):
        bad.add(int(gpu in {name for name, _ in wrong}), gpu=gpu)
    # Of some nobody knows the number.
    for _, bus in sorted(place for place in wrong if not place[0]):
        bad.add(1, gpu="", pci_bus_id=bus)
    return [made, ok, guessed, pending, bad]


def _jobs(view: View, table: Table, users: bool) -> list[Family]:
    count = Family("dcgm_job_map_jobs", "gauge", "Job ids in the map file of a GPU or MIG instance.")
    info = Family("slurm_gpu_job_info", "gauge", "The Slurm jobs that hold a GPU or MIG instance, and whose they are.")
    for name in view.files.keys() | table.gpus.keys() | table.instances.keys():
        gpu, _, instance = name.partition(".")
        place = {"gpu": gpu, **({"GPU_I_ID": instance} if instance else {})}
        ids = view.files[name].ids if name in view.files else []
        count.add(len(ids), **place)
        uuid, profile = table.instances.get(name) or (table.gpus.get(gpu, "").strip("-"), "")
        device = {**place, "UUID": uuid, **({"GPU_I_PROFILE": profile} if instance else {})}
        for job in ids if users else []:
            record = job_map.parse_record(view.records[job].data) if job in view.records else None
            record = record or job_map.Record("", "", "", "")
            owner = {"user": record.user, "account": record.account, "partition": record.partition}
            info.add(1, **device, hpc_job=job, **owner)
    return [count, *([info] if users else [])]
