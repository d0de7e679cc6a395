"""The lab's description of a node's GPUs: nvidia-smi, the host engine and /proc/driver/nvidia all show the same."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

DESCRIPTION = Path("/etc/lab/gpus.json")
MODEL = "NVIDIA H100 80GB HBM3"
DRIVER = "550.54.15"
CUDA = "12.4"
MEMORY_MIB = 81559
BUSES = ("1B", "43", "52", "61", "9D", "C3", "D1", "DF")
# What whoever asks finds while the driver is away, and with it the description.
NO_DRIVER: dict[str, Any] = {"profile": "none", "driver": "", "cuda": "", "gpus": []}
PROFILES = ("identity", "minor-order", "mig")
# In PCI order, as on HGX boards with AMD hosts.
MINORS_OUT_OF_ORDER = (2, 3, 0, 1, 6, 7, 4, 5)
# Per divided GPU: (device name, profile of the GPU instance, GPU instance id, compute instance id). Ids have gaps, as
# real ones do after instances were removed, and one GPU instance is shared by two compute instances.
MIG_LAYOUT: dict[int, tuple[tuple[str, str, int, int], ...]] = {
    0: (("3g.40gb", "3g.40gb", 2, 0), ("2g.20gb", "2g.20gb", 5, 0), ("1g.10gb", "1g.10gb", 9, 0)),
    1: (
        ("1c.2g.20gb", "2g.20gb", 3, 0),
        ("1c.2g.20gb", "2g.20gb", 3, 1),
        ("1g.10gb", "1g.10gb", 7, 0),
        ("1g.10gb", "1g.10gb", 11, 0),
        ("1g.10gb", "1g.10gb", 13, 0),
    ),
}


def named(kind: str, *parts: object) -> str:
    """Return an id such as GPU-… that is the same each time for the same host and board, and different elsewhere."""
    return f"{kind}-{uuid.uuid5(uuid.NAMESPACE_DNS, '/'.join(map(str, parts)))}"


def describe(profile: str, host: str) -> dict[str, Any]:
    """Return the description of a node's eight GPUs under a profile."""
    if profile not in PROFILES:
        raise ValueError(f"{profile!r} is not a profile; there are {', '.join(PROFILES)}")
    minors = MINORS_OUT_OF_ORDER if profile == "minor-order" else range(len(BUSES))
    layout = MIG_LAYOUT if profile == "mig" else {}
    gpus = [board(host, index, minor, layout.get(index, ())) for index, minor in enumerate(minors)]
    return {"profile": profile, "driver": DRIVER, "cuda": CUDA, "gpus": gpus}


def board(host: str, index: int, minor: int, layout: tuple[tuple[str, str, int, int], ...]) -> dict[str, Any]:
    """Return one GPU; the index is its place in PCI order, as NVML and DCGM count."""
    instances = [
        {"device": place, "name": name, "profile": kind, "gi": gi, "ci": ci, "uuid": named("MIG", host, index, gi, ci)}
        for place, (name, kind, gi, ci) in enumerate(layout)
    ]
    return {
        "index": index,
        "minor": minor,
        "uuid": named("GPU", host, index),
        "bus": f"00000000:{BUSES[index]}:00.0",
        "model": MODEL,
        "serial": str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{host}/{index}").int % 10**13).rjust(13, "0"),
        "mig": instances,
    }


def load(path: Path = DESCRIPTION) -> dict[str, Any]:
    """Return the description that is in force."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def seen(path: Path = DESCRIPTION) -> dict[str, Any]:
    """Return the description that is in force, without a driver one of nothing."""
    return load(path) if path.exists() else NO_DRIVER


def save(description: dict[str, Any], path: Path = DESCRIPTION) -> None:
    """Put a description in force; a reader sees the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
    os.chmod(fresh, 0o644)
    os.replace(fresh, path)


def information(gpu: dict[str, Any], driver: str) -> str:
    """Return the text of /proc/driver/nvidia/gpus/BUS/information."""
    rows = {
        "Model": gpu["model"],
        "IRQ": str(100 + gpu["index"]),
        "GPU UUID": gpu["uuid"],
        "Video BIOS": "96.00.74.00.01",
        "Bus Type": "PCIe",
        "Bus Location": short_bus(gpu),
        "Device Minor": str(gpu["minor"]),
        "GPU Firmware": driver,
        "GPU Excluded": "No",
    }
    return "".join(f"{name}: \t {value}\n" for name, value in rows.items())


def short_bus(gpu: dict[str, Any]) -> str:
    """Return the bus location as the kernel writes it: four digits of domain, lower case."""
    found: str = gpu["bus"].lower()
    return found[4:]


def write_proc(description: dict[str, Any], root: Path) -> None:
    """Write the tree of /proc/driver/nvidia under another root."""
    (root / "gpus").mkdir(parents=True, exist_ok=True)
    version = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {description['driver']}\n"
    (root / "version").write_text(version, encoding="utf-8")
    for gpu in description["gpus"]:
        place = root / "gpus" / short_bus(gpu)
        place.mkdir(exist_ok=True)
        (place / "information").write_text(information(gpu, description["driver"]), encoding="utf-8")
    write_capabilities(description, root / "capabilities")


def write_capabilities(description: dict[str, Any], root: Path) -> None:
    """Write which files of /dev/nvidia-caps belong to which instance, and remove the instances that are gone."""
    wanted = {}
    for gpu in description["gpus"]:
        for device in gpu["mig"]:
            place = root / f"gpu{gpu['minor']}/mig/gi{device['gi']}"
            wanted[place] = capability(gpu["minor"], device["gi"])
            wanted[place / f"ci{device['ci']}"] = capability(gpu["minor"], device["gi"], device["ci"])
    for place in [*root.glob("gpu*/mig/gi*/ci*"), *root.glob("gpu*/mig/gi*")]:
        if place not in wanted:
            shutil.rmtree(place, ignore_errors=True)
    for gpu in description["gpus"]:
        (root / f"gpu{gpu['minor']}/mig").mkdir(parents=True, exist_ok=True)
    for place, minor in wanted.items():
        place.mkdir(parents=True, exist_ok=True)
        text = f"DeviceFileMinor: {minor}\nDeviceFileMode: 292\nDeviceFileModify: 1\n"
        (place / "access").write_text(text, encoding="utf-8")


def capability(gpu: int, instance: int, compute: int | None = None) -> int:
    """Return the number of the file in /dev/nvidia-caps, which follows from the minor number and the two ids."""
    first = 3 + (gpu * 15 + instance) * 9
    return first if compute is None else first + 1 + compute
