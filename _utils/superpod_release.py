"""
Artifacts of dcgm-exporter on shared storage, and installed releases on a node.

An artifact is a directory with the binary, its counters file, ``SHA256SUMS`` of both and ``artifact.json``
that says where it comes from. It appears and disappears as a whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone

import superpod_files

BINARY = "dcgm-exporter"
COUNTERS = "default-counters.csv"
SUMS = "SHA256SUMS"
MANIFEST = "artifact.json"
_LOCK_PAUSE = 2.0


class ReleaseError(Exception):
    """An artifact or an installed release is not usable. Its text names file and reason."""


def artifact_directory(store: str, release: str, arch: str) -> str:
    """Return where the artifact of ``release`` for ``arch`` lies in ``store``."""
    return os.path.join(store, release, f"linux-{arch}")


def is_stored(store: str, release: str, arch: str, commit: str = "") -> bool:
    """Return whether a whole artifact of ``release`` is in ``store``, made from ``commit`` where one is given."""
    manifest = superpod_files.read_json(os.path.join(artifact_directory(store, release, arch), MANIFEST), {})
    return bool(manifest) and (not commit or manifest.get("commit") == commit)


@contextlib.contextmanager
def locked(directory: str, wait: float) -> Iterator[None]:
    """
    Hold the lock of an artifact directory. POSIX locks work over NFS and end with their holder.

    :param wait: seconds to wait for another holder.
    :raises ReleaseError: somebody else held it all that time.
    """
    os.makedirs(os.path.dirname(directory), exist_ok=True)
    name = os.path.join(os.path.dirname(directory), f".{os.path.basename(directory)}.lock")
    deadline = time.monotonic() + wait
    with open(name, "a", encoding="utf-8") as stream:
        while True:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as exc:
                if time.monotonic() > deadline:
                    raise ReleaseError(f"{name}: another node has been building for more than {wait:.0f} s") from exc
                time.sleep(_LOCK_PAUSE)
        yield


def publish(directory: str, facts: dict[str, str], make: Callable[[str], None]) -> None:
    """
    Put what ``make(folder)`` leaves in a folder into the store as the artifact ``directory``, in one step.

    :param facts: goes into ``artifact.json`` together with host, C library and time.
    :raises ReleaseError: the result does not run on this node. An artifact that was there stays then.
    """
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".build-", dir=parent)
    try:
        make(fresh)
        check_runs(os.path.join(fresh, BINARY))
        _describe(fresh, facts)
        os.chmod(fresh, 0o755)
        replace_directory(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _describe(folder: str, facts: dict[str, str]) -> None:
    sums = "".join(f"{superpod_files.sha256(os.path.join(folder, name))}  {name}\n" for name in (BINARY, COUNTERS))
    superpod_files.write_atomic(os.path.join(folder, SUMS), sums)
    manifest = {
        **facts,
        "built_on": socket.gethostname(),
        "built_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "libc": "-".join(platform.libc_ver()),
    }
    superpod_files.write_atomic(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=2) + "\n")


def replace_directory(fresh: str, directory: str) -> None:
    """rename(2) does not replace a directory that has content: move the old one aside first."""
    old = f"{fresh}.old"
    if os.path.isdir(directory):
        os.rename(directory, old)
    os.rename(fresh, directory)
    shutil.rmtree(old, ignore_errors=True)


def check_runs(binary: str) -> str:
    """
    Return what ``binary --version`` says.

    :raises ReleaseError: it does not run here: wrong architecture, or built on a newer distribution (GLIBC not found).
    """
    try:
        answer = subprocess.run(
            [binary, "--version"], capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise ReleaseError(f"{binary} does not run on this node: {exc}") from exc
    if answer.returncode:
        reason = (answer.stderr or answer.stdout).strip()
        raise ReleaseError(f"{binary} does not run on this node (exit code {answer.returncode}): {reason}")
    return answer.stdout.strip()


def verify(directory: str) -> None:
    """
    Check the files in ``directory`` against its ``SHA256SUMS``.

    :raises ReleaseError: names the first file that is missing or differs.
    """
    sums = read_sums(directory)
    for name in (BINARY, COUNTERS):
        path = os.path.join(directory, name)
        try:
            found = superpod_files.sha256(path)
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
    return str(superpod_files.read_json(os.path.join(directory, MANIFEST), {}).get("commit", ""))


def _is_from(directory: str, commit: str) -> bool:
    found = built_from(directory)
    return found == commit if commit else bool(found)


def is_installed(artifact: str, directory: str, commit: str = "") -> bool:
    """
    Return whether ``directory`` holds that artifact, whole; an artifact out of reach is not asked for.

    :param commit: what it must have been built from; empty for any.
    """
    try:
        verify(directory)
        if commit and built_from(directory) != commit:
            return False
        return not os.path.isdir(artifact) or read_sums(directory) == read_sums(artifact)
    except ReleaseError:
        return False


def install(artifact: str, directory: str) -> None:
    """
    Copy an artifact to ``directory`` on this node, after checking its sums and that it runs here.

    :raises ReleaseError: it is not whole or does not run; what was installed stays.
    """
    verify(artifact)
    parent = os.path.dirname(directory)
    os.makedirs(parent, exist_ok=True)
    fresh = tempfile.mkdtemp(prefix=".install-", dir=parent)
    try:
        for name in (BINARY, COUNTERS, SUMS, MANIFEST):
            shutil.copy(os.path.join(artifact, name), fresh)
        verify(fresh)
        check_runs(os.path.join(fresh, BINARY))
        os.chmod(fresh, 0o755)
        replace_directory(fresh, directory)
    except OSError as exc:
        raise ReleaseError(f"{artifact} cannot be installed to {directory}: {exc}") from exc
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def await_artifact(directory: str, commit: str, wait: float) -> None:
    """
    Wait until the artifact of a commit is in the store.

    :param commit: empty for any.
    :param wait: seconds.
    :raises ReleaseError: there is none after that time, or the node that builds it says that it failed.
    """
    begun = time.time()
    deadline = time.monotonic() + wait
    while not _is_from(directory, commit):
        if reason := _failure(directory, begun):
            raise ReleaseError(f"The build of {directory} failed on another node: {reason}")
        if time.monotonic() > deadline:
            kind = f"no artifact of commit {commit}" if commit else "no artifact"
            raise ReleaseError(
                f"There is {kind} in {directory} after {wait:.0f} s: apply dcgm.exporter.build on the builder"
            )
        time.sleep(_LOCK_PAUSE)


def note_failure(directory: str, reason: str) -> None:
    """Tell the nodes that wait for the artifact ``directory`` why it does not come; best effort."""
    with contextlib.suppress(OSError):
        superpod_files.write_atomic(_failure_file(directory), reason + "\n")


def _failure(directory: str, since: float) -> str:
    try:
        with open(_failure_file(directory), encoding="utf-8") as stream:
            # An older failure is of an earlier try; clocks of two nodes may differ by some seconds.
            return stream.read().strip() if os.fstat(stream.fileno()).st_mtime > since - 5 else ""
    except OSError:
        return ""


def _failure_file(directory: str) -> str:
    return os.path.join(os.path.dirname(directory), f".{os.path.basename(directory)}.failed")
