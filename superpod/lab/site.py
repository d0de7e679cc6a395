"""The site layer of a machine: what makes the common image this lab's head or node number two."""

from __future__ import annotations

import os
import shutil
import uuid
from pathlib import Path

import yaml

from superpod.errors import SuperpodError
from superpod.lab import layers
from superpod.lab.image import user_ids
from superpod.lab.layout import CONFIG, HEAD, ROOTFS, Layout, hosts_file, kind_of, node_names
from superpod.process import output

FILES = CONFIG / "files"


def units_of(machine: str) -> list[str]:
    """Units that have to run on a machine, before anything is deployed."""
    return list(yaml.safe_load((CONFIG / "machines.yaml").read_text())[kind_of(machine)])


def slurm_conf(nodes: int) -> str:
    """Slurm's configuration for that many nodes."""
    return (CONFIG / "slurm.conf").read_text().replace("@NODES@", f"dgx-[01-{nodes:02d}]")


def make_keys(layout: Layout, nodes: int) -> None:
    """Make the keys that are missing: one pair per minion, the master's, and munge's."""
    layout.keys.mkdir(mode=0o700, exist_ok=True)
    for name in ("master", HEAD, *node_names(nodes)):
        private = layout.keys / f"{name}.pem"
        if not private.exists():
            output(["openssl", "genrsa", "-out", str(private), "2048"], f"No key could be made for {name}")
            public = ["openssl", "rsa", "-in", str(private), "-pubout", "-out", str(private.with_suffix(".pub"))]
            output(public, f"No public key could be made for {name}")
    munge = layout.keys / "munge.key"
    if not munge.exists():
        munge.write_bytes(os.urandom(1024))


def make_site(layout: Layout, machine: str, nodes: int, image: Path, bare: bool = False) -> None:
    """Write the machine's site layer anew; its disk must not be mounted."""
    stage = f"{kind_of(machine)}-{'bare' if bare else 'prepared'}"
    layer = layout.disk(machine) / "site"
    shutil.rmtree(layer, ignore_errors=True)
    layer.mkdir(parents=True, mode=0o755)
    os.chmod(layer, 0o755)
    kinds = ("common", kind_of(machine))
    for tree in (*(place / kind for kind in kinds for place in (FILES, ROOTFS)), FILES / stage):
        layers.copy_tree(tree, layer, [image])
    _write_generated(layout, layer, machine, nodes, image)
    for unit in units_of(machine):
        path = _unit_path(unit, layer, image)
        layers.link(layer, f"etc/systemd/system/multi-user.target.wants/{unit}.service", path, [image])


def _write_generated(layout: Layout, layer: Path, machine: str, nodes: int, image: Path) -> None:
    layers.write(layer, "etc/hostname", f"{machine}\n", [image])
    layers.write(layer, "etc/hosts", hosts_file(), [image])
    layers.write(layer, "etc/slurm/slurm.conf", slurm_conf(nodes), [image])
    key = (layout.keys / "munge.key").read_bytes()
    layers.write(layer, "etc/munge/munge.key", key, [image], 0o400, user_ids(image, "munge"))


def _unit_path(unit: str, layer: Path, image: Path) -> str:
    for directory in ("etc/systemd/system", "usr/lib/systemd/system"):
        if any((root / directory / f"{unit}.service").exists() for root in (layer, image)):
            return f"/{directory}/{unit}.service"
    raise SuperpodError(f"No unit {unit}.service in the machine image, although lab/config/machines.yaml names it.")


def make_upper(layout: Layout, machine: str, nodes: int, image: Path) -> None:
    """Begin the machine's upper layer with what is the machine's own and survives re-provisioning."""
    disk = layout.disk(machine)
    upper, below = disk / "upper", [disk / "site", image]
    upper.mkdir(mode=0o755, exist_ok=True)
    (disk / "work").mkdir(exist_ok=True)
    (disk / "root").mkdir(exist_ok=True)
    layers.write(upper, "etc/machine-id", f"{uuid.uuid4().hex}\n", below, 0o444)
    layers.write(upper, "etc/salt/minion_id", machine, below)
    for name, mode in ((f"{machine}.pem", 0o400), (f"{machine}.pub", 0o644)):
        target = "etc/salt/pki/minion/minion" + Path(name).suffix
        layers.write(upper, target, (layout.keys / name).read_bytes(), below, mode)
    layers.write(upper, "etc/salt/pki/minion/minion_master.pub", (layout.keys / "master.pub").read_bytes(), below)
    if machine == HEAD:
        _write_master_keys(layout, upper, below, nodes, user_ids(image, "salt"))


def _write_master_keys(layout: Layout, upper: Path, below: list[Path], nodes: int, owner: tuple[int, int]) -> None:
    for name, mode in (("master.pem", 0o400), ("master.pub", 0o644)):
        layers.write(upper, f"etc/salt/pki/master/{name}", (layout.keys / name).read_bytes(), below, mode, owner)
    for minion in (HEAD, *node_names(nodes)):
        layers.write(upper, f"etc/salt/pki/master/minions/{minion}", minion_key(layout, minion), below, 0o644, owner)
    os.chown(upper / "etc/salt/pki/master/minions", *owner)


def minion_key(layout: Layout, minion: str) -> bytes:
    """A minion's public key, as the master accepts it."""
    return (layout.keys / f"{minion}.pub").read_bytes()
