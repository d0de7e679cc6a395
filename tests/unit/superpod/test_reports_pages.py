"""A page is written where it is meant, all of it or nothing, and what is no file is left what it is."""

from __future__ import annotations

import itertools
import os
import re
import stat
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.reports import charts, options


def test_a_page_replaces_a_file_and_keeps_a_link(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("old")
    (tmp_path / "link").symlink_to("page.html")
    (tmp_path / "nowhere").symlink_to("new.html")
    options.write_page(f"{tmp_path}/link", "new")
    options.write_page(f"{tmp_path}/nowhere", "new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "page.html").read_text() == "new"
    assert (tmp_path / "nowhere").is_symlink() and (tmp_path / "new.html").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "new.html", "nowhere", "page.html"]


def test_what_is_no_file_is_written_to_and_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reading = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    options.write_page(f"{tmp_path}/pipe", "page")
    assert os.read(reading, 99) == b"page" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    os.close(reading)
    options.write_page("/dev/null", "page")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["none/page.html", "folder"])
def test_a_place_that_cannot_be_written_is_named_and_nothing_is_left(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SuperpodError, match=f"{name} cannot be written"):
        options.write_page(f"{tmp_path}/{name}", "page")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"] and not [*(tmp_path / "folder").iterdir()]


@pytest.mark.parametrize(("rows", "named"), [(3, 3), (64, 64), (128, 32)])
def test_rows_of_a_field_have_names_that_do_not_cover_each_other(rows: int, named: int) -> None:
    svg = charts.field("Use", [(f"dgx-{n:03}", [0.5]) for n in range(rows)], (0, 60), lambda _value: "")
    lines = [float(one) for one in re.findall(r' y="([0-9.]+)" text-anchor="end">dgx-', svg)]
    assert len(lines) == named and all(later - one >= 10 for one, later in itertools.pairwise(lines))
