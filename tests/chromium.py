"""A Chromium for tests that open a page."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from superpod.lab import browser


def needed() -> None:
    """Leave the test out where there is no Chromium; CI makes one of its own."""
    if browser.found() is None and os.environ.get("CI") == "true" and os.geteuid() == 0:
        browser.ensure(browser.tree().parent.with_name("browser.log"), lambda text: None)
    reason = "it takes root to open a page in a Chromium of its own" if os.geteuid() else ""
    if browser.found() is None:
        reason = "there is no Chromium, and ./setup.sh lab pictures makes one"
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason)
    if reason:
        pytest.skip(reason)


def opened(page: Path, dark: bool, width: int, ask: str) -> browser.Seen:
    """Return what a page looks like, and what it answers. What its console says is wrong fails the test."""
    needed()
    found = browser.look(page, dark=dark, width=width, ask=ask)
    assert found.errors == []
    return found
