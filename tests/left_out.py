"""Says at the end of a run how many tests were left out, and why; also when worker processes ran the others."""

from __future__ import annotations

from typing import Any

import pytest

_FOUND = pytest.StashKey[tuple[str, list[str]]]()
_OF_WORKER = "superpod_left_out"


def leave_out(config: pytest.Config, items: list[pytest.Item], reason: str, unwanted: list[pytest.Item]) -> None:
    """Take ``unwanted`` from ``items``; they are told with ``reason``, never counted as passed."""
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
    if not names:
        return
    # As pytest does with skipped tests; the project's own -ra asks for no names.
    if "s" in config.option.reportchars:
        terminalreporter.section("not run")
        for name in names:
            terminalreporter.line(name)
    terminalreporter.line(f"not run: {len(names)} of the lab's tests: {reason} (-rs lists them)")
