"""Makes a device table of what driver, nvidia-smi and slurmd say; what they do not say is taken from the last one."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.agent import gpus, mig, nvidia, positions
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.gpus import Bad, Seen
from superpod_dcgm.agent.mig import Device
from superpod_dcgm.agent.nvidia import Trouble
from superpod_dcgm.agent.positions import Positions


@dataclass(frozen=True)
class Before:
    """What is there before a table is made: the last table, the last good one of an earlier boot, the last status."""

    last: Table | None
    kept: Table | None
    status: dict[str, Any]


@dataclass(frozen=True)
class Made:
    """
    A table that is not yet in place: its positions, the bad GPUs, and why it is not as good as it could be.

    ``tried``: when nvidia-smi was asked, by the clock that nobody sets.
    """

    table: Table
    positions: Positions
    bad: list[Bad] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    problem: str = ""
    tried: float = field(default_factory=time.monotonic)


def make(conf: dict[str, str], files: dict[str, list[str]], before: Before) -> Made:
    """
    Make a table of what the driver says.

    A GPU that cannot be read costs that GPU. Where nvidia-smi says nothing at all, the last table of the same GPUs
    counts, else what /proc has of them, and ``problem`` says why.

    :param conf: job-map.conf of this node.
    :param files: what ``nvidia.tree`` found.
    :raises Trouble: there is nothing that a table could be made of.
    """
    limit, fingerprint, tried = nvidia.limit(conf, "nvidia_smi"), nvidia.fingerprint(files), time.monotonic()
    last = before.last
    same = last if last and last.fingerprint == fingerprint and last.gpus else None
    seen, devices, problem = _ask(files, limit, same)
    if problem and same:
        table, problem = same, f"{problem}; the last table of these GPUs stays"
    else:
        table = _with_last_devices(_table(seen, devices, fingerprint), same, seen.bad)
    found = _positions(table, conf, files, before)
    return Made(_placed(table, found), found, seen.bad, seen.remarks, problem, tried)


def _ask(files: dict[str, list[str]], limit: nvidia.Limit, same: Table | None) -> tuple[Seen, list[Device], str]:
    """GPUs, MIG devices, and why nvidia-smi did not say all of it."""
    try:
        seen = gpus.see(files, limit, same)
    except Trouble as exc:
        seen = gpus.of_driver(files, same)
        if not same and not any(gpu.uuid for gpu in seen.gpus):
            raise
        return seen, [], f"{exc}{'' if same else f'; the table is made of {nvidia.PROC}'}"
    if not any(gpu.divided for gpu in seen.gpus):
        return seen, [], ""
    try:
        devices, bad = mig.devices(seen.gpus, limit)
    except Trouble as exc:
        return seen, [], f"{exc}{'' if same else '; the table has no MIG devices'}"
    seen.bad += bad
    return seen, devices, ""


def count_again(
    table: Table, conf: dict[str, str], files: dict[str, list[str]], bad: list[Bad], before: Before
) -> Made:
    """Find the positions of a table's GPUs again: of all that it depends on, only slurmd changed."""
    found, status = _positions(table, conf, files, before), before.status
    table = _placed(dataclasses.replace(table, made=int(time.time())), found)
    return Made(table, found, bad, status.get("remarks", []), status.get("problem", ""), status.get("tried", 0.0))


def _positions(table: Table, conf: dict[str, str], files: dict[str, list[str]], before: Before) -> Positions:
    guess = before.status.get("positions") if before.status.get("guessed") else ""
    # A guess does not become a better one by being the last.
    lasts = {"last table": before.last if guess in ("", "last table") else None, "last boot": before.kept}
    limit = nvidia.limit(conf, "slurmd")
    return positions.find(table, files, conf.get("positions", "auto"), before.status, lasts, limit)


def _placed(table: Table, found: Positions) -> Table:
    return dataclasses.replace(table, positions=found.names, sharing=found.sharing)


def _table(seen: Seen, devices: list[Device], fingerprint: str) -> Table:
    uuids = {gpu.index: gpu.uuid for gpu in seen.gpus}
    names = [device.name for device in devices]
    return Table(
        made=int(time.time()),
        fingerprint=fingerprint,
        gpus={str(gpu.index): gpu.uuid or "-" for gpu in seen.gpus},
        places={str(gpu.index): ("-" if gpu.minor is None else str(gpu.minor), gpu.bus) for gpu in seen.gpus},
        instances={device.name: (uuids[device.gpu], device.profile) for device in devices if device.gpu in uuids},
        uuids={gpu.uuid: str(gpu.index) for gpu in seen.gpus if gpu.uuid}
        | {device.uuid: device.name for device in devices},
        shared=frozenset(name for name in names if names.count(name) > 1),
        divided=frozenset(str(gpu.index) for gpu in seen.gpus if gpu.divided),
    )


def _with_last_devices(table: Table, last: Table | None, bad: list[Bad]) -> Table:
    """MIG devices of a bad GPU as they were: its layout cannot have changed under the same fingerprint."""
    for one in bad:
        has = any(name.startswith(f"{one.gpu}.") for name in table.instances)
        if not last or has or one.gpu not in table.divided:
            continue
        kept = {name: value for name, value in last.instances.items() if name.startswith(f"{one.gpu}.")}
        uuids = {uuid: name for uuid, name in last.uuids.items() if name in kept}
        shared = table.shared | {name for name in last.shared if name in kept}
        table = dataclasses.replace(
            table, instances=table.instances | kept, uuids=table.uuids | uuids, shared=frozenset(shared)
        )
    return table
