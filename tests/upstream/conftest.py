"""Fixtures for questions to exporters: the lab's stand-in of each release, built and asked once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests import standin

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import questions  # noqa: E402
from subject import Program  # noqa: E402


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Program]:
    """A function that builds the stand-in of a release; it says how that is started on this machine."""
    place = tmp_path_factory.mktemp("standin")
    standin.make_repository(place / "repository")
    environment = standin.libraries(place / "libraries")
    gpus = standin.write_profiles(place / "gpus")

    def build(tag: str) -> Program:
        clone = standin.build(place / "repository", tag, place / tag)
        without_dcgm = ["env", "LAB_LDCONFIG=/bin/true"]
        files = (clone / standin.PROGRAM, clone / standin.COUNTERS, standin.HOST_ENGINE, gpus)
        return Program(*map(str, files), environment, without_dcgm)

    return build


@pytest.fixture(scope="session")
def answers(program: Callable[[str], Program]) -> Callable[[str], dict[str, Any]]:
    """A function that returns all answers of a release's stand-in."""
    return cache(lambda tag: questions.ask_all(program(tag)))
