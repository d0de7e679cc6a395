"""The machines' disk image: built once, kept outside the checkout under a key of all that it is made from."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from superpod.errors import SuperpodError
from superpod.lab.layout import LAB, cache_dir

SOURCES = LAB / "image"
# What is compiled into the image belongs to it as well.
INPUTS = (SOURCES, LAB / "libdcgm")
STAMP = ".superpod-lab-image"
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
NEEDED_MB = 2500
FAILED = "The machine image could not be built"
PRIVATE = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]

Progress = Callable[[str], None]


def image_key(inputs: Sequence[Path] = INPUTS) -> str:
    """Twelve digits that change when anything changes from which the image is made."""
    digest = hashlib.sha256()
    for path in (path for folder in inputs for path in sorted(folder.iterdir())):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def image_dir() -> Path:
    """Where the image of this checkout is or will be."""
    return cache_dir() / "images" / image_key()


def is_built() -> bool:
    """True if the image is complete."""
    return (image_dir() / STAMP).exists()


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock on a file; the kernel lets go of it whatever happens to us."""
    while (handle := _lock(path)) is None:
        pass
    with handle:
        yield


def _lock(path: Path) -> IO[str] | None:
    """The locked file; None if `down` of a lab removed file or directory in this moment, and one has to begin again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = path.open("w")
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_EX)
    with suppress(FileNotFoundError):
        if os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            return handle
    handle.close()
    return None


def ensure_image(log: Path, progress: Progress) -> Path:
    """Path of the image, built now if it has to be."""
    target = image_dir()
    with locked(cache_dir() / "image.lock"):
        if not is_built():
            _build(target, log, progress)
    return target


def _build(target: Path, log: Path, progress: Progress) -> None:
    draft = target.with_name(f".{target.name}.new")
    _remove(draft)
    draft.parent.mkdir(parents=True, exist_ok=True)
    try:
        run_script([str(SOURCES / "build.sh"), str(draft), ca_bundle()], log, progress, FAILED)
        (draft / STAMP).write_text(target.name + "\n")
        draft.rename(target)
    finally:
        _remove(draft)


def run_script(command: Sequence[str], log: Path, progress: Progress, failed: str) -> None:
    """Run a program that builds something, in a mount namespace of its own; its lines after ==> are progress."""
    command, last = [*PRIVATE, "--", *command], ""
    with (
        log.open("a") as output,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as build,
    ):
        for line in build.stdout or ():
            output.write(line)
            if line.startswith("==> "):
                progress(line[4:].strip())
            elif line.strip():
                last = line.strip()
    if build.returncode:
        raise SuperpodError(f"{failed}: {last} (all of it: {log})")


def ca_bundle() -> str:
    """The certificates by which this machine trusts package registries."""
    for path in (os.environ.get("SSL_CERT_FILE", ""), *CA_BUNDLES):
        if path and Path(path).is_file():
            return path
    raise SuperpodError("No CA certificates found on this machine; install the package ca-certificates.")


def _remove(directory: Path) -> None:
    if directory.exists():
        shutil.rmtree(directory)


def user_ids(image: Path, user: str) -> tuple[int, int]:
    """User and group number that a user has inside the image."""
    for line in (image / "etc/passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == user:
            return int(fields[2]), int(fields[3])
    raise SuperpodError(f"The machine image has no user '{user}'.")
