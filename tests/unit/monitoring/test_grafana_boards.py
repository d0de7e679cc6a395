"""A file is a dashboard that Grafana takes, or is refused with its name before anything is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from superpod_dcgm.monitoring import grafana_boards as boards

GOOD = {"uid": "mine", "title": "Mine", "panels": []}
# what: (content, words of the sentence)
REFUSED = {
    "no JSON": ("{", "board.json is no JSON"),
    "a list": ("[]", "board.json is no dashboard"),
    "the new form": (json.dumps({"title": "x", "elements": {}, "layout": {}}), "has the new form of dashboards"),
    "the wrapped form": (
        json.dumps({"apiVersion": "dashboard.grafana.app/v1", "kind": "Dashboard", "spec": GOOD}),
        "Model: Classic",
    ),
    "no panels": (json.dumps({"uid": "x", "title": "x"}), "has no panels"),
    "no uid": (json.dumps({**GOOD, "uid": None}), "uid is None"),
    "a uid that is too long": (json.dumps({**GOOD, "uid": "x" * 41}), "at most 40"),
    "no title": (json.dumps({**GOOD, "title": " "}), "title is empty"),
    "another data source": (
        json.dumps({**GOOD, "__inputs": [{"name": "DS_LOKI", "type": "datasource", "pluginId": "loki"}]}),
        "asks for DS_LOKI (loki)",
    ),
}


@pytest.mark.parametrize(("text", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_grafana_would_not_take_is_refused(text: str, words: str) -> None:
    with pytest.raises(boards.BoardError, match=r"board\.json") as caught:
        boards.read("board.json", text, "ours")
    assert words in str(caught.value)


@pytest.mark.parametrize("source", boards.SOURCES)
def test_ours_are_taken_as_they_are(repository: Path, source: str) -> None:
    text = (repository / "salt" / source.removeprefix("salt://")).read_text()
    board = boards.read(source, text)
    assert board.content == json.loads(text)
    assert source.endswith(f"/{board.uid}.json")
    assert boards.is_marked(board.content)


def test_ours_are_not_refreshed_more_often_than_our_grafana_allows(repository: Path) -> None:
    for source in boards.SOURCES:
        refresh = json.loads((repository / "salt" / source.removeprefix("salt://")).read_text())["refresh"]
        assert refresh.endswith("m"), source


def test_an_export_gets_our_data_source_and_our_mark() -> None:
    inputs = [{"name": "DS_PROMETHEUS", "type": "datasource", "pluginId": "prometheus"}]
    panel = {"datasource": "${DS_PROMETHEUS}"}
    text = json.dumps({**GOOD, "id": 5, "version": 3, "tags": ["gpu"], "panels": [panel], "__inputs": inputs})
    board = boards.read("12239.json", text, "ours")
    assert board.content == {**GOOD, "tags": ["gpu", "superpod-dcgm"], "panels": [{"datasource": "ours"}]}
    with pytest.raises(boards.BoardError, match="dcgm:grafana:data_source:url"):
        boards.read("12239.json", text)


def test_two_of_one_uid_or_title_are_told() -> None:
    one, other = (boards.read(name, json.dumps({**GOOD, "uid": name})) for name in ("one", "other"))
    assert boards.twins([one, other]) == ["other and one have the same title, 'Mine'"]
    assert boards.twins([one]) == []


def test_what_a_server_adds_is_no_difference() -> None:
    added = {**GOOD, "id": 7, "version": 9, "iteration": 3}
    assert boards.differences(added, GOOD) == []
    assert boards.digest(added) == boards.digest(GOOD)
    assert boards.differences({**added, "panels": [1], "refresh": "5s"}, GOOD) == ["panels", "refresh"]
    assert boards.differences({"title": "Mine", "elements": {}}, GOOD) == ["form"]
