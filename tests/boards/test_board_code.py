"""
The JSON that is checked in is what the code makes, and has only keys that Grafana knows.

It needs grafana-foundation-sdk, and that Python 3.11; the other tests of dashboards read the JSON alone.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from board_files import FOLDER, Json, boards, panels, variables

if importlib.util.find_spec("grafana_foundation_sdk") is None:
    REASON = "there is no grafana-foundation-sdk: requirements-test.txt brings it, for Python 3.11 and later"
    if os.environ.get("CI") == "true":
        pytest.fail(REASON, pytrace=False)
    pytest.skip(REASON, allow_module_level=True)

# What follows it is for Grafana 12 and later only, and cannot be provisioned before.
pytestmark = pytest.mark.filterwarnings("ignore:Prefer using dashboardv2:DeprecationWarning")


def keys(content: Any, path: str = "") -> Iterator[str]:
    """Yield the path of every key in JSON; places in lists count."""
    if isinstance(content, dict):
        for key, value in content.items():
            yield f"{path}.{key}"
            yield from keys(value, f"{path}.{key}")
    elif isinstance(content, list):
        for index, value in enumerate(content):
            yield from keys(value, f"{path}[{index}]")


def lost(board: Json) -> list[str]:
    """Return the keys that the SDK does not know: it drops them when it reads a dashboard."""
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.cog.plugins import register_default_plugins
    from grafana_foundation_sdk.models.dashboard import Dashboard

    register_default_plugins()
    read = json.loads(JSONEncoder().encode(Dashboard.from_json(board)))
    return sorted({*keys(board)} - {*keys(read)})


def test_the_json_is_what_the_code_makes() -> None:
    from dashboards import every

    texts = every.texts()
    assert {path.name for path in FOLDER.iterdir()} == texts.keys()
    assert [name for name, text in texts.items() if (FOLDER / name).read_text() != text] == [], "python -m dashboards"


def test_the_json_is_the_same_each_time() -> None:
    from dashboards import every

    assert every.texts() == every.texts()


def test_a_file_that_was_edited_is_found() -> None:
    from dashboards import every

    edited = boards()["superpod-node.json"]
    edited["panels"][0]["title"] += "x"
    assert json.loads(every.texts()["superpod-node.json"]) != edited


def test_files_of_dashboards_that_are_gone_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dashboards import __main__ as program
    from dashboards import every

    monkeypatch.setattr(every, "FOLDER", tmp_path / "files")
    monkeypatch.setattr(every, "REPOSITORY", tmp_path)
    every.FOLDER.mkdir()
    (every.FOLDER / "superpod-former.json").write_text("{}")
    program.main()
    assert {path.name: path.read_text() for path in every.FOLDER.iterdir()} == every.texts()


def test_mypy_finds_nothing_in_the_code() -> None:
    # Of the SDK's own Python: its words are strings in 3.10, for which the product is checked.
    command = [sys.executable, "-m", "mypy", "--cache-dir", os.devnull, "--python-version", "3.11", "dashboards"]
    answer = subprocess.run(command, cwd=FOLDER.parents[3], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@pytest.mark.parametrize("file", boards())
def test_the_sdk_knows_every_key(file: str) -> None:
    assert lost(boards()[file]) == []


def _first(board: Json, kind: str) -> Json:
    return next(panel for panel in panels(board) if panel["type"] == kind)


MISSPELT: dict[str, Callable[[Json], object]] = {
    ".titel": lambda board: board.update(titel="x"),
    ".panels[0].fieldConfig.defaults.unitt": lambda board: board["panels"][0]["fieldConfig"]["defaults"].update(
        unitt="s"
    ),
    ".options.legendd": lambda board: _first(board, "timeseries")["options"].update(legendd={}),
    ".options.legend.displaymode": lambda board: _first(board, "timeseries")["options"]["legend"].update(
        displaymode="x"
    ),
    ".targets[0].expression": lambda board: _first(board, "table")["targets"][0].update(expression="up"),
    ".fieldConfig.defaults.custom.linewidth": lambda board: _first(board, "timeseries")["fieldConfig"]["defaults"][
        "custom"
    ].update(linewidth=1),
    ".allvalue": lambda board: variables(board)["cluster"].update(allvalue=".*"),
    ".keeptime": lambda board: board["links"][0].update(keeptime=True),
}


@pytest.mark.parametrize("key", MISSPELT)
def test_a_key_that_is_misspelt_is_found(key: str) -> None:
    board = boards()["superpod-cluster.json"]
    MISSPELT[key](board)
    (found,) = (one for one in lost(board) if one.endswith(key))
    assert found
