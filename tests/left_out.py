"""Says at the end of a run how many tests were left out, and why; also when worker processes ran the others."""

from __future__ import annotations

from typing import Any

import pytest

# Reasons, each with the names of its tests.
_FOUND = pytest.StashKey[dict[str, list[str]]]()
_OF_WORKER = "superpod_left_out"


def leave_out(config: pytest.Config, items: list[pytest.Item], reason: str, unwanted: list[pytest.Item]) -> None:
    """Take ``unwanted`` from ``items``; they are told with ``reason``, never counted as passed."""
    items[:] = [item for item in items if item not in unwanted]
    found = config.stash.setdefault(_FOUND, {})
    found[reason] = [item.nodeid for item in unwanted]
    if hasattr(config, "workeroutput"):
        # pytest-xdist carries it to the process that prints.
        config.workeroutput[_OF_WORKER] = found
    config.hook.pytest_deselected(items=unwanted)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A worker that crashed tells nothing.
    if found := getattr(node, "workeroutput", {}).get(_OF_WORKER):
        node.config.stash.setdefault(_FOUND, {}).update(found)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    found = {reason: names for reason, names in config.stash.get(_FOUND, {}).items() if names}
    # As pytest does with skipped tests; the project's own -ra asks for no names.
    if found and "s" in config.option.reportchars:
        terminalreporter.section("not run")
        for name in (name for names in found.values() for name in names):
            terminalreporter.line(name)
    for reason, names in found.items():
        terminalreporter.line(f"not run: {len(names)} of the lab's tests: {reason} (-rs lists them)")
