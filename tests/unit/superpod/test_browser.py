"""What the browser's console says is told from what it does not matter, and what it reaches is this machine only."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.lab import browser, devtools

Answer = Callable[[dict[str, object]], list[dict[str, object]]]
EVENTS = [
    (
        "Runtime.consoleAPICalled",
        {"type": "error", "args": [{"value": "no"}, {"description": "Error: x"}]},
        "no Error: x",
    ),
    ("Runtime.consoleAPICalled", {"type": "warning", "args": [{"value": "no"}]}, ""),
    (
        "Runtime.exceptionThrown",
        {"exceptionDetails": {"text": "Uncaught", "exception": {"description": "E: y"}}},
        "E: y",
    ),
    ("Runtime.exceptionThrown", {"exceptionDetails": {"text": "Uncaught"}}, "Uncaught"),
    ("Log.entryAdded", {"entry": {"level": "error", "text": "404", "url": "http://x/"}}, "404 http://x/"),
    ("Log.entryAdded", {"entry": {"level": "info", "text": "hi"}}, ""),
    ("Inspector.targetCrashed", {}, "the page crashed"),
    ("Page.loadEventFired", {}, ""),
]


@pytest.mark.parametrize(("method", "parameters", "said"), EVENTS)
def test_what_a_page_says_is_wrong_is_noted(method: str, parameters: dict[str, object], said: str) -> None:
    assert devtools.noted(method, parameters) == said


class Chromium:
    """The other end of the two pipes: what it is told, and what it answers, which is written beforehand."""

    def __init__(self, answers: list[dict[str, object]]) -> None:
        self.told, answered = os.pipe(), os.pipe()
        os.write(answered[1], b"".join(json.dumps(one).encode() + b"\0" for one in answers))
        os.close(answered[1])
        self.reading = answered[0]

    def page(self, seconds: float = 5) -> devtools.Page:
        return devtools.Page(self.reading, self.told[1], time.monotonic() + seconds)


OPENED: list[dict[str, object]] = [
    {"id": 1, "result": {"targetId": "t"}},
    {"id": 2, "result": {"sessionId": "s"}},
    *({"id": number, "result": {}} for number in (3, 4, 5)),
]


def test_events_between_answers_are_kept() -> None:
    event = {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": "broken"}}}
    page = Chromium([*OPENED, event, {"id": 6, "result": {"result": {"value": 7}}}]).page()
    assert (page.evaluate("3 + 4"), page.errors) == (7, ["broken"])


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([], "Chromium has ended"),
        ([{"id": 6, "error": {"message": "not so"}}], "refused Runtime.evaluate: not so"),
        ([{"id": 6, "result": {"exceptionDetails": {"text": "Uncaught"}}}], "cannot answer x: Uncaught"),
    ],
)
def test_a_failure_is_a_sentence(answers: list[dict[str, object]], said: str) -> None:
    page = Chromium([*OPENED, *answers]).page()
    with pytest.raises(SuperpodError, match=said):
        page.evaluate("x")


def test_a_page_that_never_gets_ready_says_what_its_console_said() -> None:
    event = {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": "broken"}}}
    never = [{"id": number, "result": {"result": {"value": False}}} for number in range(6, 26)]
    page = Chromium([*OPENED, event, *never]).page(1)
    with pytest.raises(SuperpodError, match="did not come so far: ready; its console said: broken"):
        page.wait("ready")


@pytest.mark.parametrize("address", ["https://127.0.0.1/", "http://example.org/", "file:///etc/passwd"])
def test_an_address_elsewhere_is_refused(address: str) -> None:
    with pytest.raises(SuperpodError, match="reaches nothing but"):
        browser.look(address)


def test_without_a_chromium_the_sentence_says_what_makes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SuperpodError, match="lab pictures"):
        browser.look(tmp_path / "page.html")


def test_a_tree_of_its_own_comes_before_the_machines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "chromium").touch(mode=0o755)
    assert browser.found() == (Path("/"), str(tmp_path / "chromium"))
    browser.tree().mkdir(parents=True)
    (browser.tree() / browser.STAMP).touch()
    assert browser.found() == (browser.tree(), "/usr/bin/chromium-headless-shell")
