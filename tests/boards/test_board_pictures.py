"""The pictures in the docs are of all dashboards, small, and refused where the page says that something is wrong."""

from __future__ import annotations

import re
from itertools import islice
from urllib.parse import parse_qs, urlsplit

import large_world
import picture_world
import pytest
from board_files import REPOSITORY, boards, variables

from dashboards import pictures
from superpod.errors import SuperpodError
from superpod.lab import browser

LINE = re.compile(r"[A-Za-z_:][\w:]*\{(\w+=\"[^\"]*\",?)+\} -?[\d.e+]+ \d+\n")


def test_the_docs_show_each_dashboard() -> None:
    text = (REPOSITORY / "docs/dashboards.md").read_text()
    assert {f"superpod-{one.board}.json" for one in pictures.PICTURES} == {*boards()}
    assert {*re.findall(r"images/([\w-]+)\.webp", text)} == {one.name for one in pictures.PICTURES}
    assert {path.stem for path in pictures.FOLDER.iterdir()} == {one.name for one in pictures.PICTURES}


@pytest.mark.parametrize("picture", pictures.PICTURES, ids=lambda one: one.name)
def test_a_picture_is_small_and_one(picture: pictures.Picture) -> None:
    content = (pictures.FOLDER / f"{picture.name}.webp").read_bytes()
    assert content[:4] + content[8:12] == b"RIFFWEBP"
    assert 20_000 < len(content) < 200_000


@pytest.mark.parametrize("picture", pictures.PICTURES, ids=lambda one: one.name)
def test_an_address_chooses_variables_that_are_there(picture: pictures.Picture) -> None:
    found = parse_qs(urlsplit(picture.address("http://127.0.0.1:1", 1, 2)).query)
    assert (found["from"], found["to"]) == (["1000"], ["2000"])
    chosen = {name.removeprefix("var-") for name in found if name.startswith("var-")}
    assert chosen <= variables(boards()[f"superpod-{picture.board}.json"]).keys()


PANELS = {"1": {"title": "Power", "type": "stat", "rows": 1}, "2": {"title": "Energy", "type": "stat"}}


def test_a_page_without_errors_has_none() -> None:
    assert pictures.wrong(browser.Seen(b"", [], PANELS)) == []


def test_errors_of_page_and_panels_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = {**PANELS, "3": {"title": "Alerts", "type": "stat", "error": "parse error"}}
    monkeypatch.setattr(browser, "look", lambda *_: browser.Seen(b"", ["404 /x"], broken))
    with pytest.raises(SuperpodError, match="cluster: 404 /x; Alerts: parse error"):
        pictures.look(pictures.Picture("cluster"), "http://127.0.0.1:1", 1, 2)


@pytest.mark.parametrize("world", [picture_world, large_world], ids=["small", "large"])
def test_the_made_up_clusters_are_text_that_prometheus_reads(world: object) -> None:
    lines = [*islice(world.openmetrics(), 2000)]
    assert [line for line in lines if not LINE.fullmatch(line)] == []


def test_the_large_one_is_as_large_as_it_says() -> None:
    hosts = {*re.findall(r'host="(dgx-\d+)"', "".join(large_world.nodes()))}
    assert (len(hosts), large_world.NODES * large_world.GPUS) == (2000, 16000)
