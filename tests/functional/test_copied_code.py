"""Whoever runs or documents the copied code compiles it: that is no change, and nothing of it is copied."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import salt.state


@pytest.fixture
def copied(loaders: Any, tmp_path: Path) -> Any:
    root = tmp_path / "root"
    for folder in ("_runners", "_utils/superpod_dcgm/base"):
        (root / folder).mkdir(parents=True)
        (root / folder / "one.py").write_text("ONE = 1\n")
    # A cache of its own: Salt keeps the list of a file root for 20 s, whichever file root it was.
    own = {"file_roots": {"base": [str(root)]}, "cachedir": str(tmp_path / "cache"), "test": False}
    options = copy.deepcopy(dict(loaders.opts)) | own
    low = {
        **{"state": "dcgm_path", "fun": "copied", "name": str(tmp_path / "code"), "source": "salt://"},
        **{"folders": ["_runners", "_utils"], "__id__": "Copy", "__sls__": "test", "__env__": "base", "order": 1},
    }

    def apply() -> Any:
        return salt.state.State(options, initial_pillar={}).call(dict(low))

    apply.root, apply.code = root, tmp_path / "code"
    return apply


def compile_all(root: Path) -> None:
    for path in list(root.rglob("*.py")):
        cache = path.parent / "__pycache__"
        cache.mkdir(exist_ok=True)
        (cache / f"{path.stem}.cpython-313.pyc").write_bytes(os.urandom(8))


def test_compiled_files_are_no_change_on_either_side(copied: Any) -> None:
    assert copied()["changes"]
    assert copied()["changes"] == {}
    compile_all(copied.code)
    assert copied()["changes"] == {}
    compile_all(copied.root)
    ret = copied()
    assert (ret["result"], ret["changes"]) == (True, {})


def test_a_file_that_is_gone_at_the_source_goes_although_it_was_compiled(copied: Any) -> None:
    copied()
    compile_all(copied.code)
    (copied.code / "_runners/two.py").write_text("TWO = 2\n")
    assert copied()["changes"]
    assert not (copied.code / "_runners/two.py").exists()
