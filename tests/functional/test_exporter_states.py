"""The states of the exporter as Salt's loader calls them; tests/unit/exporter has the tables of cases."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.exporter import service

from tests.exporter_node import NEW, OLD, SECONDS, URL, ExporterNode


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    here = ExporterNode(tmp_path, monkeypatch)
    reached = here.reached()
    monkeypatch.setattr(service, "Unit", functools.partial(service.Unit, **reached))
    return here


def test_the_exporter_follows_the_roles(here: ExporterNode, states: Any) -> None:
    here.runs(OLD)
    here.install(NEW)
    Path(paths.ROLES_FILE).write_text(json.dumps({"roles": ["slurmclient"]}))
    arguments = {"release": NEW, "roles": {"source": "bcm", "run_on": ["slurmclient"]}, "url": URL, "timeout": SECONDS}
    follow = functools.partial(states.dcgm_service.follows_roles, name=paths.UNIT, deploying=True, **arguments)
    foretold = follow(test=True)
    assert (foretold.result, here.calls) == (None, [])
    done = follow()
    assert (done.result, done.changes) == (True, foretold.changes)
    assert follow().changes == {}


def test_an_empty_directory_is_removed(states: Any, tmp_path: Path) -> None:
    assert states.dcgm_path.emptied(name=str(tmp_path), test=True).result is None
    assert states.dcgm_path.emptied(name=str(tmp_path)).changes == {"removed": str(tmp_path)}
