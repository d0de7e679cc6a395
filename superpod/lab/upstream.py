"""The exporter's repository on the shared storage: the stand-in, or a mirror of the true one and its Go modules."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab.image import locked
from superpod.lab.layout import GO_CACHE, GO_MODULES, LAB, cache_dir, go_modules, go_proxy
from superpod.process import output

MAKE_REPOSITORY = LAB / "upstream/make-repository"
REPOSITORY = "upstream/dcgm-exporter.git"
RELEASE = "4.5.3-4.8.2"
GIT = ("git", "-c", "safe.directory=*")
NOT_SERVED = (
    "Go asks where GOPROXY of this machine says; if that does not serve a module, put a place that does first, "
    'as in GOPROXY="file:///DIRECTORY,$(go env GOPROXY)" (docs/lab.md).'
)

Progress = Callable[[str], None]


def place_of(source: str) -> str:
    """A repository as it is found from anywhere: an address as it is, a path of this machine from the root."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def ensure(directory: Path, source: str, releases: Sequence[str], progress: Progress) -> dict[str, str]:
    """
    Make the bare repository, and for a mirror fetch the modules of all releases: what is there is not asked for again.

    :param source: the true repository as `place_of` names it; empty for the stand-in.
    :param releases: the first is the one that is to run; none: the usual one.
    :return: upstream, release, commit and the environment of a build.
    """
    target, wanted = directory / REPOSITORY, list(releases) or [RELEASE]
    target.parent.mkdir(parents=True, exist_ok=True)
    environment = {"GOCACHE": GO_CACHE}
    if source:
        _mirror(source, target, wanted)
        _open_to_all(target)
        environment |= {"GOPROXY": f"file://{GO_MODULES}", "GOSUMDB": "off"}
    else:
        output([str(MAKE_REPOSITORY), str(target)], "The stand-in of upstream could not be made")
    commits = {release: _commit(target, release, source or "The stand-in") for release in wanted}
    for release, commit in commits.items() if source else ():
        _ensure_modules(target, directory, release, commit, progress)
    return {
        "upstream": source,
        "release": wanted[0],
        "commit": commits[wanted[0]],
        "build_environment": json.dumps(environment),
    }


def _tags(repository: Path) -> list[str]:
    """Tags of the repository, the newest first."""
    command = [*GIT, "-C", str(repository), "tag", "--list", "--sort=-creatordate", "[0-9]*"]
    return output(command, f"The tags of {repository} could not be read").split()


def _commit(repository: Path, release: str, source: str) -> str:
    tags = _tags(repository)
    if release not in tags:
        raise SuperpodError(f"{source} has no release {release}; the newest are {', '.join(tags[:8]) or 'none'}.", 2)
    revision = [*GIT, "-C", str(repository), "rev-parse", f"refs/tags/{release}^{{commit}}"]
    return output(revision, f"{release} of {source} could not be read").strip()


def _mirror(source: str, target: Path, releases: Sequence[str]) -> None:
    """Clone, or fetch where a release is not there."""
    if not (target / "HEAD").exists():
        # Without hard links, since the modes of its files are changed.
        clone = [*GIT, "clone", "--quiet", "--mirror", "--no-hardlinks", source, str(target)]
        output(clone, f"{source} could not be cloned")
        return
    get = [*GIT, "-C", str(target), "config", "--default", "the stand-in", "--get", "remote.origin.url"]
    there = output(get, f"{target} could not be read").strip()
    if there != source:
        raise SuperpodError(f"The lab has the releases of {there}; for those of {source}, take it down first.", 2)
    if not set(releases) <= set(_tags(target)):
        fetch = [*GIT, "-C", str(target), "fetch", "--quiet", "--prune", source, "+refs/*:refs/*"]
        output(fetch, f"{source} could not be fetched")


def _open_to_all(repository: Path) -> None:
    """The nodes' builders are other users; git keeps modes of a clone that it copies, and some are root's alone."""
    for path in (repository, *repository.rglob("*")):
        mode = path.stat().st_mode
        path.chmod(mode | (0o555 if path.is_dir() else 0o444))


def _ensure_modules(repository: Path, directory: Path, release: str, commit: str, progress: Progress) -> None:
    """Have a release's modules in the cache of all labs."""
    with locked(cache_dir() / "go-modules.lock"):
        done = go_modules() / f".{commit}"
        if not done.exists():
            progress(f"Go modules of dcgm-exporter {release}")
            go_proxy().mkdir(parents=True, exist_ok=True)
            _download_modules(repository, directory, release)
            done.touch()


def _download_modules(repository: Path, directory: Path, release: str) -> None:
    """Have Go fetch a release's modules, as this machine's own settings say; go.sum of the release checks them."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        with tarfile.open(next(directory.glob("go*.tar.gz"))) as archive:
            archive.extractall(scratch)
        clone = [*GIT, "clone", "--quiet", "--branch", release, str(repository), f"{scratch}/source"]
        output(clone, f"{release} could not be checked out")
        places = {"GOMODCACHE": str(go_modules()), "GOPATH": f"{scratch}/path", "GOCACHE": f"{scratch}/cache"}
        command = [f"{scratch}/go/bin/go", "-C", f"{scratch}/source", "mod", "download"]
        environment = {**os.environ, **places, "GOTOOLCHAIN": "local"}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, umask=0o022)
    _remove_unpacked()
    if done.returncode:
        raise SuperpodError(f"The Go modules of {release} could not be downloaded: {_reason(done)}. {NOT_SERVED}")


def _remove_unpacked() -> None:
    """Builds unpack for themselves what the proxy's part has."""
    for place in go_modules().iterdir():
        if place.is_dir() and place.name != "cache":
            shutil.rmtree(place)


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """Go's first error; what a server said of it is indented and comes after."""
    lines = [line for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    errors = [line for line in lines if line.startswith("go: ") and not line.startswith("go: downloading ")]
    return (errors or lines)[0].removeprefix("go: ").rstrip(".")
