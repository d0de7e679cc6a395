"""Which file system a directory lies on: Prometheus' database is for local disks only."""

from __future__ import annotations

import os
import re

from superpod_dcgm.base import files

_MOUNTS = "/proc/self/mounts"
# File systems whose files are on other machines, as /proc/self/mounts calls them, with and without FUSE.
_NETWORK = frozenset(
    (
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ncpfs", "lustre", "gpfs", "beegfs", "ceph"),
        *("glusterfs", "sshfs", "wekafs", "panfs", "pvfs2", "orangefs", "vastnfs", "juicefs", "s3fs", "rclone"),
        *("davfs", "moosefs", "mfs", "quobyte", "hdfs", "goofys", "gcsfuse", "mount-s3", "acfs", "ocfs2", "gfs2"),
    )
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def obstacle(directory: str, mounts: str | None = None) -> str:
    """
    Return a sentence if a directory lies, or would be made, on a file system of the network; else ``""``.

    :param mounts: text of the kind of /proc/self/mounts; by default that of this machine.
    """
    # What is only mounted when somebody looks is mounted now.
    real = os.path.realpath(directory)
    os.path.lexists(real)
    text = files.told(_MOUNTS).decode(errors="replace") if mounts is None else mounts
    source, place, kind = of(real, text)
    if kind.removeprefix("fuse.") not in _NETWORK:
        return ""
    return (
        f"dcgm:prometheus:data: {directory} lies on {kind} ({source} at {place}), and Prometheus' database gets "
        "damaged on file systems of the network; give it a directory on a local disk of this machine"
    )


def of(path: str, mounts: str) -> tuple[str, str, str]:
    """
    Return source, directory and kind of the mount that has a path.

    :param mounts: text of the kind of /proc/self/mounts, which calls a space ``\\040``.
    """
    found = ("", "", "")
    for fields in (line.split() for line in mounts.splitlines()):
        if len(fields) < 3:
            continue
        source, place = (_OCTAL.sub(lambda match: chr(int(match[1], 8)), text) for text in fields[:2])
        inside = path == place or path.startswith(f"{place.rstrip('/')}/")
        # Of two that lie on one another, the later hides the earlier.
        if inside and len(place) >= len(found[1]):
            found = (source, place, fields[2])
    return found
