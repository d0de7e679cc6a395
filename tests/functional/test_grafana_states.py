"""Salt's loaders find the states for Grafana, which read dashboards from the file root and ask a fake of its API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.monitoring.grafana_boards import SOURCES

from tests.fake_grafana import FakeGrafana, Server


@pytest.fixture
def grafana(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[FakeGrafana, dict[str, Any]]]:
    monkeypatch.setattr(paths, "GRAFANA_PUT", str(tmp_path / "existing.json"))
    token = tmp_path / "token"
    token.write_text("glsa_editor")
    token.chmod(0o600)
    fake = FakeGrafana()
    with Server(fake) as server:
        server.start()
        yield fake, {"url": server.url, "token_file": str(token)}
        server.shutdown()


def test_dashboards_of_the_file_root_come_and_go(states: Any, modules: Any, grafana: Any) -> None:
    fake, access = grafana
    empty = fake.things()
    put = {"access": access, "folder": "superpod-dcgm", "sources": list(SOURCES)}
    assert states.dcgm_grafana.answers("It answers", access=access).result is True
    assert states.dcgm_grafana.folder("superpod-dcgm", access=access, title="SuperPOD").changes
    assert states.dcgm_grafana.dashboards("Write them", **put, test=True).result is None
    assert fake.dashboards == {}
    assert len(states.dcgm_grafana.dashboards("Write them", **put).changes) == len(SOURCES)
    assert states.dcgm_grafana.dashboards("Write them", **put).changes == {}
    assert len(modules.dcgm_grafana.show()[access["url"]]["dashboards"]) == len(SOURCES)
    assert states.dcgm_grafana.removed("Remove them").result is True
    assert fake.things() == empty


def test_a_token_that_others_can_read_is_refused_before_anybody_is_asked(states: Any, grafana: Any) -> None:
    fake, access = grafana
    Path(access["token_file"]).chmod(0o644)
    ret = states.dcgm_grafana.folder("superpod-dcgm", access=access, title="SuperPOD")
    assert (ret.result, "others could read the token" in ret.comment, fake.asked) == (False, True, [])
