"""README's code blocks say what they are for, so that the lab can follow them."""

from __future__ import annotations

import itertools

import pytest

from tests import readme

BLOCKS = list(readme.blocks(readme.README.read_text()))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"{block.section}, line {block.line}")
def test_every_block_is_followed_or_says_why_not(block: readme.Block) -> None:
    assert block.kind, f"README.md:{block.line}: put a mark of tests/readme.py before the block"
    assert block.about or block.kind == "output"


def test_output_stands_behind_what_prints_it() -> None:
    pairs = [(before.kind, block.line) for before, block in itertools.pairwise(BLOCKS) if block.kind == "output"]
    assert [line for kind, line in pairs if kind != "run on"] == []


def test_each_substitution_is_of_something_that_readme_says() -> None:
    text = readme.README.read_text()
    assert [words for words in readme.SUBSTITUTED if words not in text] == []


@pytest.mark.parametrize(
    ("expected", "output", "missing"),
    [
        ("a  12s  b\n", "x\na 3s b\n", []),
        ("a … b\n", "a 1 2 b\n", []),
        ("a.b\n", "axb\n", ["a.b"]),
        ("a\n\nb\n", "b\n", ["a"]),
    ],
)
def test_output_is_compared_loosely(expected: str, output: str, missing: list[str]) -> None:
    assert readme.printed(expected, output) == missing


def test_blocks_are_found_with_section_mark_and_text() -> None:
    text = "# One\n<!-- run on dgx-01 as alice -->\n```\nls\n```\n## Two\n<!-- other -->\n```yaml\na: 1\n```\n"
    assert list(readme.blocks(text)) == [
        readme.Block("One", 3, "run on", "dgx-01 as alice", "ls\n"),
        readme.Block("Two", 8, "", "", "a: 1\n"),
    ]
