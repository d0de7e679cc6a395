"""What a node is told of its release: its counters, and what is only assumed of it."""

from __future__ import annotations

from typing import Any

import pytest
from rendering import FILE_ROOT, UBUNTU, read_yaml, unresolved
from superpod_dcgm.monitoring import metric_names

COMPATIBILITY = read_yaml(FILE_ROOT / "dcgm/compatibility.yaml")


@pytest.fixture
def steps(compiler: Any) -> Any:
    """Return a function that gives the steps of the exporter's states by their state and function."""

    def of(**exporter: Any) -> dict[str, dict[str, Any]]:
        with compiler(UBUNTU, {"dcgm": {"exporter": {"method": "artifact", **exporter}}}) as compile_states:
            found = compile_states.low("dcgm.exporter")
        assert unresolved(found) == []
        return {f"{chunk['state']}.{chunk['fun']}": chunk for chunk in found}

    return of


def test_extended_counters_go_to_the_state_as_rows_and_a_change_restarts_the_exporter(steps: Any) -> None:
    found = steps(counters="extended", counter_rows=["DCGM_FI_PROF_SM_ACTIVE, gauge, SMs in use (ratio)."])
    installed = found["dcgm_counters.installed"]
    assert (installed["counters"], installed["renamed"]) == ("extended", {})
    assert len(installed["rows"]) == len(COMPATIBILITY["counters"]) + 1
    assert {"dcgm_counters": installed["__id__"]} in found["dcgm_service.follows_roles"]["watch"]


def test_the_default_counters_have_no_rows_to_add(steps: Any) -> None:
    installed = steps()["dcgm_counters.installed"]
    assert (installed["counters"], installed["rows"], installed["release"]) == ("default", [], "4.5.3-4.8.2")


@pytest.mark.parametrize(
    ("release", "words"),
    [
        ("4.5.3-4.8.2", ""),
        ("4.9.0", "what is known of dcgm-exporter 4.9.0 comes from release notes"),
        ("4.7.1-4.9.1", "dcgm-exporter 4.7.1-4.9.1 is not in compatibility.yaml"),
    ],
)
def test_an_apply_says_what_is_assumed_of_the_release(steps: Any, release: str, words: str) -> None:
    found = steps(release=release)
    assert ("test.show_notification" in found) == bool(words)
    assert words in found.get("test.show_notification", {}).get("text", "")


def test_the_rows_of_schema_2_have_its_names(steps: Any) -> None:
    installed = steps(release="4.9.0", counters="extended")["dcgm_counters.installed"]
    assert "DCGM_FI_DEV_GPU_TEMP_MARGIN_CELSIUS, gauge" in "\n".join(installed["rows"])
    assert installed["renamed"] == metric_names.renamed()
