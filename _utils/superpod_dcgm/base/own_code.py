"""
Copies parts of this package to where programs run them without Salt, compiled for the Python that copies.

Compiling the agent's sources takes a third of the CPU of loading them, and a tick would do so each time.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import py_compile
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence

from superpod_dcgm.base import files

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NAME = os.path.basename(_ROOT)
_MODE = 0o644
# Whatever the umask: the server of the metrics runs as another user.
_FOLDER_MODE = 0o755
_CACHE = "__pycache__"
# What a node's timer and services run (salt/dcgm/agent/install.sls).
AGENT_PARTS = ("agent", "base")
# importlib trusts what is compiled as long as it has the hash of its source: whoever copies an image may lose times.
_COMPILED = py_compile.PycInvalidationMode.CHECKED_HASH
_COMPILED_FLAGS = (0b11).to_bytes(4, "little")


def _sources(parts: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Path below the directory, and the file that belongs there."""
    for folder in ("", *parts):
        for name in sorted(os.listdir(os.path.join(_ROOT, folder))):
            if name.endswith(".py"):
                yield os.path.join(_NAME, folder, name), os.path.join(_ROOT, folder, name)


def digest(parts: Sequence[str] = ()) -> str:
    """
    Return by what this copy of the package is told from another: SHA-256 of its files, in hexadecimal digits.

    :param parts: the folders that count, such as those that were copied; by default all that are there.
    """
    there = parts or [entry.name for entry in os.scandir(_ROOT) if entry.is_dir() and entry.name != _CACHE]
    told = hashlib.sha256()
    for path, source in _sources(sorted(there)):
        told.update(f"{path} {files.sha256(source)}\n".encode())
    return told.hexdigest()


def _present(directory: str) -> set[str]:
    """The paths of all that lies below a directory and is no directory."""
    found = set()
    for place, folders, names in os.walk(directory):
        links = [name for name in folders if os.path.islink(os.path.join(place, name))]
        found |= {os.path.relpath(os.path.join(place, name), directory) for name in (*names, *links)}
    return found


def _same(path: str, source: str) -> bool:
    try:
        return _is_our_file(path) and files.sha256(path) == files.sha256(source)
    except OSError:
        return False


def _is_our_file(path: str) -> bool:
    found = os.lstat(path)
    return stat.S_ISREG(found.st_mode) and stat.S_IMODE(found.st_mode) == _MODE and found.st_uid == os.geteuid()


def _compiled(path: str) -> str:
    """Where this Python looks for what is compiled from a source, whatever the environment says of that."""
    folder, name = os.path.split(path)
    return os.path.join(folder, _CACHE, f"{name.removesuffix('.py')}.{sys.implementation.cache_tag}.pyc")


def _is_compiled(path: str, source: str) -> bool:
    """Whether importlib would take a file for what this Python made of a source."""
    try:
        with open(source, "rb") as stream:
            head = importlib.util.MAGIC_NUMBER + _COMPILED_FLAGS + importlib.util.source_hash(stream.read())
        with open(path, "rb") as stream:
            return _is_our_file(path) and stream.read(len(head)) == head
    except OSError:
        return False


def _folders(parts: Sequence[str]) -> list[str]:
    inner = [os.path.join(_NAME, part) for part in ("", *parts)]
    return ["", *inner, *(os.path.join(folder, _CACHE) for folder in inner)]


def _can_be_entered(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and stat.S_IMODE(found.st_mode) == _FOLDER_MODE


def differences(directory: str, parts: Sequence[str]) -> set[str]:
    """Return the paths below ``directory`` that are missing, differ, or belong to no part."""
    sources = dict(_sources(parts))
    compiled = {path: _compiled(path) for path in sources}
    present = _present(directory)
    wrong = {path for path, source in sources.items() if not _same(os.path.join(directory, path), source)}
    # One that is not compiled counts as one that differs.
    wrong |= {path for path, at in compiled.items() if not _is_compiled(os.path.join(directory, at), sources[path])}
    closed = {folder for folder in _folders(parts) if not _can_be_entered(os.path.join(directory, folder))}
    return wrong | (present - sources.keys() - set(compiled.values())) | (closed if os.path.isdir(directory) else set())


def copy(directory: str, parts: Sequence[str]) -> None:
    """
    Make ``directory`` hold just these parts; it is replaced as a whole once all of it is written.

    :raises OSError: it cannot be written; what was there stays.
    """
    fresh = f"{directory}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    files.make_directory(fresh)
    for path, source in _sources(parts):
        target = os.path.join(fresh, path)
        files.make_directory(os.path.dirname(target))
        with open(source, encoding="utf-8") as stream:
            files.write_atomic(target, stream.read(), _MODE)
        # Tracebacks shall name where it will lie.
        where, compiled = os.path.join(directory, path), _compiled(target)
        py_compile.compile(target, compiled, where, doraise=True, optimize=0, invalidation_mode=_COMPILED)
        os.chmod(compiled, _MODE)
    for folder in _folders(parts):
        os.chmod(os.path.join(fresh, folder), _FOLDER_MODE)
    files.replace_directory(fresh, directory)
