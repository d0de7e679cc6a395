"""One record of the nodes that are held."""

from __future__ import annotations

import pytest
from superpod_dcgm.watcher import holds


@pytest.fixture
def path(tmp_path):
    return holds.path({"snapshot": str(tmp_path / "snapshot.json")})


def test_a_node_is_held_until_it_is_let_go(path) -> None:
    holds.hold(path, ["a", "b"], None, 1000, "t0")
    assert list(holds.read(path, 10**10)) == ["a", "b"]
    assert holds.unhold(path, ["a", "x"], 2000) == ["a"]
    assert list(holds.read(path, 2000)) == ["b"]
    assert holds.text(holds.read(path, 2000)["b"]) == "held since t0, until it is let go"


def test_hours_end_by_themselves_and_the_last_word_counts(path) -> None:
    holds.hold(path, ["a"], 2, 1000, "t0")
    assert holds.read(path, 1000 + 7199) and not holds.read(path, 1000 + 7200)
    holds.hold(path, ["a"], 4, 2000, "t1")
    assert holds.read(path, 2000 + 4 * 3600 - 1)["a"]["since"] == "t1"
    assert holds.text(holds.read(path, 2000)["a"]) == "held since t1, until 1970-01-01T04:33:20Z"


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"a": 5}', "{", '{"a": {"until": null}}', '{"a": {"since": "t0", "until": "x"}}'],
)
def test_a_file_that_cannot_be_read_holds_nobody(path, content) -> None:
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(content)
    assert holds.read(path, 1000) == {}
