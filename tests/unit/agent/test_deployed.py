"""superpod_dcgm_info: what the last apply left on a node, whatever became of its records."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from superpod_dcgm.agent import deployed
from superpod_dcgm.base import own_code, paths
from superpod_dcgm.base.exposition import render

RELEASE = "4.5.3-4.8.2"
EXPORTER = {"enabled": True, "method": "artifact"}
# name: (what the record has, release, method, applied)
RECORDS = {
    "deployed": ({"digest": "d" * 64, "configuration": {"exporter": EXPORTER}}, RELEASE, "artifact", "d" * 12),
    "without the exporter": (
        {"digest": "d" * 64, "configuration": {"exporter": {**EXPORTER, "enabled": False}}},
        *("", "", "d" * 12),
    ),
    "no record": (None, RELEASE, "", ""),
    "a list": ([1], RELEASE, "", ""),
    "another form": ({"digest": 5, "configuration": {"exporter": ["x"]}}, RELEASE, "", ""),
    "words that are none": (
        {"digest": None, "configuration": {"exporter": {"enabled": True, "method": 1}}},
        "",
        "",
        "",
    ),
}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "NODE_STATE", str(tmp_path))
    monkeypatch.setattr(paths, "EXPORTER_CURRENT", str(tmp_path / "current"))
    return tmp_path


def labels() -> dict[str, str]:
    (family,) = text_string_to_metric_families(render([deployed.info()]))
    (sample,) = family.samples
    assert (sample.name, sample.value) == ("superpod_dcgm_info", 1)
    return sample.labels


@pytest.mark.parametrize(("record", "release", "method", "applied"), RECORDS.values(), ids=RECORDS.keys())
def test_a_node_tells_what_is_deployed_on_it(node, record, release, method, applied) -> None:
    if release:
        os.symlink(f"releases/{release}", node / "current")
    if record is not None:
        (node / paths.APPLIED_RECORD).write_text(json.dumps(record))
    code = own_code.digest(own_code.AGENT_PARTS)[:12]
    assert labels() == {"release": release, "method": method, "applied": applied, "code": code}


def test_a_copy_of_the_agent_has_the_code_of_the_package_that_it_is_of(tmp_path, monkeypatch) -> None:
    whole = own_code.digest(own_code.AGENT_PARTS)
    own_code.copy(str(tmp_path), own_code.AGENT_PARTS)
    monkeypatch.setattr(own_code, "_ROOT", str(tmp_path / "superpod_dcgm"))
    assert (own_code.digest(), own_code.digest(own_code.AGENT_PARTS)) == (whole, whole)


def test_the_parts_are_those_that_the_state_copies() -> None:
    state = Path(__file__).resolve().parents[3] / "salt/dcgm/agent/install.sls"
    (parts,) = (line for line in state.read_text().splitlines() if "parts:" in line)
    assert sorted(parts.partition("[")[2].strip("]").split(", ")) == [*own_code.AGENT_PARTS]
