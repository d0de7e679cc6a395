"""How slurmd reads Prolog= and Epilog=: as patterns for glob(3), each of which has to find something."""

from __future__ import annotations

import fnmatch
import glob
import os
import re

_MAGIC = re.compile(r"[*?[\\]")
# Python's fnmatch knows none of POSIX's names, and only `!` for "none of these".
_CLASSES = {
    "[:digit:]": "0-9",
    "[:alpha:]": "A-Za-z",
    "[:alnum:]": "A-Za-z0-9",
    "[:lower:]": "a-z",
    "[:upper:]": "A-Z",
    "[:xdigit:]": "0-9A-Fa-f",
}


def is_pattern(value: str) -> bool:
    """Return whether a value of slurm.conf stands for several files."""
    return bool(_MAGIC.search(value))


def for_python(pattern: str) -> str:
    """Return a pattern of glob(3) as Python's glob and fnmatch read it."""
    for name, characters in _CLASSES.items():
        pattern = pattern.replace(name, characters)
    pattern = pattern.replace("[^", "[!")
    return re.sub(r"\\(.)", lambda match: f"[{match[1]}]" if match[1] in "*?[" else match[1], pattern)


def fits(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path by its text: `*` crosses no directories and begins no hidden name."""
    patterns, parts = for_python(pattern).split("/"), path.split("/")
    return len(patterns) == len(parts) and all(map(_part_fits, patterns, parts))


def _part_fits(pattern: str, part: str) -> bool:
    return fnmatch.fnmatchcase(part, pattern) and (not part.startswith(".") or pattern.startswith("."))


def finds(pattern: str, path: str) -> bool:
    """Return whether a pattern matches a path by its text, or by another name of its directory on this machine."""
    if fits(pattern, path):
        return True
    directory, name = os.path.split(path)
    folders, last = os.path.split(pattern)
    if not _part_fits(for_python(last), name) or not os.path.isdir(directory):
        return False
    real = os.path.realpath(directory)
    return any(os.path.realpath(folder) == real for folder in glob.iglob(for_python(folders)))


def only(pattern: str, path: str) -> bool:
    """Return whether a pattern matches nothing else on this machine than this path."""
    if not finds(pattern, path):
        return False
    directory, name = os.path.split(path)
    real = os.path.join(os.path.realpath(directory), name)
    found = (os.path.split(other) for other in glob.iglob(for_python(pattern)))
    return all(os.path.join(os.path.realpath(folder), last) == real for folder, last in found)
