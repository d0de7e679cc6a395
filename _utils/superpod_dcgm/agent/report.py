"""What an administrator should know of the device table, in sentences."""

from __future__ import annotations

from typing import Any


def warnings(status: dict[str, Any], shared: str = "") -> list[str]:
    """
    Return bad GPUs, why positions are guessed, and what Slurm has that the pillar has not.

    :param status: as ``devices.read_status`` returns it.
    :param shared: ``shared`` of job-map.conf; given, it is compared with what slurmd lists.
    """
    found = [_sentence(one) for one in status.get("bad", [])]
    found += status.get("remarks", [])
    if status.get("guessed"):
        why = f": {status['note']}" if status.get("note") else ""
        found.append(f"The positions in Slurm are guessed (by {status.get('positions', '')}){why}")
    if status.get("pending"):
        found.append(status["pending"])
    unsaid = [kind for kind in status.get("sharing", []) if shared and shared != "yes" and shared != kind]
    if unsaid:
        kinds = " and gres/".join(unsaid)
        found.append(f"Slurm has gres/{kinds} here, and slurm:gres of the pillar does not say so; GPUs count as shared")
    return found


def _sentence(one: dict[str, str]) -> str:
    """What is wrong with a GPU, as ``gpus.described`` returns it."""
    name = f"GPU {one['gpu']}" if one.get("gpu") else "a GPU"
    place = f" ({one['bus']})" if one.get("bus") else ""
    return f"{name}{place}: {one.get('why', '')}"
