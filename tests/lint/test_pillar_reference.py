"""The reference of the pillar's keys is what its sources say, and the sources say something of every key."""

from __future__ import annotations

import pytest
import yaml
from files import REPOSITORY

DOCS = REPOSITORY / "docs"


@pytest.fixture
def maker(load):
    return load("docs/make_pillar.py")


def _schema_keys(schema, maker, path=()):
    for key in maker.validator.resolved(schema, maker.document).get("properties", {}):
        yield (*path, key)
        yield from _schema_keys(schema["properties"][key], maker, (*path, key))


def test_the_page_is_up_to_date(maker) -> None:
    text = maker.page(maker.DEFAULTS.read_text(), maker.SCHEMA.read_text())
    assert maker.PAGE.read_text() == text, "run python3 docs/make_pillar.py"


def test_the_example_is_up_to_date_and_says_what_the_defaults_say(maker) -> None:
    text = maker.example(maker.DEFAULTS.read_text())
    assert maker.EXAMPLE.read_text() == text, "run python3 docs/make_pillar.py"
    assert yaml.safe_load(text) == {"dcgm": yaml.safe_load(maker.DEFAULTS.read_text())}


def test_every_key_of_the_schema_has_a_default_and_a_place_on_the_page(maker) -> None:
    maker.document = yaml.safe_load(maker.SCHEMA.read_text())
    defaults = {key.path for key in maker.keys(maker.DEFAULTS.read_text())}
    # A mapping that is empty by default says itself what may be in it.
    empty = {key.path for key in maker.keys(maker.DEFAULTS.read_text()) if key.default == {}}
    missing = {path for path in _schema_keys(maker.document, maker) if path not in defaults}
    assert {path for path in missing if path[:-1] not in empty} == set()


def test_a_comment_default_and_rule_make_a_row(maker) -> None:
    text = maker.page(
        "# A group.\nwatcher:\n  # What it is for,\n  # in two lines.\n  interval: 30\n",
        "properties: {watcher: {type: object, properties: {interval: {type: integer, minimum: 1, maximum: 9}}}}\n",
    )
    assert text.endswith("| `watcher:interval` | `30` | a whole number from 1 to 9 | What it is for, in two lines. |\n")
    assert "## watcher\n\nA group.\n" in text
