"""Where things of the lab are: the checkout, the cache of all labs, the state of one; its names and addresses."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from superpod.errors import SuperpodError

CHECKOUT = Path(__file__).resolve().parents[2]
LAB = CHECKOUT / "lab"
CONFIG = LAB / "config"
ROOTFS = LAB / "rootfs"

# The head node is called as in README; commands and host names know it by the shorter name as well.
HEAD, HEAD_ALIAS = "bcm-01", "head"

NETWORK = "198.18.0"
ADDRESSES = {"master": 254, HEAD: 1, "bcm-02": 2}
ALIASES = {HEAD: [HEAD_ALIAS, "slurmctl"]}
HOLDER_ADDRESS = f"{NETWORK}.250"
MAX_NODES = 32
GO_CACHE = "/var/cache/go-build"
GO_MODULES = "/var/cache/go-modules"


def cache_dir() -> Path:
    """Directory of machine images and archives; survives `down` and the checkout."""
    return Path(os.environ.get("SUPERPOD_LAB_CACHE", "/var/cache/superpod-lab"))


def go_cache() -> Path:
    """Directory of Go's build cache, which all labs share; nodes see it as GO_CACHE."""
    return cache_dir() / "go-build"


def go_modules() -> Path:
    """Directory of the Go modules that the true exporter needs, for all labs; nodes see `go_proxy` as GO_MODULES."""
    return cache_dir() / "go-modules"


def go_proxy() -> Path:
    """The part of it that has the layout of a module proxy."""
    return go_modules() / "cache/download"


def offer_go_cache() -> None:
    """Make Go's build cache one that whoever builds on a node can write to: root, or a user of ours."""
    go_cache().mkdir(parents=True, exist_ok=True)
    for folder in (go_cache(), *(path for path in go_cache().iterdir() if path.is_dir())):
        folder.chmod(0o777)


def state_root() -> Path:
    """Directory below which every lab has one of its own name."""
    return Path(os.environ.get("SUPERPOD_LAB_STATE", "/var/lib/superpod-lab"))


def node_names(count: int) -> list[str]:
    """Names of the DGX nodes of a lab with that many."""
    return [f"dgx-{number:02d}" for number in range(1, count + 1)]


def kind_of(machine: str) -> str:
    """Which tree under lab/rootfs a machine gets."""
    return "head" if machine == HEAD else "node"


def addresses_of(machine: str) -> list[str]:
    """Every address on the machine's eth0, its own first."""
    if machine == HEAD:
        return [f"{NETWORK}.{ADDRESSES[name]}" for name in (HEAD, "bcm-02", "master")]
    return [f"{NETWORK}.{10 + int(machine.rpartition('-')[2])}"]


def hosts_file() -> str:
    """The one /etc/hosts of all machines; it names the largest lab so that growing one needs no change."""
    lines = ["127.0.0.1 localhost"]
    for name, last in ADDRESSES.items():
        lines.append(" ".join([f"{NETWORK}.{last}", name, *ALIASES.get(name, [])]))
    lines += [f"{addresses_of(node)[0]} {node}" for node in node_names(MAX_NODES)]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class Layout:
    """Paths of one lab's state; nothing here touches the disk."""

    name: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,23}", self.name):
            raise SuperpodError(
                f"'{self.name}' is no name for a lab: lower-case letters, digits and '-', at most 24.", 2
            )

    @property
    def root(self) -> Path:
        """Everything that `down` removes."""
        return state_root() / self.name

    @property
    def record(self) -> Path:
        """What the lab was started with."""
        return self.root / "lab.json"

    @property
    def keys(self) -> Path:
        """Salt and munge keys, made once per lab."""
        return self.root / "keys"

    @property
    def shared(self) -> Path:
        """What all machines see as /cm/shared."""
        return self.root / "cmshared"

    @property
    def lock(self) -> Path:
        """Held by whoever changes the lab; outside of `root`, which comes and goes."""
        return state_root() / f".{self.name}.lock"

    @property
    def disks(self) -> Path:
        """Upper layers and mount points of the machines."""
        return self.root / "disks"

    def disk(self, machine: str) -> Path:
        """Directory with the layers site, upper, work and the mount point root."""
        return self.disks / machine

    def console(self, machine: str) -> Path:
        """What systemd printed while the machine booted."""
        return self.root / f"console-{machine}.log"
