"""Every template renders with the context that its state gives it, and no switch leaves a gap in the text."""

from __future__ import annotations

import pytest
from rendering import FILE_ROOT, MACHINES, UBUNTU

TEMPLATES = {path.relative_to(FILE_ROOT).as_posix() for path in FILE_ROOT.glob("dcgm/**/files/**/*.jinja")}


@pytest.mark.parametrize("machine", MACHINES)
def test_every_template_renders_and_belongs_to_a_state(applied, machine) -> None:
    _, texts = applied(machine)
    assert TEMPLATES - texts.keys() == set()
    for name, text in texts.items():
        assert text.endswith("\n"), name
        assert not {"{{", "{%", "None", "Undefined"} & set(text.split()), name


@pytest.mark.parametrize(("engine", "user"), [("remote", "User=dcgm-exporter"), ("embedded", "User=root")])
def test_the_unit_follows_the_engine(compiler, engine, user) -> None:
    unit = "dcgm/exporter/files/dcgm-exporter.service.jinja"
    with compiler(UBUNTU, {"dcgm": {"exporter": {"engine": engine}}}) as compile_states:
        texts = compile_states.templates(compile_states.low("dcgm.exporter.config"))
    assert user in texts[unit].splitlines()
