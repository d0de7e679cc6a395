"""The holder: one process that owns the namespaces in which all of a lab lives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import cgroups
from superpod.lab.image import PRIVATE
from superpod.lab.layout import HOLDER_ADDRESS, Layout
from superpod.process import output

# The order matters: a tmpfs on /run first and without libmount's bookkeeping, or /run/mount stays behind on the host.
SCRIPT = """
set -e
mount -n --make-rprivate /
mount -n -t tmpfs -o mode=755 tmpfs /run
mkdir /run/netns
umount -R -l /sys/fs/cgroup
mount -n -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /sys/fs/cgroup/holder /sys/fs/cgroup/exec
echo 1 > /sys/fs/cgroup/holder/cgroup.procs
ip link set lo up
ip link add br0 type bridge
ip address add "$1/24" dev br0
ip link set br0 up
touch "$2"
exec {idle}<> <(:)
while :; do read -r -t 3600 -u "$idle" || :; done
"""

NAMESPACES = ["--net", "--cgroup"]


class Holder:
    """Namespaces, bridge and control group of one lab."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.group = cgroups.lab_group(layout.name)

    @property
    def ready(self) -> Path:
        """Made by the holder when its bridge is up."""
        return self.layout.root / "holder.ready"

    @property
    def pid(self) -> int | None:
        """The holder's process as the host numbers it, or None."""
        found = cgroups.members(self.group / "holder")
        return found[0] if found and self.ready.exists() else None

    def start(self) -> None:
        """Make the namespaces; whatever an earlier holder of this name left is removed first."""
        self.kill()
        try:
            self.group.mkdir()
        except FileExistsError:
            raise SuperpodError(f"The lab '{self.layout.name}' is being started by somebody else.") from None
        log = self.layout.root / "holder.log"
        script = ["bash", "-c", SCRIPT, "holder", HOLDER_ADDRESS, str(self.ready)]
        cgroups.spawn(self.group, [*PRIVATE, *NAMESPACES, "--", *script], log)
        self._wait_ready(log)

    def _wait_ready(self, log: Path, timeout: float = 10) -> None:
        deadline = time.monotonic() + timeout
        while self.pid is None:
            if time.monotonic() > deadline:
                lines = log.read_text(errors="replace").strip().splitlines()
                raise SuperpodError(
                    f"The lab's namespaces could not be made: {lines[-1] if lines else 'no reason given'}"
                )
            time.sleep(0.02)

    def kill(self) -> None:
        """End every process of the lab; namespaces, mounts, bridge and links go with the last one."""
        cgroups.kill(self.group)
        self.ready.unlink(missing_ok=True)

    def enter(
        self, argv: Sequence[str], pid: int | None = None, options: Sequence[str] = ("-m", "-n", "-p", "-C")
    ) -> list[str]:
        """Command line that runs argv in the namespaces of the holder (or another process) and in the lab's group."""
        target = pid or self.pid
        if target is None:
            raise SuperpodError(f"The lab '{self.layout.name}' is not running; start it with: ./setup.sh lab")
        return cgroups.joined(self.group / "exec", ["nsenter", "-t", str(target), *options, "--", *argv])

    def run(self, argv: Sequence[str]) -> str:
        """Run a command in the holder; its output, or an error that quotes what it said."""
        return output(self.enter(argv), f"{' '.join(argv[:4])} … failed in the lab")
