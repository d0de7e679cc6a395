"""The reactor's files only start an orchestration, whatever an event claims, and the orchestrations exist."""

from __future__ import annotations

import pytest
import salt.loader
import salt.state
from rendering import FILE_ROOT, all_states

REACTIONS = sorted(FILE_ROOT.glob("dcgm/reactor/*.sls"))
# An event may come from any minion, with anything in it.
EVENTS = [{}, {"seq": 7}, {"seq": "{{ 1 }}", "nodes": ["x"], "data": {"cmd": "reboot"}}]


@pytest.mark.parametrize("data", EVENTS, ids=["empty", "as the watcher sends it", "forged"])
@pytest.mark.parametrize("path", REACTIONS, ids=[path.stem for path in REACTIONS])
def test_a_reaction_only_starts_an_orchestration_that_exists(minion_options, path, data) -> None:
    options = {**minion_options, "grains": {}}
    renderers = salt.loader.render(options, salt.loader.minion_mods(options))
    compiler = salt.state.Compiler(options, renderers)
    high = compiler.render_template(str(path), tag="superpod/bcm/roles/changed", data=data)
    steps = [step for step in high.values() if isinstance(step, dict)]
    assert steps
    for step in steps:
        assert [key for key in step if not key.startswith("__")] == ["runner"]
        arguments = next(part["args"] for part in step["runner"] if "args" in part)
        assert "state.orchestrate" in step["runner"]
        assert [part["mods"] in all_states() for part in arguments if "mods" in part] == [True]


def test_there_are_reactions() -> None:
    assert REACTIONS
