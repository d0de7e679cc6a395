"""What a line of the kernel log says of an XID of a GPU, or of an SXid of an NVSwitch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent.device_table import Table

# A GPU instance (GPU-I:05 GPU-CI:02) may stand behind the bus; before 2013 there was no PCI: in front of it.
_XID = re.compile(
    r"NVRM: Xid \((?:PCI:)?([0-9A-Fa-f:.]{7,16})[^)]{0,64}\): ([0-9]{1,5})\b(.{0,200})", re.ASCII | re.DOTALL
)
_SXID = re.compile(
    r"nvidia-nvswitch([0-9]{1,3}): SXid \(PCI:([0-9A-Fa-f:.]{7,16})\): ([0-9]{1,6}), ?(.{0,20})", re.ASCII
)
# What the driver asks for now: "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)".
_ACTION = re.compile(r"recovery action changed from 0x[0-9A-Fa-f]+ \([^)]*\) to 0x([0-9A-Fa-f]{1,4})\b", re.ASCII)
_ACTIONS = {0: "none", 1: "reset", 2: "reboot", 3: "drain_p2p", 4: "drain_reset"}
_CHANGED = "154"
# A line may be cut, or be of a driver that writes it otherwise: it is shown, and nobody guesses.
_UNKNOWN = "unknown"
_XID_BEGINS, _SXID_BEGINS = "NVRM: Xid", "nvidia-nvswitch"
# The lines that follow the first one of an SXid.
_FURTHER = ("Severity", "Data")


@dataclass(frozen=True)
class Event:
    """One event: ``kind`` is ``xid`` or ``sxid``, ``labels`` are those of its metric."""

    kind: str
    labels: dict[str, str]


def may_tell(text: str) -> bool:
    """Return whether a text can have a line of an XID or SXid in it; fast, and for JSON too."""
    return "Xid" in text


def parse(line: str, table: Table) -> Event | None:
    """
    Return the event that a line of the kernel log tells, or None for any other line.

    :param table: the device table, which knows the GPU at a bus.
    """
    if line.startswith(_XID_BEGINS):
        return _xid(line, table)
    if line.startswith(_SXID_BEGINS) and (found := _SXID.match(line)):
        switch, place, number, rest = found.groups()
        if rest.startswith(_FURTHER):
            return None
        severity = {"fatal": "fatal", "non-fatal": "non-fatal"}.get(rest.partition(",")[0].lower(), _UNKNOWN)
        told = {"sxid": str(int(number)), "nvswitch": switch, "pci_bus_id": nvidia.bus_in(place), "severity": severity}
        return Event("sxid", told)
    return None


def _xid(line: str, table: Table) -> Event:
    found = _XID.match(line)
    if not found:
        return Event("xid", {"xid": _UNKNOWN, "gpu": "", "UUID": "", "pci_bus_id": ""})
    place, number, rest = nvidia.bus_in(found[1]), str(int(found[2])), found[3]
    gpu = next((gpu for gpu, (_, where) in table.places.items() if place and where == place), "")
    labels = {"xid": number, "gpu": gpu, "UUID": table.gpus.get(gpu, "").strip("-"), "pci_bus_id": place}
    if number == _CHANGED:
        action = _ACTION.search(rest)
        labels["action"] = _ACTIONS.get(int(action[1], 16), _UNKNOWN) if action else _UNKNOWN
    return Event("xid", labels)
