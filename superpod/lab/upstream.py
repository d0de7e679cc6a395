"""The exporter's repository on the shared storage: the stand-in, or a mirror of the true one and its Go modules."""

from __future__ import annotations

import json
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab.layout import GO_CACHE, LAB
from superpod.process import output

MAKE_REPOSITORY = LAB / "upstream/make-repository"
REPOSITORY = "upstream/dcgm-exporter.git"
RELEASE = "4.5.3-4.8.2"
# Go's own layout of a module proxy, as the nodes see it.
MODULES = "modules/cache/download"
GIT = ("git", "-c", "safe.directory=*")
NOT_SERVED = (
    "Go asks where GOPROXY says (go env GOPROXY). If that does not serve a module, put a place that does first, "
    "for example GOPROXY=file:///DIRECTORY,https://proxy.golang.org (docs/lab.md)"
)


def place_of(source: str) -> str:
    """A repository as it is found from anywhere: an address as it is, a path of this machine from the root."""
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def ensure(directory: Path, source: str, releases: Sequence[str], progress: Callable[[str], None]) -> dict[str, str]:
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
        environment |= {"GOPROXY": f"file:///cm/shared/lab/{MODULES}", "GOSUMDB": "off"}
    else:
        output([str(MAKE_REPOSITORY), str(target)], "The stand-in of upstream could not be made")
    commits = {release: _commit(target, release, source or "The stand-in") for release in wanted}
    for release, commit in commits.items() if source else ():
        if not (done := directory / "modules" / f".{commit}").exists():
            progress(f"Go modules of dcgm-exporter {release}")
            _download_modules(target, directory, release)
            done.touch()
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
        output([*GIT, "clone", "--quiet", "--mirror", source, str(target)], f"{source} could not be cloned")
        return
    get = [*GIT, "-C", str(target), "config", "--default", "the stand-in", "--get", "remote.origin.url"]
    there = output(get, f"{target} could not be read").strip()
    if there != source:
        raise SuperpodError(f"The lab has the releases of {there}; for those of {source}, take it down first.", 2)
    if not set(releases) <= set(_tags(target)):
        fetch = [*GIT, "-C", str(target), "fetch", "--quiet", "--prune", source, "+refs/*:refs/*"]
        output(fetch, f"{source} could not be fetched")


def _download_modules(repository: Path, directory: Path, release: str) -> None:
    """Have Go fetch a release's modules, as this machine's own settings say; go.sum of the release checks them."""
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        with tarfile.open(next(directory.glob("go*.tar.gz"))) as archive:
            archive.extractall(scratch)
        clone = [*GIT, "clone", "--quiet", "--branch", release, str(repository), f"{scratch}/source"]
        output(clone, f"{release} could not be checked out")
        places = {"GOMODCACHE": f"{directory}/modules", "GOPATH": f"{scratch}/path", "GOCACHE": f"{scratch}/cache"}
        command = [f"{scratch}/go/bin/go", "-C", f"{scratch}/source", "mod", "download"]
        try:
            output(command, f"The Go modules of {release} could not be downloaded", {**places, "GOTOOLCHAIN": "local"})
        except SuperpodError as exc:
            raise SuperpodError(f"{exc}. {NOT_SERVED}") from exc
