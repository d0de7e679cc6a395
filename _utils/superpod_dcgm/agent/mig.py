"""MIG devices: which GPU instance and which UUID each has, joined from two answers of nvidia-smi."""

from __future__ import annotations

import re
from dataclasses import dataclass

from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent.gpus import Bad, Gpu
from superpod_dcgm.agent.nvidia import Limit

_GPU_LINE = re.compile(r"^GPU (\d+): .*\(UUID: (\S+)\)", re.ASCII | re.MULTILINE)
_MIG_LINE = re.compile(r"\s+MIG (\S+)\s+Device\s+(\d+):\s+\(UUID: (\S+)\)", re.ASCII)
_GPU_PART = re.compile(r"<gpu(?: [^>]*)?>")
_PARENT = re.compile(r"<uuid>\s*(GPU-[0-9A-Za-z-]+)\s*</uuid>", re.ASCII)
_DEVICE = re.compile(r"<mig_device>(.*?)</mig_device>", re.DOTALL)
_NUMBER = re.compile(r"<index>\s*(\d+)\s*</index>", re.ASCII)
_INSTANCE = re.compile(r"<gpu_instance_id>\s*(\d+)\s*</gpu_instance_id>", re.ASCII)


@dataclass(frozen=True)
class Device:
    """A MIG device: one compute instance of one GPU instance."""

    gpu: int
    instance: int
    uuid: str
    profile: str

    @property
    def name(self) -> str:
        """Return the name of its file in the job map, which it shares with the others of its GPU instance."""
        return f"{self.gpu}.{self.instance}"


def devices(gpus: list[Gpu], limit: Limit) -> tuple[list[Device], list[Bad]]:
    """
    Return the MIG devices in the order of GPUs and device numbers, and the divided GPUs of which that cannot be told.

    Their UUIDs are only in the list of nvidia-smi, the ids of their GPU instances only in its document. Exit codes do
    not matter: one bad GPU sets them.

    :raises Trouble: nvidia-smi does not answer.
    """
    listing = nvidia.ask(["nvidia-smi", "-L"], limit).output
    instances = read_instances(nvidia.ask(["nvidia-smi", "-q", "-x"], limit).output)
    by_uuid = {gpu.uuid: gpu.index for gpu in gpus if gpu.divided and gpu.uuid}
    found: list[Device] = []
    bad: dict[int, str] = {}
    for parent, number, uuid, kind in read_list(listing):
        if parent not in by_uuid:
            continue
        index = by_uuid[parent]
        if (parent, number) in instances:
            # 1c.2g.20gb is a part of a GPU instance of the profile 2g.20gb.
            found.append(Device(index, instances[parent, number], uuid, re.sub(r"^\d+c\.", "", kind)))
        else:
            bad[index] = f"nvidia-smi -q -x does not know MIG device {number} of GPU {index}"
    listed = {uuid for _, uuid in _GPU_LINE.findall(listing)}
    for uuid, index in by_uuid.items():
        if uuid not in listed:
            bad.setdefault(index, "nvidia-smi -L does not list it")
    places = {gpu.index: gpu.bus for gpu in gpus}
    return found, [Bad(str(index), places[index], why) for index, why in bad.items()]


def read_list(listing: str) -> list[tuple[str, str, str, str]]:
    """Return UUID of the GPU, number, UUID and kind of each MIG device of ``nvidia-smi -L``."""
    found, parent = [], ""
    for line in listing.splitlines():
        if match := _MIG_LINE.match(line):
            if parent:
                found.append((parent, match[2], match[3], match[1]))
            continue
        # The devices below a GPU that cannot be read are not those of the GPU before.
        gpu = _GPU_LINE.match(line)
        parent = gpu[2] if gpu else ""
    return found


def read_instances(document: str) -> dict[tuple[str, str], int]:
    """
    Return GPU instance ids by the UUID of the GPU and the number of the MIG device, of ``nvidia-smi -q -x``.

    No parser of XML: one GPU's odd text, such as the name of a process, would spoil the whole document. What stands
    behind the first process of a GPU may come from its user, and is not read.
    """
    found: dict[tuple[str, str], set[int]] = {}
    for part in _GPU_PART.split(document)[1:]:
        told = part.partition("<processes>")[0]
        parent = _PARENT.search(told)
        for device in _DEVICE.findall(told) if parent else []:
            number, instance = _NUMBER.search(device), _INSTANCE.search(device)
            if parent and number and instance:
                found.setdefault((parent[1], number[1]), set()).add(int(instance[1]))
    return {key: next(iter(ids)) for key, ids in found.items() if len(ids) == 1}
