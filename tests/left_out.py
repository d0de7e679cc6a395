"""Says at the end of a run which tests were left out, and why; also when worker processes ran the others."""

from __future__ import annotations

from typing import Any

import pytest

_FOUND = pytest.StashKey[tuple[str, list[str]]]()
_OF_WORKER = "superpod_left_out"


def leave_out(config: pytest.Config, items: list[pytest.Item], reason: str, unwanted: list[pytest.Item]) -> None:
    """Take ``unwanted`` from ``items``; they are listed with ``reason``, never counted as passed."""
    items[:] = [item for item in items if item not in unwanted]
    names = [item.nodeid for item in unwanted]
    config.stash[_FOUND] = (reason, names)
    if hasattr(config, "workeroutput"):
        # pytest-xdist carries it to the process that prints.
        config.workeroutput[_OF_WORKER] = [reason, names]
    config.hook.pytest_deselected(items=unwanted)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    # A worker that crashed tells nothing.
    if found := getattr(node, "workeroutput", {}).get(_OF_WORKER):
        node.config.stash[_FOUND] = tuple(found)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    reason, names = config.stash.get(_FOUND, ("", []))
    if names:
        terminalreporter.section(f"not run: {len(names)} tests that need the lab")
        terminalreporter.line(reason)
        for name in names:
            terminalreporter.line(f"  {name}")
