"""The device table: what prolog and epilog look GPUs up in. It is made outside of any job; the last good one stays."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import time
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.agent import nvidia, slurmd
from superpod_dcgm.agent.device_table import Table, parse, render
from superpod_dcgm.agent.nvidia import Device, Gpu, Trouble
from superpod_dcgm.base import paths
from superpod_dcgm.base.files import make_directory, read_json, write_atomic

# For all that is asked for one table, so that with the end of what hangs it is less than ten; where no driver stays
# loaded between two users, each answer takes seconds.
_SECONDS = 9.0
# What failed is tried again only so often unless somebody asks: each nvidia-smi that hangs may stay as a process.
_REST_SECONDS = 300
_LAST = 1000


@dataclass(frozen=True)
class Made:
    """A table that is not yet in place, whence its positions are, why not from slurmd, and whether to ask it again."""

    table: Table
    source: str
    note: str = ""
    ask_again: bool = False


def refresh(conf: dict[str, str], force: bool = False) -> dict[str, Any]:
    """
    Make the table again if driver, GPUs or MIG layout changed since, or in any case.

    :param conf: job-map.conf of this node.
    :param force: make it in any case.
    :return: ``changed``: whether it differs from the one before; ``problem``: why it could not be made, or ``""``;
        ``made``: when the table in place was made (0: there is none); ``gpus``: its UUIDs per DCGM id.
    """
    mark, changed, problem = "", False, read_status().get("problem", "")
    deadline = time.monotonic() + _SECONDS
    try:
        if force or not _rests(mark):
            files = nvidia.tree(deadline)
            mark = nvidia.fingerprint(files)
            if force or _is_due(mark, deadline):
                changed, problem = put(make(conf, files, deadline)), ""
    except (Trouble, OSError) as exc:
        problem = str(exc)
        note_failure(problem, mark)
    table = current() or Table()
    return {"changed": changed, "problem": problem, "made": table.made, "gpus": table.gpus}


def _rests(mark: str) -> bool:
    """Whether the same was tried in vain a moment ago."""
    status = read_status()
    recent = 0 <= time.time() - status.get("checked", 0) < _REST_SECONDS
    return recent and not status.get("ok", True) and status.get("fingerprint") == mark


def _is_due(mark: str, deadline: float) -> bool:
    if _rests(mark):
        return False
    table, status = current(), read_status()
    if table is None or table.fingerprint != mark or not status.get("ok"):
        return True
    if not status.get("ask_again") or 0 <= time.time() - status.get("asked", 0) < _REST_SECONDS:
        return False
    # At boot Slurm's configuration may not have been there yet.
    _write(status | {"asked": int(time.time())})
    with contextlib.suppress(Trouble):
        return bool(slurmd.order(deadline))
    return False


def plan(conf: dict[str, str]) -> Made:
    """
    Return the table as it would be made now, without putting it in place.

    :raises Trouble: it cannot be made.
    """
    deadline = time.monotonic() + _SECONDS
    return make(conf, nvidia.tree(deadline), deadline)


def make(conf: dict[str, str], files: dict[str, list[str]], deadline: float) -> Made:
    """
    Make a table of what the driver says.

    :param files: what ``superpod_nvidia.tree`` found.
    :param deadline: moment of ``time.monotonic`` after which nobody waits any longer.
    :raises Trouble: the driver fails, does not answer, or says what is not understood.
    """
    gpus = nvidia.gpus(files, deadline)
    devices = nvidia.devices(deadline) if any(gpu.divided for gpu in gpus) else []
    table = _table(gpus, devices, nvidia.fingerprint(files))
    wanted = conf.get("positions", "auto")
    if wanted != "auto":
        order = sorted(gpus, key=_minor) if wanted == "minor" else gpus
        return Made(dataclasses.replace(table, positions=_counted(order, devices)), wanted)
    note, ask_again = "", False
    try:
        positions = _slurmd_positions(table, gpus, files, slurmd.order(deadline))
        return Made(dataclasses.replace(table, positions=positions), "slurmd")
    except slurmd.NoSlurmd as exc:
        note = str(exc)
    except Trouble as exc:
        note, ask_again = str(exc), True
    last = current()
    if last and last.positions and (last.uuids, last.instances) == (table.uuids, table.instances):
        return Made(dataclasses.replace(table, positions=last.positions), "last table", note, ask_again)
    return Made(dataclasses.replace(table, positions=_counted(gpus, devices)), "index", note, ask_again)


def _minor(gpu: Gpu) -> int:
    return _LAST if gpu.minor is None else gpu.minor


def _table(gpus: list[Gpu], devices: list[Device], fingerprint: str) -> Table:
    uuids = {gpu.index: gpu.uuid for gpu in gpus}
    names = [device.name for device in devices]
    return Table(
        made=int(time.time()),
        fingerprint=fingerprint,
        gpus={str(gpu.index): gpu.uuid for gpu in gpus},
        places={str(gpu.index): ("-" if gpu.minor is None else str(gpu.minor), gpu.bus) for gpu in gpus},
        instances={device.name: (uuids[device.gpu], device.profile) for device in devices if device.gpu in uuids},
        uuids={gpu.uuid: str(gpu.index) for gpu in gpus} | {device.uuid: device.name for device in devices},
        shared=frozenset(name for name in names if names.count(name) > 1),
    )


def _counted(gpus: list[Gpu], devices: list[Device]) -> dict[int, str]:
    """Whole GPUs and then MIG devices, GPU by GPU."""
    names = [str(gpu.index) for gpu in gpus if not gpu.divided]
    names += [device.name for gpu in gpus for device in devices if device.gpu == gpu.index]
    return dict(enumerate(names))


def _slurmd_positions(
    table: Table, gpus: list[Gpu], files: dict[str, list[str]], order: list[list[str]]
) -> dict[int, str]:
    ids = {gpu.minor: gpu.index for gpu in gpus if gpu.minor is not None}
    known = {str(gpu.index) for gpu in gpus if not gpu.divided} | set(table.instances)
    capabilities = nvidia.capabilities(files)
    found = [slurmd.name(devices, ids, capabilities, known) for devices in order]
    positions = {position: name for position, name in enumerate(found) if name}
    if not positions:
        # What slurmd says will not change by itself: it is not asked again before it starts again.
        raise slurmd.NoSlurmd("slurmd -G names no GPU of this node")
    return positions


def put(made: Made) -> bool:
    """
    Put a table in place, and note that it could be made.

    :return: whether it differs from the one before in more than the moment when it was made.
    :raises OSError: it cannot be written; the one before stays.
    """
    changed = bool(differences(made.table))
    make_directory(os.path.dirname(paths.DEVICES))
    write_atomic(paths.DEVICES, render(made.table))
    rest = {"positions": made.source, "note": made.note, "ask_again": made.ask_again, "asked": int(time.time())}
    _write_status(True, "", made.table.fingerprint, rest)
    return changed


def note_failure(problem: str, fingerprint: str = "") -> None:
    """Note why the table could not be made; the last good one stays."""
    with contextlib.suppress(OSError):
        make_directory(os.path.dirname(paths.DEVICES_STATUS))
        _write_status(False, problem, fingerprint, {})


def _write_status(ok: bool, problem: str, fingerprint: str, rest: dict[str, Any]) -> None:
    status = {"checked": int(time.time()), "ok": ok, "problem": problem, "fingerprint": fingerprint, **rest}
    _write(status)


def _write(status: dict[str, Any]) -> None:
    write_atomic(paths.DEVICES_STATUS, json.dumps(status) + "\n")


def read_status() -> dict[str, Any]:
    """
    Return how the last attempt went; empty before the first one.

    ``checked``, ``ok``, ``problem``, ``fingerprint``, and of a good one ``positions`` (whence they are), ``note`` (why
    they are not slurmd's), ``ask_again`` and ``asked`` (when slurmd was asked last).
    """
    found = read_json(paths.DEVICES_STATUS, {})
    return found if isinstance(found, dict) else {}


def current() -> Table | None:
    """Return the table that is in place, or ``None``."""
    try:
        with open(paths.DEVICES, encoding="utf-8", errors="replace") as stream:
            return parse(stream.read())
    except OSError:
        return None


def differences(table: Table) -> dict[str, dict[str, Any]]:
    """Return in what a table differs from the one in place, but for the moment of its making: old and new."""
    new, old = described(table), described(current() or Table())
    return {key: {"old": old[key], "new": new[key]} for key in new if key != "made" and old[key] != new[key]}


def described(table: Table) -> dict[str, Any]:
    """Return a table as Salt can send and print it."""
    fields = dataclasses.asdict(table)
    for key in ("places", "instances"):
        fields[key] = {name: list(words) for name, words in fields[key].items()}
    return {**fields, "shared": sorted(table.shared)}
