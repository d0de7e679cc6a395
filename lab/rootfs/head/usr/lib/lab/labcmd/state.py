"""What the stand-in for BCM knows: devices with their roles, software images, and the faults that are switched on."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CLUSTER = "Lab Cluster"
HEADS = ("bcm-01", "bcm-02")
HEAD_ROLES = ("backup", "storage", "headnode", "monitoring", "slurmserver", "boot")
NODE_ROLES = ("slurmclient", "slurmsubmit")
CATEGORY = "dgx"
IMAGE = "dgx-image"
FAULTS = {
    "down": "refuses connections",
    "slow": "answers late, after 20 seconds or as many as are given",
    "http-401": "refuses every certificate",
    "http-500": "fails at every request",
    "not-json": "answers 200 with a web page",
    "empty": "answers with an empty list of devices",
    "half": "leaves out half of the nodes",
    "passive": "the other head is the active one; this one refuses",
    "redirect": "a passive head redirects to the active one instead of refusing",
}
SLOW_SECONDS = 20.0


class Mistake(Exception):
    """Something the user asked for that cannot be done, in one sentence."""


@dataclass(frozen=True)
class Paths:
    """Where everything is; another root is for tests."""

    root: Path = Path("/")

    @property
    def state(self) -> Path:
        return self.root / "var/lib/lab-cmd"

    @property
    def certificates(self) -> Path:
        return self.root / "cm/local/apps/cmd/etc"

    @property
    def admin(self) -> Path:
        return self.root / "root/.cm"


def short(name: str) -> str:
    """Return the first label of a host name."""
    return name.split(".")[0]


def device(name: str, address: str, roles: list[str], kind: str, category: str | None) -> dict[str, Any]:
    """Return a device in the shape of the REST interface; head nodes have no category."""
    identity = uuid.uuid5(uuid.NAMESPACE_DNS, name)
    mac = ":".join(f"{byte:02x}" for byte in (2, *identity.bytes[:5]))
    shared = {"cluster": CLUSTER, "hostname": name, "ip": address, "mac": mac, "network": "internalnet"}
    found = {**shared, "roles": roles, "type": kind, "uuid": str(identity)}
    return {"category": category, **found} if category else found


def new_node(text: str) -> dict[str, Any]:
    """Return a node with the roles of one that runs jobs, from NAME or NAME=ADDRESS."""
    name, _, address = text.partition("=")
    return device(short(name), address or address_of(name), list(NODE_ROLES), "PhysicalNode", CATEGORY)


def address_of(name: str) -> str:
    """Return the address of a name, or one that says that there is none."""
    try:
        return socket.gethostbyname(name)
    except OSError:
        return "0.0.0.0"


class State:
    """The files behind the daemon; they are read anew for each request, so that a change counts at once."""

    def __init__(self, paths: Paths) -> None:
        self.paths = paths

    def read(self, name: str, default: Any) -> Any:
        """Return the content of one file."""
        try:
            return json.loads((self.paths.state / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return default

    def write(self, name: str, content: Any) -> None:
        """Replace one file; a reader sees the old or the new one."""
        self.paths.state.mkdir(parents=True, exist_ok=True)
        fresh = self.paths.state / f".{name}.{os.getpid()}"
        fresh.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        os.replace(fresh, self.paths.state / name)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from writing meanwhile."""
        self.paths.state.mkdir(parents=True, exist_ok=True)
        with (self.paths.state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def devices(self) -> list[dict[str, Any]]:
        """Return all devices."""
        found: list[dict[str, Any]] = self.read("devices.json", [])
        return found

    def faults(self) -> dict[str, float]:
        """Return the faults that are on, each with its figure."""
        found: dict[str, float] = self.read("faults.json", {})
        return found

    def fault(self, name: str, head: str) -> float | None:
        """Return a fault's figure if it is on for this head: fault NAME is for all, NAME@HEAD for one."""
        on = self.faults()
        return on.get(f"{name}@{head}", on.get(name))

    def active(self) -> str:
        """Return the head that is active."""
        return HEADS[1] if "passive" in self.faults() else HEADS[0]

    def set_fault(self, name: str, figure: float | None) -> None:
        """Switch a fault on with a figure, or off with None."""
        kind, _, head = name.partition("@")
        if kind not in FAULTS or (head and (kind == "passive" or head not in (*HEADS, "master"))):
            raise Mistake(f"There is no fault {name}; there are {', '.join(FAULTS)}, and NAME@HEAD for one head.")
        with self.locked():
            faults = self.faults()
            faults.pop(name, None)
            if figure is not None:
                faults[name] = figure
            self.write("faults.json", faults)

    def start(self, nodes: list[str], keep: bool) -> None:
        """Make the two heads and the nodes (NAME or NAME=ADDRESS) the only devices, without faults; keep: add only."""
        wanted = [device(name, address_of(name), list(HEAD_ROLES), "HeadNode", None) for name in HEADS]
        wanted += [new_node(node) for node in nodes]
        with self.locked():
            there = self.devices() if keep else []
            known = {found["hostname"] for found in there}
            self.write("devices.json", there + [found for found in wanted if found["hostname"] not in known])
            self.write("faults.json", self.faults() if keep else {})
            images = {"images": [IMAGE], "grabs": []}
            self.write("images.json", self.read("images.json", images) if keep else images)

    def change(self, names: str, edit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Edit devices, named with commas, all at once; return the last one."""
        with self.locked():
            devices = {found["hostname"]: found for found in self.devices()}
            for name in map(short, names.split(",")):
                if name not in devices:
                    raise Mistake(f"There is no device {name}.")
                edit(devices[name])
            self.write("devices.json", list(devices.values()))
            return devices[name]

    def change_roles(self, names: str, changes: list[str]) -> list[str]:
        """Apply +ROLE and -ROLE in order to devices, named with commas; return the roles that the last one then has."""
        for change in changes:
            if change[:1] not in "+-" or not change[1:]:
                raise Mistake(f"A change of roles is +ROLE or -ROLE, not {change!r}.")

        def edit(found: dict[str, Any]) -> None:
            for change in changes:
                kept = [role for role in found["roles"] if role != change[1:]]
                found["roles"] = [*kept, change[1:]] if change[0] == "+" else kept

        roles: list[str] = self.change(names, edit)["roles"]
        return roles
