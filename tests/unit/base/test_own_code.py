"""The agent's code on a node: whole, nothing else, and enough for Python alone."""

from __future__ import annotations

import os
import py_compile
import subprocess
import sys
from pathlib import Path

import pytest
from superpod_dcgm.base import own_code

PARTS = ("base", "agent")


@pytest.fixture
def code(tmp_path: Path) -> Path:
    own_code.copy(str(tmp_path / "code"), PARTS)
    return tmp_path / "code"


def test_what_was_copied_does_not_differ(code: Path) -> None:
    assert own_code.differences(str(code), PARTS) == set()
    assert {path.name for path in (code / "superpod_dcgm").iterdir()} == {"__init__.py", "__pycache__", *PARTS}


def test_it_runs_on_python_alone(code: Path) -> None:
    paths = [path.relative_to(code).with_suffix("") for path in code.rglob("*.py")]
    modules = [".".join(path.parts).removesuffix(".__init__") for path in paths]
    program = f"import sys; sys.path[:0] = [sys.argv[1]]; import {', '.join(modules)}"
    # Without site-packages: nothing but Python itself is there.
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", program, str(code)], capture_output=True, text=True)
    assert (done.returncode, done.stderr, len(modules) > 20) == (0, "", True)


def test_nothing_is_compiled_when_it_runs(code: Path) -> None:
    program = (
        "import importlib.machinery, sys\n"
        "def told(self, data, path, **options): print(path); return compile('', path, 'exec')\n"
        "importlib.machinery.SourceFileLoader.source_to_code = told\n"
        "sys.path[:0] = [sys.argv[1]]\n"
        "import superpod_dcgm.base.paths, superpod_dcgm.agent.log"
    )
    command = [sys.executable, "-I", "-S", "-B", "-c", program, str(code)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == ""
    remove_compiled(code)
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == [
        str(code / "superpod_dcgm/base/paths.py")
    ]


def test_another_user_can_read_it_whatever_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "pycache_prefix", str(tmp_path / "elsewhere"))
    before = os.umask(0o077)
    try:
        own_code.copy(str(tmp_path / "code"), PARTS)
    finally:
        os.umask(before)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "code").rglob("*") if path.is_dir()}
    assert modes == {0o755} and (tmp_path / "code").stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "code").rglob("*.py*")} == {0o644}
    assert own_code.differences(str(tmp_path / "code"), PARTS) == set()


def break_content(code: Path) -> None:
    (code / "superpod_dcgm/base/paths.py").write_text("")


def break_mode(code: Path) -> None:
    (code / "superpod_dcgm/base/paths.py").chmod(0o666)


def remove(code: Path) -> None:
    (code / "superpod_dcgm/agent/log.py").unlink()


def add_old_code(code: Path) -> None:
    (code / "superpod_node.py").touch()


def compiled(code: Path) -> Path:
    return code / f"superpod_dcgm/base/__pycache__/paths.{sys.implementation.cache_tag}.pyc"


def add_compiled(code: Path) -> None:
    compiled(code).with_name("paths.cpython-27.pyc").touch()


def remove_compiled(code: Path) -> None:
    compiled(code).unlink()


def compile_another_source(code: Path) -> None:
    (code / "other.py").write_text("raise SystemExit(1)\n")
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    py_compile.compile(str(code / "other.py"), str(compiled(code)), invalidation_mode=mode)
    (code / "other.py").unlink()


def compile_by_time(code: Path) -> None:
    py_compile.compile(str(code / "superpod_dcgm/base/paths.py"), str(compiled(code)))


def link(code: Path) -> None:
    (code / "superpod_dcgm/config").symlink_to("/etc")


def close_folder(code: Path) -> None:
    (code / "superpod_dcgm/agent").chmod(0o700)


def close_all(code: Path) -> None:
    code.chmod(0o700)


CHANGES = [
    *(break_content, break_mode, remove, add_old_code, link, close_folder, close_all),
    *(add_compiled, remove_compiled, compile_another_source, compile_by_time),
]


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_differs_is_found_and_put_right(code: Path, change) -> None:
    change(code)
    assert len(own_code.differences(str(code), PARTS)) == 1
    own_code.copy(str(code), PARTS)
    assert own_code.differences(str(code), PARTS) == set()
    assert os.path.isdir("/etc"), "a link is removed, not followed"


def test_a_directory_that_cannot_be_written_is_an_error_and_keeps_what_it_has(code: Path) -> None:
    (code.parent / "code.new").write_text("in the way")
    with pytest.raises(OSError):
        own_code.copy(str(code), PARTS)
    assert own_code.differences(str(code), PARTS) == set()


def test_what_a_crash_left_is_no_obstacle(code: Path) -> None:
    (code.parent / "code.new.old").mkdir()
    (code.parent / "code.new.old/left").touch()
    remove(code)
    own_code.copy(str(code), PARTS)
    assert own_code.differences(str(code), PARTS) == set()
    assert [path.name for path in code.parent.iterdir()] == ["code"]
