"""
XIDs, the driver's error numbers, by what they ask for: which alert they raise.

The classes are NVIDIA's (its XID catalogue, for A100, H100, B100 and GB200). An XID that is in no class raises
``SuperpodGpuXidOther``: one that nobody has judged is told, too.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Class:
    """XIDs that ask for the same; ``alert`` and ``severity`` are empty for those that ask for nothing."""

    alert: str
    severity: str
    what: str
    xids: tuple[int, ...]


CLASSES: dict[str, Class] = {
    "nothing": Class(
        *("", "", "nothing to do; 45 follows another error or ordinary job clean-up"),
        (37, 38, 43, 44, 45, 66, 67, 93, 106, 107, 108, 121, 137, 141, 152, 153, 157, 160, 161),
    ),
    "application": Class(
        *("SuperpodGpuXidApplication", "info", "the application is at fault, and its user has to look"),
        (
            *(8, 11, 13, 25, 31, 32, 39, 40, 41, 60, 68, 69, 70, 71, 72, 75, 76, 77, 80, 82, 83, 84, 85, 86, 88, 89),
            *(96, 97, 98, 99, 100, 101, 102, 103, 104, 105, 126, 127, 128, 129, 130, 131, 132, 133, 134, 135, 139),
        ),
    ),
    "memory": Class(
        *("SuperpodGpuXidMemory", "warning", "the memory had an error that was contained or remapped"),
        (63, 94),
    ),
    "reset": Class(
        *("SuperpodGpuXidReset", "critical", "the GPU has to be reset"),
        (46, 48, 62, 64, 95, 109, 110, 119, 120, 136, 140, 143, 155, 156, 158),
    ),
    "reboot": Class(*("SuperpodGpuXidReboot", "critical", "the node has to be rebooted"), (79, 151)),
    "hands": Class(*("SuperpodGpuXidHands", "critical", "somebody has to look at the machine"), (54, 142)),
    "support": Class(*("SuperpodGpuXidSupport", "warning", "a case for NVIDIA's support"), (78, 92, 159)),
    "nvlink": Class(*("SuperpodGpuXidNvlink", "critical", "an NVLink failed"), (74,)),
    "fabric": Class(
        *("SuperpodGpuXidFabric", "warning", "an NVLink of the fifth generation reports an error"),
        (144, 145, 146, 147, 148, 149, 150),
    ),
    "recovery": Class(
        *("SuperpodGpuXidRecovery", "warning", "the driver changed what it asks for to recover the GPU"), (154,)
    ),
}


def of(xid: int) -> str:
    """Return the class of an XID, or ``""``."""
    return next((name for name, one in CLASSES.items() if xid in one.xids), "")


def pattern(*classes: str) -> str:
    """Return a regular expression for the XIDs of these classes."""
    return "|".join(str(xid) for name in classes for xid in CLASSES[name].xids)
