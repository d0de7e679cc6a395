"""Temporary files and links that a writer which was killed left behind."""

from __future__ import annotations

import contextlib
import os
import re
import time

# What write_atomic and link_atomic (base/files) call a file that is not yet in its place.
_LEFT_OVER = re.compile(r"\.superpod-|\..*\.superpod-[0-9]+\Z")


def sweep(directory: str, age: float = 3600.0) -> list[str]:
    """
    Remove what writers that were killed left in a directory, and return the names.

    :param age: seconds since it was written; what is from the future (a clock was set back) is as old.
    """
    swept = []
    for name in kept_by_nobody(directory, age):
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(directory, name))
            swept.append(name)
    return swept


def kept_by_nobody(directory: str, age: float = 3600.0) -> list[str]:
    """Return the names of the temporary files and links of this module that are older than ``age`` seconds."""
    found = []
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        for entry in entries:
            if _LEFT_OVER.match(entry.name) and not entry.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    if abs(time.time() - entry.stat(follow_symlinks=False).st_mtime) > age:
                        found.append(entry.name)
    return sorted(found)
