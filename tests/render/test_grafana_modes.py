"""The states for Grafana compile in every mode, with functions and arguments that are there."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from rendering import UBUNTU, unresolved

EXISTING = {"mode": "existing", "url": "https://grafana", "token_file": "/root/token"}
# keys: states by their functions, in order
MODES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "own": (
        {},
        [
            *("dcgm_grafana_own.possible", "dcgm_grafana_package.repository", "dcgm_grafana_package.installed"),
            *("dcgm_grafana_own.secrets", "dcgm_grafana_own.boards", *["dcgm_grafana_own.configured"] * 3),
            *("dcgm_prometheus.readable", "dcgm_grafana_own.serving", "dcgm_grafana.removed"),
        ],
    ),
    "existing": (
        EXISTING,
        [
            *("dcgm_grafana_own.removed", "dcgm_grafana.answers", "dcgm_grafana.folder"),
            *("dcgm_grafana.no_data_source", "dcgm_grafana.dashboards"),
        ],
    ),
    "existing, with a data source": (
        {**EXISTING, "data_source": {"url": "https://mon:9090"}},
        [
            *("dcgm_grafana_own.removed", "dcgm_grafana.answers", "dcgm_grafana.folder"),
            *("dcgm_grafana.data_source", "dcgm_grafana.dashboards"),
        ],
    ),
}
# Of Salt's own, besides those of the function.
_SALTS = {"state", "fun", "name", "order", "require", "require_in"}


@pytest.mark.parametrize(("keys", "expected"), MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("sls", ["dcgm.grafana", "dcgm.prometheus"])
def test_each_mode_has_its_states(compiler: Any, sls: str, keys: dict[str, Any], expected: list[str]) -> None:
    pillar = {"dcgm": {"hosts": {"monitoring": "*"}, "grafana": {"enabled": True, **keys}}}
    with compiler(UBUNTU, pillar) as compile_states:
        chunks = compile_states.low(sls)
        known = compile_states.high_state.state.states
        assert unresolved(chunks) == []
        ours = [chunk for chunk in chunks if chunk["__sls__"].startswith("dcgm.grafana")]
        for chunk in ours:
            given = {key for key in chunk if not key.startswith("__")} - _SALTS
            assert given <= inspect.signature(known[f"{chunk['state']}.{chunk['fun']}"]).parameters.keys(), chunk
    assert [f"{chunk['state']}.{chunk['fun']}" for chunk in sorted(ours, key=lambda one: one["order"])] == expected


def test_where_it_is_off_dcgm_grafana_says_so(compiler: Any) -> None:
    with compiler(UBUNTU, {"dcgm": {"hosts": {"monitoring": "*"}}}) as compile_states:
        (step,) = compile_states.low("dcgm.grafana")
    assert (step["fun"], step["comment"]) == ("fail_without_changes", "dcgm:grafana:enabled is false")


def test_the_top_file_gives_it_to_the_monitoring_host(compiler: Any) -> None:
    pillar = {"dcgm": {"hosts": {"nodes": "", "monitoring": "*"}, "grafana": {"enabled": True}}}
    with compiler(UBUNTU, pillar) as compile_states:
        top = compile_states.high_state.get_top()
        found = compile_states.high_state.top_matches(top)
    assert found == {"base": ["dcgm.prometheus", "dcgm.grafana"]}
