"""
Artifacts of dcgm-exporter on shared storage.

An artifact is a directory with the binary, its counters file, ``SHA256SUMS`` of both and ``artifact.json``
that says where it comes from. It appears and disappears as a whole.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shutil
import socket
import stat
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime, timezone

from superpod_dcgm.base import complaint, files, process
from superpod_dcgm.exporter import confined

BINARY = "dcgm-exporter"
COUNTERS = "default-counters.csv"
SUMS = "SHA256SUMS"
MANIFEST = "artifact.json"
_MODES = {BINARY: 0o755, COUNTERS: 0o644, SUMS: 0o644, MANIFEST: 0o644}
_CHECK_SECONDS = 30
# Bytes that are read of what another node says of its build.
_LONGEST_FAILURE = 8192
# Seconds between two looks for an artifact.
_PAUSE = 2.0


class ReleaseError(Exception):
    """An artifact or an installed release is not usable. Its text names file and reason."""


def artifact_directory(store: str, release: str, arch: str) -> str:
    """Return where the artifact of ``release`` for ``arch`` lies in ``store``."""
    return os.path.join(store, release, f"linux-{arch}")


def is_stored(store: str, release: str, arch: str, commit: str = "") -> bool:
    """Return whether a whole artifact of ``release`` is in ``store``, made from ``commit`` where one is given."""
    manifest = files.read_json(os.path.join(artifact_directory(store, release, arch), MANIFEST), {})
    return bool(manifest) and (not commit or manifest.get("commit") == commit)


@contextlib.contextmanager
def lock(directory: str, wait: float) -> Iterator[None]:
    """
    Hold the lock of an artifact directory against other builders.

    :param wait: seconds to wait for another holder.
    :raises ReleaseError: somebody else held it all that time.
    """
    parent, name = os.path.split(directory)
    files.make_directory(parent)
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(files.lock_shared(os.path.join(parent, f".{name}.lock"), wait))
        except files.Busy as exc:
            raise ReleaseError(f"{directory}: another node has been building for more than {wait:.0f} s") from exc
        yield


@contextlib.contextmanager
def publishing(directory: str, facts: dict[str, str]) -> Iterator[str]:
    """
    Give an empty folder; what the block leaves there becomes the artifact ``directory`` in one step.

    Every node can read it, whatever the umask. Whether it runs is the block's to find out, where it may be run.

    :param facts: goes into ``artifact.json`` together with host, C library and time.
    """
    parent, name = os.path.split(directory)
    files.make_directory(parent)
    prefix = f".build-{name}-"
    # Whoever builds holds the lock: these are of builders that were killed.
    for left in [entry for entry in os.listdir(parent) if entry.startswith(prefix)]:
        shutil.rmtree(os.path.join(parent, left), ignore_errors=True)
    fresh = tempfile.mkdtemp(prefix=prefix, dir=parent)
    try:
        yield fresh
        _describe(fresh, facts)
        open_to_all(fresh)
        files.replace_directory(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _describe(folder: str, facts: dict[str, str]) -> None:
    sums = "".join(f"{files.sha256(os.path.join(folder, name))}  {name}\n" for name in (BINARY, COUNTERS))
    files.write_atomic(os.path.join(folder, SUMS), sums)
    manifest = {
        **facts,
        "built_on": socket.gethostname(),
        "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "libc": "-".join(platform.libc_ver()),
    }
    files.write_atomic(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=2) + "\n")


def closed(directory: str) -> dict[str, int]:
    """Return what has another mode than it should in an artifact or installation, with the mode that it should have."""
    wanted = {directory: 0o755, **{os.path.join(directory, name): mode for name, mode in _MODES.items()}}
    there = {path: mode for path, mode in wanted.items() if os.path.exists(path)}
    return {path: mode for path, mode in there.items() if stat.S_IMODE(os.stat(path).st_mode) != mode}


def open_to_all(directory: str) -> None:
    """
    Give an artifact or installation the modes with which every user can read it.

    :raises OSError: somebody else owns it.
    """
    for path, mode in closed(directory).items():
        os.chmod(path, mode)


def check_runs(binary: str, user: str = "") -> str:
    """
    Return what ``binary --version`` says.

    :param user: as whom it is run; empty: as whoever calls.
    :raises ReleaseError: it does not run here: wrong architecture, or built on a newer distribution (GLIBC not found).
    """
    answer = process.run(confined.as_user([binary, "--version"], user), _CHECK_SECONDS)
    if answer.code is None:
        raise ReleaseError(f"{binary} does not run on this node: {answer.error}")
    if answer.code:
        raise ReleaseError(f"{binary} does not run on this node ({answer.ending}): {answer.problem}")
    return answer.output.strip()


def verify(directory: str) -> None:
    """
    Check the files in ``directory`` against its ``SHA256SUMS``.

    :raises ReleaseError: names the first file that is missing or differs.
    """
    sums = read_sums(directory)
    for name in (BINARY, COUNTERS):
        path = os.path.join(directory, name)
        try:
            found = files.sha256(path)
        except OSError as exc:
            raise ReleaseError(f"{path} cannot be read: {exc}") from exc
        if found != sums.get(name):
            raise ReleaseError(f"{path} has SHA-256 {found}, {SUMS} says {sums.get(name)}: not used")


def read_sums(directory: str) -> dict[str, str]:
    """
    Return ``SHA256SUMS`` of ``directory`` as ``{file: digest}``.

    :raises ReleaseError: there is none.
    """
    path = os.path.join(directory, SUMS)
    try:
        with open(path, encoding="utf-8") as stream:
            pairs = [line.split() for line in stream]
    except OSError as exc:
        raise ReleaseError(f"There is no artifact in {directory}: {exc}") from exc
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def built_from(directory: str) -> str:
    """Return the commit that the artifact or installation in ``directory`` says it was built from, or ``""``."""
    return str(files.read_json(os.path.join(directory, MANIFEST), {}).get("commit", ""))


def _is_from(directory: str, commit: str) -> bool:
    found = built_from(directory)
    return found == commit if commit else bool(found)


def await_artifact(directory: str, commit: str, wait: float) -> None:
    """
    Wait until the artifact of a commit is in the store.

    :param commit: empty for any.
    :param wait: seconds.
    :raises ReleaseError: there is none after that time, or the node that builds it says that it failed.
    """
    begun, earlier = time.time(), _stamp(_failure_file(directory))
    deadline = time.monotonic() + wait
    while not _is_from(directory, commit):
        if reason := _failure(directory, begun, earlier):
            raise ReleaseError(f"The build of {directory} failed on another node: {reason}")
        if time.monotonic() > deadline:
            kind = f"no artifact of commit {commit}" if commit else "no artifact"
            raise ReleaseError(
                f"There is {kind} in {directory} after {wait:.0f} s: apply dcgm.exporter.build on the builder"
            )
        time.sleep(_PAUSE)


def note_failure(directory: str, reason: str) -> None:
    """Tell the nodes that wait for the artifact ``directory`` why it does not come; best effort."""
    with contextlib.suppress(OSError):
        files.write_atomic(_failure_file(directory), reason + "\n")


def _failure(directory: str, since: float, earlier: tuple[int, int]) -> str:
    """
    Return why the build failed. A failure that was there before counts only if it is of just now.

    One of an earlier try may have a time to come, where that node's clock was ahead.
    """
    path = _failure_file(directory)
    inode, moment = stamp = _stamp(path)
    if not inode or (stamp == earlier and abs(moment - since * 1e9) > 5e9):
        return ""
    with contextlib.suppress(OSError):
        return "\n".join(complaint.clean(files.head(path, _LONGEST_FAILURE).decode("utf-8", "replace")))
    return ""


def _stamp(path: str) -> tuple[int, int]:
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def _failure_file(directory: str) -> str:
    return os.path.join(os.path.dirname(directory), f".{os.path.basename(directory)}.failed")
