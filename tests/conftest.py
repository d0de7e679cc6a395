"""What all tests share: minion code on the path, markers by folder, loading of Salt modules, a root for Salt."""

from __future__ import annotations

import importlib.util
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import salt._logging

from tests.groups import GroupScheduling, rank
from tests.left_out import pytest_terminal_summary, pytest_testnodedown  # noqa: F401
from tests.measured import measure
from tests.progress import pytest_sessionstart  # noqa: F401

REPOSITORY = Path(__file__).resolve().parents[1]
LEVELS = {
    "unit": "plain Python and shell, without Salt's daemons",
    "rules": "what Prometheus 2 and 3 make of our rules, by promtool",
    "boards": "Grafana dashboards, without Grafana: our rules, the SDK, and every question asked of Prometheus 2 and 3",
    "upstream": "questions to an exporter, and what each release answers",
    "render": "every SLS and template in every context",
    "functional": "states and modules through Salt's loaders, without daemons",
    "integration": "a master and minions as processes of this user",
    "lint": "style, and the project's own rules",
    "lab": "the miniature SuperPOD; needs root",
}

# _utils is where Salt's loaders find what states and modules import; tests/render has a helper of its tests.
sys.path[:0] = [str(REPOSITORY / "_utils"), str(REPOSITORY / "tests/render")]
# Salt adds an import hook of the old kind, on which pytest's import mode `importlib` stumbles; Python 3.12 ignores it.
sys.meta_path[:] = [finder for finder in sys.meta_path if hasattr(finder, "find_spec")]


def pytest_configure(config: pytest.Config) -> None:
    # Salt keeps early messages for a console that it never gets here, and would print them after the last test.
    salt._logging.shutdown_temp_handler()
    # It logs every event of Salt's bus, in thousands of lines below a failure.
    logging.getLogger("saltfactories.plugins.event_listener").setLevel(logging.WARNING)
    for name, meaning in LEVELS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    measure(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        folders = Path(item.path).relative_to(REPOSITORY).parts
        if folders[0] == "tests" and folders[1] in LEVELS:
            item.add_marker(folders[1])
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> GroupScheduling | None:
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture
def load() -> Callable[..., ModuleType]:
    """
    Return a function that loads a Salt module from its file, with the dunders that Salt's loader would give it.

    ``load("_states/job_map.py", __opts__={"test": True})``
    """

    def load_file(path: str, **dunders: Any) -> ModuleType:
        name = "loaded_" + path.removesuffix(".py").replace("/", "_").lstrip("_")
        spec = importlib.util.spec_from_file_location(name, REPOSITORY / path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        vars(module).update(dunders)
        spec.loader.exec_module(module)
        return module

    return load_file


@pytest.fixture(scope="session")
def salt_factories_config(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Keep the files of pytest-salt-factories out of the folder that all of a machine's users share."""
    return {"root_dir": str(tmp_path_factory.mktemp("salt")), "code_dir": str(REPOSITORY)}
