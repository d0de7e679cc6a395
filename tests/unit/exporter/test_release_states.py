"""The states that build, install and prune releases, offer a source, and copy or remove a directory."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from superpod_dcgm.exporter import artifacts, build

from tests.exporter_node import NEW, OLD, ExporterNode

RELEASE = NEW
Call = Callable[..., SimpleNamespace]


@pytest.fixture
def apply(call: Call, tmp_path: Path) -> Call:
    """Return a function that calls a state with test=True, for real, and again."""

    def there() -> dict[str, tuple[int, int]]:
        return {str(path): (path.lstat().st_mode, path.lstat().st_mtime_ns) for path in tmp_path.rglob("*")}

    def run(function: str, **arguments: Any) -> SimpleNamespace:
        before = there()
        foretold = call(function, test=True, **arguments)
        assert there() == before
        done = call(function, **arguments)
        assert foretold.changes == done.changes or not done.result
        if done.result:
            assert foretold.result is (None if done.changes else True)
            again = call(function, **arguments)
            assert (again.result, again.changes) == (True, {})
        return done

    return run


def go(folder: Path, version: str = "go1.26.2") -> Path:
    program = folder / "bin/go"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    program.chmod(0o755)
    return program


@pytest.mark.parametrize(
    ("version", "result", "words"),
    [
        ("go1.26.2", True, "is Go 1.26.2; 1.26.0 or newer is needed"),
        ("go1.18.1", False, "this release needs 1.26.0 or newer. Set dcgm:go:method: archive"),
        ("", False, "does not run"),
    ],
)
def test_a_compiler_is_checked(apply: Call, call: Call, tmp_path: Path, version: str, result: bool, words: str) -> None:
    program = go(tmp_path / "go", version) if version else tmp_path / "none"
    done = call("dcgm_release.go_usable", name=str(program), minimum="1.26.0")
    assert (done.result, done.changes) == (result, {})
    assert words in done.comment
    foretold = call("dcgm_release.go_usable", name=str(program), minimum="1.26.0", test=True)
    assert foretold.result is (result if version else True)


@pytest.mark.parametrize(
    ("returned", "result", "changes", "comment"),
    [
        ({"result": True, "changes": {}, "comment": "there"}, True, {}, "there"),
        ({"result": False, "changes": {}, "comment": "no sum"}, False, {}, "no sum"),
        (
            {"result": True, "changes": {"extracted_files": ["a", "b"]}, "comment": "unpacked\nmore"},
            *(True, {"go": "2 files unpacked"}, "unpacked"),
        ),
        (
            {"result": None, "changes": {}, "comment": "would be"},
            *(None, {"go": "to be unpacked"}, "would be"),
        ),
        (
            {"result": True, "changes": {"updated ownership": ["/opt/go"]}, "comment": "owner"},
            *(True, {"go": "updated ownership"}, "owner"),
        ),
    ],
)
def test_an_archive_is_one_change(
    call: Call, returned: dict[str, Any], result: bool | None, changes: dict[str, str], comment: str
) -> None:
    asked = []

    def extracted(name: str, **options: Any) -> dict[str, Any]:
        asked.append({"name": name, **options})
        return returned

    arguments = {"name": "/opt/go", "source": "https://go.dev/x", "sha256": "ab"}
    done = call("dcgm_release.go_unpacked", states={"archive.extracted": extracted}, **arguments)
    assert (done.result, done.changes, done.comment) == (result, changes, comment)
    owner = {"user": "root", "group": "root"}
    assert asked == [{"name": "/opt/go", "source": "https://go.dev/x", "source_hash": "ab", **owner}]


@pytest.fixture
def wanted(source: Path, tmp_path: Path, plan: Callable[..., build.Plan]) -> dict[str, Any]:
    """Return the arguments of a build that works."""
    go(tmp_path / "go")
    return {
        "name": RELEASE,
        "commit": plan().commit,
        "source": str(source),
        "artifact": str(tmp_path / "store" / RELEASE / "linux-amd64"),
        "go": str(tmp_path / "go"),
        "directory": str(tmp_path / "build"),
        "timeout": 60,
        "wait": 0,
        "environment": {},
    }


def test_a_release_is_built_once(apply: Call, wanted: dict[str, Any]) -> None:
    done = apply("dcgm_release.built", **wanted)
    assert (done.result, done.changes) == (True, {"artifact": {"old": None, "new": wanted["commit"]}})
    manifest = json.loads(Path(wanted["artifact"], artifacts.MANIFEST).read_text())
    assert manifest.items() >= {"release": RELEASE, "commit": wanted["commit"], "go": "1.26.2"}.items()


def test_a_release_of_another_commit_is_built_again(apply: Call, wanted: dict[str, Any]) -> None:
    manifest = Path(wanted["artifact"], artifacts.MANIFEST)
    manifest.parent.mkdir(parents=True)
    manifest.write_text('{"commit": "old"}')
    done = apply("dcgm_release.built", **wanted)
    assert done.changes == {"artifact": {"old": "old", "new": wanted["commit"]}}


@pytest.mark.parametrize(("key", "value"), [("commit", "0" * 40), ("go", "/nowhere"), ("source", "/nowhere")])
def test_a_build_that_fails_is_told_to_those_who_wait(
    apply: Call, wanted: dict[str, Any], key: str, value: str
) -> None:
    done = apply("dcgm_release.built", **{**wanted, key: value})
    assert (done.result, done.changes) == (False, {})
    with pytest.raises(artifacts.ReleaseError, match="failed on another node"):
        artifacts.await_artifact(wanted["artifact"], "", 0)
    assert not Path(wanted["artifact"]).exists()


def test_what_a_builder_with_a_strict_umask_left_is_opened_to_all_users(apply: Call, wanted: dict[str, Any]) -> None:
    artifact = Path(wanted["artifact"])
    apply("dcgm_release.built", **wanted)
    for path in (artifact, artifact / "default-counters.csv"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    done = apply("dcgm_release.built", **wanted)
    assert done.changes == {"modes": [str(artifact), str(artifact / "default-counters.csv")]}
    assert artifacts.closed(str(artifact)) == {}


def test_what_another_node_built_meanwhile_is_no_change(
    call: Call, wanted: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lock(directory: str, wait: float) -> Any:
        Path(directory).mkdir(parents=True)
        Path(directory, artifacts.MANIFEST).write_text(json.dumps({"commit": wanted["commit"]}))
        yield

    monkeypatch.setattr(artifacts, "lock", lock)
    done = call("dcgm_release.built", **wanted)
    assert (done.result, done.changes) == (True, {})
    assert "was built by another node meanwhile" in done.comment


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    (tmp_path / "node").mkdir()
    return ExporterNode(tmp_path / "node", monkeypatch)


def store(tmp_path: Path, text: str = "one") -> Path:
    directory = tmp_path / "store/linux-amd64"
    with artifacts.publishing(str(directory), {"commit": "c"}) as folder:
        binary = Path(folder, artifacts.BINARY)
        binary.write_text(f"#!/bin/sh\necho {text}\n")
        binary.chmod(0o755)
        Path(folder, artifacts.COUNTERS).write_text("a, gauge, b\n")
    return directory


def test_a_release_is_installed_once(apply: Call, here: ExporterNode, tmp_path: Path) -> None:
    artifact = store(tmp_path)
    digest = artifacts.read_sums(str(artifact))[artifacts.BINARY]
    done = apply("dcgm_release.installed", name=RELEASE, artifact=str(artifact), commit="c")
    assert (done.result, done.changes) == (True, {"installed": {"old": None, "new": digest}})
    artifacts.verify(str(here.root / "opt" / RELEASE))
    again = store(tmp_path, "two")
    done = apply("dcgm_release.installed", name=RELEASE, artifact=str(again), commit="c")
    assert done.changes["installed"]["old"] == digest


def test_an_installation_that_others_cannot_read_is_opened_without_the_store(
    apply: Call, here: ExporterNode, tmp_path: Path
) -> None:
    artifact, place = store(tmp_path), here.root / "opt" / RELEASE
    apply("dcgm_release.installed", name=RELEASE, artifact=str(artifact), commit="c")
    artifact.rename(tmp_path / "away")
    (place / artifacts.COUNTERS).chmod(0o600)
    done = apply("dcgm_release.installed", name=RELEASE, artifact=str(artifact), commit="c")
    assert (done.result, done.changes) == (True, {"modes": [str(place / artifacts.COUNTERS)]})


def test_a_release_that_is_to_be_built_first_is_foretold_and_missed(
    call: Call, here: ExporterNode, tmp_path: Path
) -> None:
    arguments = {"name": RELEASE, "artifact": str(tmp_path / "store/none"), "commit": "c"}
    foretold = call("dcgm_release.installed", test=True, **arguments)
    assert (foretold.result, foretold.changes["installed"]["new"]) == (None, "the artifact that is to be built")
    done = call("dcgm_release.installed", **arguments)
    assert (done.result, done.changes) == (False, {})
    assert "apply dcgm.exporter.build on the builder" in done.comment


def test_the_surplus_is_removed_once(apply: Call, here: ExporterNode) -> None:
    for release in (NEW, OLD, "4.4.1-4.6.0"):
        here.install(release)
    here.link(NEW)
    done = apply("dcgm_release.pruned", name="releases", keep=1, release=NEW)
    assert sorted(done.changes["removed"]) == ["4.4.1-4.6.0", OLD]
    assert sorted(path.name for path in (here.root / "opt").iterdir()) == sorted([NEW, "current"])


def test_a_checkout_is_offered_once(apply: Call, source: Path, tmp_path: Path, plan: Callable[..., build.Plan]) -> None:
    commit, bundle = plan().commit, tmp_path / "shared/x.bundle"
    arguments = {"name": str(bundle), "checkout": str(source), "release": RELEASE, "commit": commit}
    done = apply("dcgm_source.published", **arguments)
    assert (done.result, done.changes) == (True, {"bundle": {"old": None, "new": commit}})
    assert bundle.exists()


def test_a_bundle_that_others_cannot_read_is_opened(
    apply: Call, source: Path, tmp_path: Path, plan: Callable[..., build.Plan]
) -> None:
    bundle = tmp_path / "shared/x.bundle"
    arguments = {"name": str(bundle), "checkout": str(source), "release": RELEASE, "commit": plan().commit}
    apply("dcgm_source.published", **arguments)
    bundle.chmod(0o600)
    bundle.parent.chmod(0o700)
    done = apply("dcgm_source.published", **arguments)
    assert done.changes == {"modes": [str(bundle.parent), str(bundle)]}
    assert [path.stat().st_mode & 0o777 for path in (bundle.parent, bundle)] == [0o755, 0o644]


def test_a_directory_is_made_for_all_to_enter_and_one_that_is_there_stays(
    apply: Call, call: Call, tmp_path: Path, strict: None
) -> None:
    place = tmp_path / "shared/apps/dcgm-exporter"
    done = apply("dcgm_path.made", name=str(place), not_of="root")
    assert done.changes == {"directory": "made"}
    assert [path.stat().st_mode & 0o777 for path in (place, *place.parents[:2])] == [0o755] * 3
    place.chmod(0o700)
    assert apply("dcgm_path.made", name=str(place)).changes == {}
    assert place.stat().st_mode & 0o777 == 0o700
    (tmp_path / "file").touch()
    assert call("dcgm_path.made", name=str(tmp_path / "file/below")).result is False


def test_a_directory_that_releases_before_gave_away_becomes_roots_again(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = tmp_path / "dcgm-exporter", tmp_path / "salt"
    ours.mkdir()
    theirs.mkdir()
    given = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_uid=os.geteuid() if name == "salt" else -1))
    for place, user in ((theirs, "salt"), (ours, "other"), (ours, "salt")):
        done = call("dcgm_path.made", name=str(place), not_of=user)
    assert done.changes == {"owner": {"old": "salt", "new": "root"}}
    assert given == [(str(ours), 0, 0)]


def test_what_killed_writers_left_is_removed_once(apply: Call, tmp_path: Path) -> None:
    old, new = tmp_path / ".superpod-abc", tmp_path / ".superpod-new"
    for path in (old, new, tmp_path / "superpod.prom"):
        path.touch()
    os.utime(old, (1, 1))
    done = apply("dcgm_path.swept", name="files", directories=[str(tmp_path), "/nowhere"])
    assert done.changes == {"removed": [str(old)]}
    assert sorted(path.name for path in tmp_path.iterdir()) == [".superpod-new", "superpod.prom"]


def test_code_that_others_could_not_reach_is_a_change(call: Call, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    arguments = {"name": str(tmp_path), "source": "salt://", "folders": ["_utils"]}
    assert call("dcgm_path.copied", test=True, states={"file.recurse": Recurse({})}, **arguments).result is None
    assert call("dcgm_path.copied", states={"file.recurse": Recurse({})}, **arguments).changes
    assert tmp_path.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("checkout", ["", "/nowhere"])
def test_without_a_checkout_nothing_is_offered(apply: Call, tmp_path: Path, checkout: str) -> None:
    arguments = {"name": str(tmp_path / "x"), "checkout": checkout, "release": RELEASE, "commit": "c"}
    done = apply("dcgm_source.published", **arguments)
    assert (done.result, done.changes) == (True, {})
    assert "the builder clones" in done.comment


def test_a_checkout_at_another_commit_is_a_failure(apply: Call, source: Path, tmp_path: Path) -> None:
    arguments = {"name": str(tmp_path / "x"), "checkout": str(source), "release": RELEASE, "commit": "c"}
    done = apply("dcgm_source.published", **arguments)
    assert (done.result, done.changes) == (False, {})
    assert "not offered" in done.comment


def test_an_empty_directory_is_removed_once(apply: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = apply("dcgm_path.emptied", name=str(tmp_path / "empty"))
    assert (done.result, done.changes) == (True, {"removed": str(tmp_path / "empty")})
    assert not (tmp_path / "empty").exists()


def test_what_others_put_into_a_directory_stays(call: Call, tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("")
    done = call("dcgm_path.emptied", name=str(tmp_path))
    assert (done.result, done.changes) == (True, {})
    assert done.comment.endswith("others put there: theirs")
    # What is in it now may be removed by the states before this one.
    assert call("dcgm_path.emptied", name=str(tmp_path), test=True).result is None


class Recurse:
    """Salt's file.recurse: returns what is told by place, and records how it was called."""

    def __init__(self, changes: dict[str, Any], failing: str = "", test: bool = False) -> None:
        self.changes, self.failing, self.test = changes, failing, test
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def __call__(self, place: str, origin: str, **options: Any) -> dict[str, Any]:
        self.calls.append((place, origin, options))
        changes = self.changes.get(place, {})
        result = False if place == self.failing else None if self.test and changes else True
        return {"name": place, "result": result, "changes": changes, "comment": f"about {place}"}


@pytest.mark.parametrize("test", [False, True])
def test_folders_are_copied_as_one_change(call: Call, test: bool) -> None:
    recurse = Recurse({"/lib/a": {"/lib/a/x": {}, "removed": ["/lib/a/y"]}, "/lib/b": {"/lib/b/z": {}}}, test=test)
    arguments = {"name": "/lib", "source": "salt://_utils", "folders": ["a", "b"]}
    done = call("dcgm_path.copied", test=test, states={"file.recurse": recurse}, **arguments)
    assert (done.result, done.changes) == (None if test else True, {"files": "3 differed"})
    assert [(place, origin) for place, origin, _ in recurse.calls] == [
        ("/lib/a", "salt://_utils/a"),
        ("/lib/b", "salt://_utils/b"),
    ]
    modes = {"clean": True, "dir_mode": "0755", "file_mode": "0644"}
    assert all(options.items() >= modes.items() and "exclude_pat" in options for *_, options in recurse.calls)


def test_a_copy_that_is_up_to_date_is_no_change(call: Call) -> None:
    recurse = Recurse({})
    arguments = {"name": "/lib", "source": "salt://", "folders": ["_utils"]}
    done = call("dcgm_path.copied", states={"file.recurse": recurse}, **arguments)
    assert (done.result, done.changes, done.comment) == (True, {}, "/lib is up to date")
    assert [one[:2] for one in recurse.calls] == [("/lib/_utils", "salt://_utils")]


def test_parts_of_the_package_are_copied_once(apply: Call, tmp_path: Path) -> None:
    done = apply("dcgm_path.parts_copied", name=str(tmp_path / "code"), parts=["base", "exporter"])
    count = len(list((tmp_path / "code").rglob("*.py")))
    assert (done.result, done.changes) == (True, {"files": f"{count} differed"})
    one = tmp_path / "code/superpod_dcgm/base/files.py"
    one.write_text("changed")
    assert apply("dcgm_path.parts_copied", name=str(tmp_path / "code"), parts=["base", "exporter"]).changes
    assert "def write_atomic" in one.read_text()


def test_parts_that_cannot_be_copied_are_a_failure(call: Call, tmp_path: Path) -> None:
    (tmp_path / "code").write_text("a file")
    done = call("dcgm_path.parts_copied", name=str(tmp_path / "code"), parts=["base"])
    assert (done.result, done.changes) == (False, {})
    assert "cannot be brought up to date" in done.comment


def test_a_copy_that_fails_says_what_was_changed_before(call: Call) -> None:
    recurse = Recurse({"/lib/a": {"/lib/a/x": {}}}, failing="/lib/b")
    arguments = {"name": "/lib", "source": "salt://_utils", "folders": ["a", "b", "c"]}
    done = call("dcgm_path.copied", states={"file.recurse": recurse}, **arguments)
    assert (done.result, done.changes, done.comment) == (False, {"files": "1 differed"}, "about /lib/b")
    assert len(recurse.calls) == 2


def test_the_go_that_was_unpacked_is_removed_and_nothing_else(call: Call, tmp_path: Path) -> None:
    directory = tmp_path / "go-dcgm"
    for name in ("go1.26.2/go/bin", "go1.24/bin", "go/bin", "go1.20.1"):
        (directory / name).mkdir(parents=True)
    foretold = call("dcgm_release.go_removed", name=str(directory), test=True)
    done = call("dcgm_release.go_removed", name=str(directory))
    assert (foretold.result, done.result, done.changes) == (None, True, foretold.changes)
    assert f"{directory} stays, because of what others put there: go, go1.24" in done.comment
    assert sorted(path.name for path in directory.iterdir()) == ["go", "go1.24"]
    again = call("dcgm_release.go_removed", name=str(directory))
    assert (again.result, again.changes) == (True, {})


def test_the_directory_of_go_goes_when_nothing_is_left(apply: Call, tmp_path: Path) -> None:
    (tmp_path / "go-dcgm/go1.26.2/go").mkdir(parents=True)
    apply("dcgm_release.go_removed", name=str(tmp_path / "go-dcgm"))
    assert not (tmp_path / "go-dcgm").exists()


def test_what_a_build_left_is_removed_and_what_none_made_stays(apply: Call, call: Call, tmp_path: Path) -> None:
    directory = tmp_path / "dcgm-build"
    (directory / "dcgm-exporter").mkdir(parents=True)
    apply("dcgm_release.build_removed", name=str(directory))
    assert not directory.exists()
    directory.mkdir()
    (directory / "thesis.tex").write_text("")
    done = call("dcgm_release.build_removed", name=str(directory))
    assert (done.result, done.changes) == (True, {})
    assert f"{directory} stays: no build made it" in done.comment


def test_what_cannot_be_removed_is_a_failure(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build.shutil, "rmtree", lambda path, ignore_errors: None)
    (tmp_path / "dcgm-build").mkdir()
    done = call("dcgm_release.build_removed", name=str(tmp_path / "dcgm-build"))
    assert (done.result, done.comment) == (False, f"{tmp_path}/dcgm-build cannot be removed")
