"""What this machine must offer before anything is changed; one sentence for each thing it lacks."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import sys
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import cgroups, image
from superpod.lab.layout import cache_dir, state_root

CAP_SYS_ADMIN = 21
STATE_MB = 1500
TOOLS = ("unshare", "nsenter", "systemd-nspawn", "mmdebstrap", "ip", "openssl", "git")


def require_root() -> None:
    """The lab is root's."""
    if os.geteuid() != 0:
        raise SuperpodError("The lab needs root; run it through setup.sh, which asks for sudo.")


def reasons(installed: bool = True) -> list[str]:
    """Why this machine cannot run the lab; empty if it can. Tools count only when they had a chance to be installed."""
    if os.geteuid() != 0:
        return ["The lab needs root."]
    checks = (_architecture(), _capability(), _cgroup(), _tools() if installed else None, *_space())
    return [reason for reason in checks if reason]


def check() -> None:
    """Stop with the first reason."""
    found = reasons()
    if found:
        raise SuperpodError(found[0])


def _architecture() -> str | None:
    if platform.machine() == "x86_64":
        return None
    return f"The lab runs on x86_64 only, and this machine is {platform.machine()}."


def capabilities(status: str) -> int:
    """Effective capabilities in the text of /proc/PID/status."""
    return next((int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:")), 0)


def _capability() -> str | None:
    if capabilities(Path("/proc/self/status").read_text()) >> CAP_SYS_ADMIN & 1 and _may_unshare():
        return None
    return "The lab needs systemd-nspawn, which cannot run here: this is a container without CAP_SYS_ADMIN."


def _may_unshare() -> bool:
    child = os.fork()
    if child == 0:
        clone_newns, clone_newnet = 0x20000, 0x40000000
        os._exit(1 if ctypes.CDLL(None).unshare(clone_newns | clone_newnet) else 0)
    return os.waitpid(child, 0)[1] == 0


def _cgroup() -> str | None:
    if cgroups.usable_mount():
        return None
    return cgroups.NONE_USABLE


def _tools() -> str | None:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"The lab needs {', '.join(missing)}; ./setup.sh lab installs what is missing." if missing else None


def _space() -> list[str | None]:
    needed: dict[int, tuple[Path, int]] = {}
    for directory, megabytes in ((cache_dir(), 0 if image.is_built() else image.NEEDED_MB), (state_root(), STATE_MB)):
        place = next(path for path in (directory, *directory.parents) if path.exists())
        device = place.stat().st_dev
        needed[device] = (place, needed.get(device, (place, 0))[1] + megabytes)
    return [_lacking(place, megabytes) for place, megabytes in needed.values()]


def _lacking(place: Path, megabytes: int) -> str | None:
    free = shutil.disk_usage(place).free // 2**20
    if free >= megabytes:
        return None
    return f"The lab needs {megabytes} MB of disk space at {place}, and {free} MB are free."


def main() -> None:
    """For setup.sh, before it installs anything: say the first reason and fail."""
    found = reasons(installed=False)
    if found:
        sys.exit(f"Error: {found[0]}")


if __name__ == "__main__":
    main()
