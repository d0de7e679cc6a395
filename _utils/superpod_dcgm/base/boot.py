"""Which boot of this machine this is: a minion that merely connects again is no boot."""

from __future__ import annotations

import contextlib
import os

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
# Field 22 of proc(5)'s stat, in ticks since the kernel started. In a container, which shares the kernel's boot id with
# its host, it tells one start from the next.
_INIT = "/proc/1/stat"
_START = 21 - 2
# systemd writes here in what container it runs.
_CONTAINER = "/run/systemd/container"


def identity() -> str:
    """Return what is the same until this machine boots again; an empty string where /proc does not tell."""
    with contextlib.suppress(OSError, IndexError):
        with open(_BOOT_ID, encoding="ascii") as stream:
            boot = stream.read().strip()
        with open(_INIT, encoding="ascii", errors="replace") as stream:
            # The name of the program, in brackets, may have blanks.
            return f"{boot}.{stream.read().rpartition(')')[2].split()[_START]}"
    return ""


def kernel_id() -> str:
    """Return this boot as journald calls it, 32 hexadecimal digits; an empty string where /proc does not tell."""
    with contextlib.suppress(OSError), open(_BOOT_ID, encoding="ascii") as stream:
        return stream.read().strip().replace("-", "")
    return ""


def in_container() -> bool:
    """Return whether this machine is a container, whose kernel is that of its host."""
    return os.path.exists(_CONTAINER)
