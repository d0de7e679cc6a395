"""Control groups (v2): every process of a lab is in one, which makes `down` certain and complete."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from superpod.errors import SuperpodError

PREFIX = "superpod-lab-"
NONE_USABLE = "The lab needs a cgroup2 file system in which it may make groups, and this machine has none."


def parse_mounts(mountinfo: str) -> list[Path]:
    """Mount points of cgroup2 file systems in the text of /proc/PID/mountinfo."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if right.split(" ", 1)[0] == "cgroup2":
            found.append(Path(left.split(" ")[4].replace("\\040", " ")))
    return found


def usable_mount() -> Path | None:
    """A cgroup2 mount in which this process may make groups, or None."""
    for mount in parse_mounts(Path("/proc/self/mountinfo").read_text()):
        probe = mount / f"{PREFIX}probe-{os.getpid()}"
        try:
            probe.mkdir()
            probe.rmdir()
        except OSError:
            continue
        return mount
    return None


def lab_group(name: str) -> Path:
    """The control group of the lab of that name, whether it exists or not."""
    mount = usable_mount()
    if mount is None:
        raise SuperpodError(NONE_USABLE)
    return mount / f"{PREFIX}{name}"


def joined(group: Path, argv: Sequence[str]) -> list[str]:
    """Command line that joins the group before it becomes argv."""
    return ["bash", "-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', str(group), *argv]


def spawn(group: Path, argv: Sequence[str], log: Path) -> None:
    """Start a process that lives on in the group when we end."""
    with log.open("ab") as output:
        subprocess.Popen(
            joined(group, argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd="/"
        )


def members(group: Path) -> list[int]:
    """Processes directly in the group, as this namespace numbers them."""
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def populated(group: Path) -> bool:
    """True while any process lives in the group or below it."""
    try:
        return "populated 1" in (group / "cgroup.events").read_text()
    except OSError:
        return False


def kill(group: Path, timeout: float = 60) -> None:
    """Kill all processes of the group, wait for their end, and remove the group with all below it."""
    if not group.exists():
        return
    (group / "cgroup.kill").write_text("1")
    wait_empty(group, timeout)
    remove(group)


def wait_empty(group: Path, timeout: float) -> None:
    """Return when no process is left in the group."""
    deadline = time.monotonic() + timeout
    while populated(group):
        if time.monotonic() > deadline:
            raise SuperpodError(f"Processes in {group} do not end although they were killed.")
        time.sleep(0.02)


def remove(group: Path) -> None:
    """Remove an empty group, the innermost first."""
    for directory, _, _ in os.walk(group, topdown=False):
        _rmdir(Path(directory))


def _rmdir(group: Path, tries: int = 100) -> None:
    for left in range(tries, 0, -1):
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            # The kernel may hold a group for a moment after its last process was reaped.
            if left == 1:
                raise
            time.sleep(0.02)
