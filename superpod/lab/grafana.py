"""A Grafana package that the user brings: on the shared storage, and in the pillar of the lab."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from superpod.errors import SuperpodError

# In the lab, where its shared storage is mounted.
SHARED = "/cm/shared"
PORT = 3000
NONE = json.dumps({"enabled": False})
_MAGIC = b"!<arch>\ndebian-binary"


def offer(directory: Path, package: Path) -> str:
    """
    Put a package on the shared storage; return the section ``grafana`` of the lab's pillar.

    :param directory: of the shared storage, as this machine sees it.
    :raises SuperpodError: the file is no Debian package.
    """
    with package.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise SuperpodError(f"--grafana: {package} is no Debian package (.deb), which the lab's machines need.", 2)
    target = directory / "lab" / "grafana.deb"
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(package, target)
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    found: dict[str, Any] = {"enabled": True, "package_file": f"{SHARED}/lab/{target.name}", "package_sha256": digest}
    # Everywhere: the address of this machine is forwarded to the head's.
    return json.dumps({**found, "address": "", "port": PORT})
