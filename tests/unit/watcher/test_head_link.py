"""The link by which a node_exporter finds the watcher's metrics: made, moved, removed, and never somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.watcher import head_link

NAME = "superpod-dcgm-head.prom"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "HEAD_METRICS_LINK", str(tmp_path / "metrics/linked.json"))
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    return tmp_path


def links(root: Path) -> dict[str, str]:
    return {name: os.readlink(root / name / NAME) for name in ("one", "two") if os.path.islink(root / name / NAME)}


def test_a_link_follows_the_pillar_and_goes_with_it(root) -> None:
    target = str(root / "metrics" / NAME)
    for directory, expected in (("one", {"one": target}), ("two", {"two": target}), ("", {}), ("one", {"one": target})):
        where = str(root / directory) if directory else ""
        assert head_link.plan(target, where) != {}
        head_link.make(target, where)
        assert (links(root), head_link.plan(target, where)) == (expected, {})
    # Somebody took it away.
    (root / "one" / NAME).unlink()
    assert head_link.plan(target, str(root / "one")) == {str(root / "one" / NAME): {"old": None, "new": target}}
    head_link.make(target, "")
    assert (links(root), (root / "metrics/linked.json").exists()) == ({}, False)


def test_what_is_somebody_elses_stays(root) -> None:
    target = str(root / "metrics" / NAME)
    head_link.make(target, str(root / "one"))
    (root / "one" / NAME).unlink()
    (root / "one" / NAME).write_text("theirs")
    (root / "two" / NAME).symlink_to("elsewhere")
    for directory in ("one", "two"):
        with pytest.raises(OSError, match="is there and not ours"):
            head_link.make(target, str(root / directory))
    head_link.make(target, "")
    assert ((root / "one" / NAME).read_text(), links(root)) == ("theirs", {"two": "elsewhere"})


def test_a_directory_that_is_missing_is_named_with_its_key(root) -> None:
    with pytest.raises(OSError, match="head_metrics:textfile_directory") as caught:
        head_link.plan(str(root / "x"), str(root / "three"))
    assert caught.value.filename == str(root / "three")


@pytest.mark.parametrize("text", ["", "[1]", '{"link": 5}', '{"link": "/etc/hostname"}'])
def test_a_note_that_is_damaged_removes_nothing(root, text) -> None:
    (root / "metrics").mkdir()
    (root / "metrics/linked.json").write_text(text)
    assert head_link.plan(str(root / "x"), "") == {}
