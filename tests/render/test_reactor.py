"""The reactor's files only start a runner of ours without arguments, whatever an event claims."""

from __future__ import annotations

import pytest
import salt.loader
import salt.state
from rendering import FILE_ROOT

REACTIONS = sorted(FILE_ROOT.glob("dcgm/reactor/*.sls"))
# An event may come from any minion, with anything in it.
EVENTS = [{}, {"seq": 7}, {"seq": "{{ 1 }}", "nodes": ["x"], "data": {"cmd": "reboot"}}]


@pytest.mark.parametrize("data", EVENTS, ids=["empty", "as the watcher sends it", "forged"])
@pytest.mark.parametrize("path", REACTIONS, ids=[path.stem for path in REACTIONS])
def test_a_reaction_only_starts_a_runner_that_exists_and_takes_nothing_from_the_event(
    minion_options, path, data, repository
) -> None:
    options = {**minion_options, "grains": {}}
    renderers = salt.loader.render(options, salt.loader.minion_mods(options))
    compiler = salt.state.Compiler(options, renderers)
    high = compiler.render_template(str(path), tag="superpod/bcm/roles/changed", data=data)
    steps = [step for step in high.values() if isinstance(step, dict)]
    assert steps
    for step in steps:
        assert [key for key in step if not key.startswith("__")] == ["runner"]
        functions = [part for part in step["runner"] if isinstance(part, str)]
        assert functions == ["bcm.deliver_changes"] and not any("args" in part for part in step["runner"])
        assert "def deliver_changes() ->" in (repository / "_runners/bcm.py").read_text()


def test_there_are_reactions() -> None:
    assert REACTIONS
