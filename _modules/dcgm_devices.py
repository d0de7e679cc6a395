"""The device table of a node: what prolog and epilog look GPUs up in, made outside of any job."""

from __future__ import annotations

import time
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import devices, report
from superpod_dcgm.base import job_map_conf, maintenance

# Salt prints its return by this outputter, unless the command line asks for another.
__outputter__ = {"show": "dcgm_devices"}


def conf() -> dict[str, str]:
    """
    Return job-map.conf of this node by key; empty where it is not there yet.

    :raises CommandExecutionError: it cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' dcgm_devices.conf
    """
    try:
        return job_map_conf.of_this_node()
    except FileNotFoundError:
        return {}
    except OSError as exc:
        raise CommandExecutionError(f"job-map.conf cannot be read: {exc}") from exc


def refresh() -> dict[str, Any]:
    """
    Make the device table of this node again.

    Returns ``changed``, ``made``, ``gpus`` (UUID per DCGM id) and ``warnings`` (bad GPUs, positions that are guessed).

    :raises CommandExecutionError: it could not be made, or only without nvidia-smi, or the GPUs are free for
        maintenance; the last good one stays.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' dcgm_devices.refresh
    """
    if record := maintenance.held():
        raise CommandExecutionError(f"The device table is left as it is: {maintenance.sentence(record)}")
    done = devices.refresh(conf(), force=True)
    if problem := done.pop("problem"):
        raise CommandExecutionError(f"The device table could not be made: {problem}")
    return {**done, "warnings": report.warnings(devices.read_status(), conf().get("shared", ""))}


def show() -> dict[str, Any]:
    """
    Show the device table of this node, one row per GPU, its age, and how the last attempt to make it went.

    ``known`` is the word for its positions in Slurm: ``slurmd`` (known from it), ``set`` (by ``slurm:positions``) or
    ``guessed``; ``order`` tells whence they are: slurmd, last table, last boot, index or minor. ``warnings`` are
    sentences: bad GPUs, why positions are guessed, what Slurm will change. ``--out=json`` gives everything.

    :raises CommandExecutionError: there is none.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' dcgm_devices.show
        salt 'dgx-*' dcgm_devices.show --out=json
    """
    table, status = devices.current(), devices.read_status()
    if table is None:
        raise CommandExecutionError(f"There is no device table: {status.get('problem') or 'none was made yet'}")
    order = status.get("positions", "")
    known = "guessed" if status.get("guessed", True) else order if order == "slurmd" else "set"
    last = {"ok": status.get("ok", True), "problem": status.get("problem", ""), "note": status.get("note", "")}
    more = {"bad": status.get("bad", []), "warnings": report.warnings(status, conf().get("shared", ""))}
    age = {"age": max(0, int(time.time()) - table.made), "order": order, "known": known}
    return {**devices.described(table), **age, **last, **more}
