"""Every template renders with the context that its state gives it, and no switch leaves a gap in the text."""

from __future__ import annotations

import pytest
import yaml
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


def test_prometheus_gets_its_configuration_as_yaml_that_promtool_checks(compiler) -> None:
    more = {"job_name": "other: one", "static_configs": [{"targets": ["a:1"], "labels": {"text": 'a "b" {{ c }}'}}]}
    with compiler(UBUNTU, {"dcgm": {"prometheus": {"scrape_configs": [more]}}}) as compile_states:
        chunks = compile_states.low("dcgm.prometheus.config")
    step = next(chunk for chunk in chunks if chunk["__id__"] == "Configure Prometheus for dcgm-exporter")
    first, second = yaml.safe_load(step["contents"])["scrape_configs"]
    assert (first["job_name"], second) == ("dcgm-exporter", more)
    assert first["file_sd_configs"][0]["files"][0].endswith("/*.json")
    # file.serialize knows check_cmd only from Salt 3007 on.
    assert (step["state"], step["fun"], step["check_cmd"]) == ("file", "managed", "promtool check config")


def test_the_shared_slurm_scripts_outlive_the_removal(compiler) -> None:
    with compiler(UBUNTU, {}) as compile_states:
        applied = [chunk["sls"] for chunk in compile_states.low("dcgm.orch.remove") if "sls" in chunk]
    assert sorted(applied) == ["dcgm.clean", "dcgm.prometheus.clean", "dcgm.watcher.clean"]
