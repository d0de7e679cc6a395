"""Every template renders with the context that its state gives it, and no switch leaves a gap in the text."""

from __future__ import annotations

import pytest
from rendering import FILE_ROOT, MACHINES, UBUNTU, all_states

TEMPLATES = {path.relative_to(FILE_ROOT).as_posix() for path in FILE_ROOT.glob("dcgm/**/files/**/*.jinja")}


def _rendered(compile_states, names) -> dict[str, str]:
    chunks = [chunk for name in names for chunk in compile_states.low(name)]
    managed = [chunk for chunk in chunks if chunk.get("template") and str(chunk.get("source")).startswith("salt://")]
    return {chunk["source"].removeprefix("salt://"): compile_states.template(chunk) for chunk in managed}


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES.keys())
def test_every_template_renders_and_belongs_to_a_state(compiler, machine) -> None:
    with compiler(machine, {}) as compile_states:
        texts = _rendered(compile_states, all_states())
    assert TEMPLATES - texts.keys() == set()
    for name, text in texts.items():
        assert text.endswith("\n"), name
        assert not {"{{", "{%", "None", "Undefined"} & set(text.split()), name


def test_the_unit_follows_the_engine(compiler) -> None:
    unit = "dcgm/exporter/files/dcgm-exporter.service.jinja"
    for engine, user in (("remote", "User=dcgm-exporter"), ("embedded", "User=root")):
        with compiler(UBUNTU, {"dcgm": {"exporter": {"engine": engine}}}) as compile_states:
            assert user in _rendered(compile_states, ["dcgm.exporter"])[unit].splitlines()
