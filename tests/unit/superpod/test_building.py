"""What is said while states are applied."""

from __future__ import annotations

import threading
from subprocess import CompletedProcess
from typing import Any

import pytest

from superpod.errors import SuperpodError
from superpod.lab import building


class Nodes:
    """A lab in which one node builds, one does not, and one cannot be asked."""

    nodes = ("dgx-01", "dgx-02", "dgx-03")

    def __init__(self) -> None:
        self.record = {"release": "1.0"}
        self.said: list[str] = []
        self.heard = threading.Event()

    def progress(self, message: str) -> None:
        self.said.append(message)
        self.heard.set()

    def exec(self, node: str, argv: list[str], timeout: float) -> CompletedProcess[str]:
        if node == "dgx-03":
            raise SuperpodError("dgx-03 is switched off")
        assert argv[-1] == building.DIRECTORY
        return CompletedProcess(argv, 0 if node == "dgx-01" else 1)


def test_the_node_that_builds_is_named_while_it_builds() -> None:
    lab: Any = Nodes()
    with building.said(lab, pause=0.01):
        assert lab.heard.wait(5)
    before = list(lab.said)
    assert before and all(line.startswith("dgx-01 builds dcgm-exporter 1.0, for ") for line in before)
    assert not threading.Event().wait(0.05) and lab.said == before


def test_an_error_of_the_apply_is_not_held_back() -> None:
    lab: Any = Nodes()
    with pytest.raises(SuperpodError, match="failed"), building.said(lab, pause=60):
        raise SuperpodError("failed")
