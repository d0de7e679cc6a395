"""
Whose a file is: asked before one is replaced or removed, since a name proves nothing.

Ours is a link into a directory of ours, a file that says so in its first line, or one with the content that we wrote
and noted. A package's is what dpkg or rpm says. All else is somebody's.
"""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from superpod_dcgm.base import files, paths, process

Kind = Literal["nobody", "ours", "package", "somebody"]
MARK = b"Written by the Salt state dcgm."
# A mark stands in the first line or two.
_HEAD_BYTES = 512
_SECONDS = 60
# Where the one path is a link to the other, a package may have been recorded by either.
_MERGED = ("/bin", "/sbin", "/lib", "/lib64")


@dataclass(frozen=True)
class Owner:
    """Whose a path is, in words that go after ``belongs to``; ``advice`` says how the path can become free."""

    kind: Kind
    name: str = ""
    advice: str = ""

    @property
    def foreign(self) -> bool:
        """Return whether we may neither replace nor remove it."""
        return self.kind in ("package", "somebody")


def owners(wanted: Iterable[str], root: str) -> dict[str, Owner]:
    """
    Return whose each path is. Packages are asked only about what is not ours.

    :param root: the directory of ours that a link of ours leads into.
    """
    wanted = list(wanted)
    found = {path: Owner("ours") for path in wanted if is_ours(path, root)}
    others = [path for path in wanted if path not in found]
    packages = package_owners(others)
    return {path: found.get(path) or _of(path, packages.get(path)) for path in wanted}


def _of(path: str, package: Owner | None) -> Owner:
    there = os.path.lexists(path)
    # The last package that had it may be removed, and only its configuration be left.
    if package and (there or not package.name.startswith("the removed")):
        return package
    if not there:
        return Owner("nobody")
    # What we wrote and somebody edited is written anew, as with every file of Salt's; clean leaves it (is_ours).
    if path in noted() and stat.S_ISREG(os.lstat(path).st_mode):
        return Owner("ours")
    return Owner("somebody", f"somebody else ({_kind(path)} that this project did not write)", "move it away")


def is_ours(path: str, root: str) -> bool:
    """
    Return whether we made what is at ``path``, and nobody changed it since unless its first line is ours.

    :param root: the directory of ours that a link of ours leads into.
    """
    try:
        found = os.lstat(path)
        if stat.S_ISLNK(found.st_mode):
            return _inside(os.path.join(os.path.dirname(path), os.readlink(path)), root)
        if not stat.S_ISREG(found.st_mode):
            return False
        return MARK in files.head(path, _HEAD_BYTES) or noted().get(path) == files.sha256(path)
    except OSError:
        return False


def _inside(path: str, root: str) -> bool:
    """By its text: where the link ``current`` leads to is another question, and it may lead nowhere for the moment."""
    return os.path.normpath(path).startswith(f"{root.rstrip('/')}/")


def _kind(path: str) -> str:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return f"a link to {os.readlink(path)}"
    return "a directory" if stat.S_ISDIR(mode) else "a file" if stat.S_ISREG(mode) else "something"


def noted() -> dict[str, str]:
    """Return the SHA-256 of the files that we wrote and that cannot carry a mark, by path."""
    record = files.read_json(paths.OWNED_FILE, {})
    known = record if isinstance(record, dict) else {}
    # Before there was such a record, what /metrics answered with last was noted.
    good = files.read_json(paths.RUNNING_FILE, {})
    answered = good.get("files", {}) if isinstance(good, dict) else {}
    digest = str(answered.get(paths.EXPORTER_COUNTERS)) if isinstance(answered, dict) else ""
    former = {paths.EXPORTER_COUNTERS: digest} if re.fullmatch("[0-9a-f]{64}", digest) else {}
    return {**former, **known}


def note(path: str) -> None:
    """
    Note that the content of ``path`` is ours.

    :raises OSError: the file cannot be read, or the record cannot be written.
    """
    record = files.read_json(paths.OWNED_FILE, {})
    fresh = {**(record if isinstance(record, dict) else {}), path: files.sha256(path)}
    files.make_directory(os.path.dirname(paths.OWNED_FILE))
    files.write_atomic(paths.OWNED_FILE, json.dumps(fresh, indent=2, sort_keys=True) + "\n")


def forget(path: str) -> None:
    """
    Note that ``path`` is ours no longer.

    :raises OSError: the record cannot be written.
    """
    record = files.read_json(paths.OWNED_FILE, {})
    if isinstance(record, dict) and record.pop(path, None):
        files.write_atomic(paths.OWNED_FILE, json.dumps(record, indent=2, sort_keys=True) + "\n")


def package_owners(wanted: Iterable[str]) -> dict[str, Owner]:
    """Return the package of each path that dpkg or rpm knows, whether or not the path is there at the moment."""
    spellings = {spelling: path for path in wanted for spelling in _spellings(path)}
    if not spellings:
        return {}
    found = {spellings[path]: name for path, name in _rpm(list(spellings)).items()}
    found.update({spellings[path]: name for path, name in _dpkg(list(spellings)).items()})
    return {path: _package(name) for path, name in found.items()}


def _spellings(path: str) -> list[str]:
    """As a package may have recorded it, on systems where /bin is a link to /usr/bin."""
    short = path.removeprefix("/usr")
    twin = short != path and any(short.startswith(f"{folder}/") and os.path.islink(folder) for folder in _MERGED)
    return [path, short] if twin else [path]


def _dpkg(wanted: list[str]) -> dict[str, str]:
    answer = process.run(["dpkg-query", "--search", *wanted], _SECONDS)
    found: dict[str, str] = {}
    for line in answer.output.splitlines():
        # A diversion moves the packages' file aside, and gives the path to another package or to the administrator.
        if match := re.fullmatch(r"(?:(local) diversion|diversion by (\S+)) from: (.+)", line):
            found[match[3]] = "" if match[1] or match[2] == "local" else match[2]
        elif match := re.fullmatch(r"(\S+(?:, \S+)*): (/.+)", line):
            found.setdefault(match[2], match[1].split(", ")[0])
    return {path: name for path, name in found.items() if name}


def _rpm(wanted: list[str]) -> dict[str, str]:
    found = {}
    for path in wanted:
        answer = process.run(["rpm", "--query", "--file", "--queryformat", "%{NAME}\n", path], _SECONDS)
        if answer.missing:
            return {}
        if answer.code == 0 and (names := answer.output.split()):
            found[path] = names[0]
    return found


def _package(name: str) -> Owner:
    state = process.run(["dpkg-query", "--show", "--showformat", "${db:Status-Status}", name], _SECONDS)
    if state.code == 0 and state.output.strip() == "config-files":
        return Owner("package", f"the removed package {name}", f"run `dpkg --purge {name}`, or move it away")
    return Owner("package", f"the package {name}", f"remove the package {name}")
