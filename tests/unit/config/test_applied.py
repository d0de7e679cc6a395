"""What is kept of an applied configuration, and how it is made whole again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.config import applied
from superpod_dcgm.config.resolve import ConfigurationError, configuration

ROOT = Path(__file__).parents[3]
DEFAULTS, SCHEMA, COMPATIBILITY = (
    yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in ("defaults", "schema", "compatibility")
)


def resolved(pillar: dict[str, Any]) -> dict[str, Any]:
    return configuration(DEFAULTS, SCHEMA, COMPATIBILITY, pillar)


PROXY = {"exporter": {"environment": {"HTTPS_PROXY": "http://me:secret@proxy"}, "build": {"environment": {"X": "y"}}}}


def test_no_secret_is_kept_only_its_key() -> None:
    record = applied.record(resolved(PROXY), DEFAULTS)
    assert "secret" not in str(record["configuration"])
    assert record["secrets"] == ["dcgm:exporter:environment:HTTPS_PROXY", "dcgm:exporter:build:environment:X"]


def test_what_is_kept_is_the_same_configuration_whatever_the_pillar_became() -> None:
    before = resolved({"exporter": {"release": "4.5.2-4.8.1", **PROXY["exporter"]}})
    kept = applied.record(before, DEFAULTS)["configuration"]
    newer = {"exporter": {"release": "4.5.3-4.8.2", "port": 9999, **PROXY["exporter"]}, "roles": {"run_on": ["x"]}}
    again = resolved(applied.whole(kept, newer))
    assert {key: again[key] for key in ("exporter", "slurm", "job_map", "roles", "go")} == {
        key: before[key] for key in ("exporter", "slurm", "job_map", "roles", "go")
    }
    assert applied.record(again, DEFAULTS)["digest"] == applied.digest(kept)


def test_a_secret_takes_its_value_from_the_present_pillar() -> None:
    kept = applied.record(resolved(PROXY), DEFAULTS)["configuration"]
    present = {"exporter": {"environment": {"HTTPS_PROXY": "new", "OTHER": "no"}, "build": {"environment": {"X": "z"}}}}
    found = applied.whole(kept, present)
    assert found["exporter"]["environment"] == {"HTTPS_PROXY": "new"}
    assert found["exporter"]["build"]["environment"] == {"X": "z"}


@pytest.mark.parametrize("present", [{}, {"exporter": {}}, {"exporter": {"environment": None}}, {"exporter": []}])
def test_a_secret_that_is_gone_is_named(present) -> None:
    kept = applied.record(resolved(PROXY), DEFAULTS)["configuration"]
    with pytest.raises(ConfigurationError, match=r"dcgm:exporter:environment:HTTPS_PROXY.*not in the pillar any more"):
        applied.whole(kept, present)


def test_a_tree_with_more_keys_adds_its_defaults_and_one_with_fewer_refuses() -> None:
    kept = applied.record(resolved({}), DEFAULTS)["configuration"]
    older = {**kept, "slurm": {key: value for key, value in kept["slurm"].items() if key != "gres"}}
    assert resolved(applied.whole(older, {}))["slurm"]["gres"] == DEFAULTS["slurm"]["gres"]
    with pytest.raises(ConfigurationError, match="dcgm:slurm:gone"):
        resolved(applied.whole({**kept, "slurm": {**kept["slurm"], "gone": 1}}, {}))


def test_another_configuration_has_another_digest_and_what_only_the_head_reads_has_not() -> None:
    def digest(pillar):
        return applied.record(resolved(pillar), DEFAULTS)["digest"]

    assert digest({}) == digest({"prometheus": {"port": 9999}, "watcher": {"interval": 7}})
    assert len({digest(pillar) for pillar in ({}, {"job_map": {"grace": 7}}, {"watcher": {"enabled": False}})}) == 3
