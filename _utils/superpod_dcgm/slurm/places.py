"""Which places of a node are shared with others: what is made or removed there is made or removed for all of them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

# File systems that several machines mount.
# fmt: off
_SHARED = frozenset((
    "9p", "afs", "autofs", "beegfs", "ceph", "cifs", "coda", "dvs", "fhgfs", "gfs2", "glusterfs", "gpfs", "lustre",
    "ocfs2", "orangefs", "panfs", "pvfs2", "smb3", "smbfs", "vboxsf", "virtiofs", "weka", "wekafs",
))
# fmt: on
# Of FUSE, those that show this machine's own files.
_OWN_FUSE = frozenset(("fuse.fuse-overlayfs", "fuse.lxcfs", "fuse.portal", "fuse.gvfsd-fuse"))
_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class Mount:
    """A line of mountinfo: where which part of a file system of which kind is mounted."""

    number: int
    device: str
    root: str
    point: str
    kind: str


def shared_by(path: str, promised: list[str], stores: list[str], mountinfo: str = "/proc/self/mountinfo") -> str:
    """
    Return why other nodes see what is made at ``path``, in words, or ``""``: nothing says so.

    What lies on the root's file system is this node's own: a root on the network is one per node.

    :param promised: directories of which the site says so (``slurm:shared_places``).
    :param stores: directories that have to be shared, such as ``exporter:store``.
    """
    real = os.path.realpath(path)
    for place in promised:
        if within(real, os.path.realpath(place)):
            return f"slurm:shared_places has {place}"
    mounts = read_mounts(mountinfo)
    mount = mount_of(real, mounts)
    if mount is None or mount.point == "/":
        return ""
    if is_shared_kind(mount.kind):
        return f"{mount.point} is mounted from elsewhere, as {mount.kind}"
    for store in (*stores, *promised):
        other = mount_of(os.path.realpath(store), mounts)
        if other and other.point != "/" and _same_part(real, mount, other):
            return f"it is on the same file system as {store}"
    return ""


def is_shared_kind(kind: str) -> bool:
    """Return whether a file system of this kind is one that several machines mount."""
    if kind.startswith("fuse."):
        return kind not in _OWN_FUSE
    return kind in (*_SHARED, "fuse") or (kind.startswith("nfs") and kind != "nfsd")


def within(path: str, directory: str) -> bool:
    """Return whether ``path`` is ``directory`` or below it."""
    return path == directory or path.startswith(f"{directory.rstrip('/')}/")


def _same_part(real: str, mount: Mount, other: Mount) -> bool:
    """Bind mounts have names of their own for the same directories: they are compared inside of the file system."""
    below = os.path.relpath(real, mount.point)
    inside = os.path.normpath(os.path.join(mount.root, below))
    return mount.device == other.device and within(inside, other.root)


def read_mounts(mountinfo: str) -> list[Mount]:
    """Return what is mounted, in the order of mountinfo; nothing where it cannot be read."""
    try:
        with open(mountinfo, encoding="utf-8", errors="surrogateescape") as stream:
            lines = [line.split() for line in stream]
    except OSError:
        return []
    found = []
    for words in lines:
        # Fields of proc(5): … options, any number of optional fields, `-`, type of the file system, …
        if "-" in words[6:-1]:
            kind = words[words.index("-", 6) + 1]
            found.append(Mount(int(words[0]), words[2], _plain(words[3]), _plain(words[4]), kind))
    return found


def _plain(text: str) -> str:
    return _ESCAPE.sub(lambda match: chr(int(match[1], 8)), text)


def mount_of(path: str, mounts: list[Mount], root: str = "") -> Mount | None:
    """
    Return the mount that a real path is on; where it does not exist, the one of what is nearest to it.

    :param root: what stands before each path, such as /proc/1/root with the mounts of process 1.
    """
    while not os.path.lexists(f"{root}{path}") and path != "/":
        path = os.path.dirname(path)
    number = _mount_number(f"{root}{path}")
    for mount in mounts:
        if mount.number == number:
            return mount
    # A later mount on the same point covers the former.
    fitting = [mount for mount in mounts if within(path, mount.point)]
    return max(reversed(fitting), key=lambda mount: len(mount.point), default=None)


def _mount_number(path: str) -> int | None:
    """Ask the kernel, which also knows what a later mount covers; ``/.`` makes an automounter mount."""
    try:
        descriptor = os.open(f"{path}/." if os.path.isdir(path) else path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        with open(f"/proc/self/fdinfo/{descriptor}", encoding="ascii") as stream:
            found = re.search(r"^mnt_id:\s*(\d+)$", stream.read(), re.MULTILINE)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return int(found[1]) if found else None
