"""What a lab may leave on its host: processes, mounts, links, namespaces, control groups, files."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from superpod.lab import cgroups
from superpod.lab.layout import Layout

KINDS = ("mnt", "net", "pid", "uts", "ipc", "cgroup")
ZOMBIES_MAY_TAKE = 3.0


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _namespaces(pid: int | str) -> set[str]:
    found = set()
    for kind in KINDS:
        try:
            found.add(os.readlink(f"/proc/{pid}/ns/{kind}"))
        except OSError:
            return set()
    return found


def processes(name: str) -> set[str]:
    """Processes that are in a lab's control group or in namespaces other than ours, but not in another lab's group."""
    ours, found = _namespaces("self"), set()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        group, spaces = _text(entry / "cgroup"), _namespaces(entry.name)
        in_lab = f"/{cgroups.PREFIX}{name}/" in group or group.rstrip().endswith(f"/{cgroups.PREFIX}{name}")
        elsewhere = bool(spaces) and spaces != ours and cgroups.PREFIX not in group
        if in_lab or elsewhere:
            command = _text(entry / "cmdline").replace("\0", " ").strip() or _text(entry / "comm").strip()
            found.add(f"process {entry.name} {command}")
    return found


def traces(name: str) -> set[str]:
    """Everything on this machine that a lab of that name could have left, each as a line of text."""
    layout, found = Layout(name), processes(name)
    mounts = (line.split(" ")[4] for line in _text(Path("/proc/self/mountinfo")).splitlines())
    found |= {f"mount {mount}" for mount in mounts}
    links = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout.splitlines()
    found |= {f"link {line.split(': ')[1]}" for line in links}
    found |= {f"run {path}" for path in Path("/run").iterdir()}
    found |= {f"named network {path}" for path in Path("/run/netns").glob("*")}
    group = cgroups.lab_group(name)
    found |= {f"group {path}" for path in [group, *group.rglob("*")] if path.is_dir()}
    found |= {f"file {path}" for path in (layout.root, layout.lock) if path.exists()}
    return found


def left_behind(name: str, before: set[str]) -> set[str]:
    """What is there now and was not before; the kernel gets a moment to bury the dead."""
    deadline = time.monotonic() + ZOMBIES_MAY_TAKE
    while (left := traces(name) - before) and time.monotonic() < deadline:
        time.sleep(0.1)
    return left
