"""The configuration is computed once per run, and again when pillar or files differ."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pytest
import salt.state
from salt.exceptions import CommandExecutionError
from superpod_dcgm.config import resolve


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the configuration was computed from, each time that it was."""
    found: list[Any] = []
    configuration = resolve.configuration

    def counted(defaults: Any, schema: Any, compatibility: Any, pillar: Any) -> dict[str, Any]:
        found.append(pillar)
        return configuration(defaults, schema, compatibility, pillar)

    monkeypatch.setattr(resolve, "configuration", counted)
    return found


@pytest.fixture
def file_root(loaders: Any, repository: Path, tmp_path: Path) -> Path:
    """A copy of the file root, which a test may edit."""
    root = tmp_path / "root"
    shutil.copytree(repository / "salt/dcgm", root / "dcgm")
    return root


@pytest.fixture
def options(loaders: Any, file_root: Path) -> dict[str, Any]:
    found = copy.deepcopy(dict(loaders.opts))
    grains = {"id": "dgx-01", "host": "dgx-01", "cpuarch": "x86_64", "os_family": "Debian", "init": "systemd"}
    return {**found, "file_roots": {"base": [str(file_root)]}, "grains": grains}


def render(high_state: salt.state.HighState) -> list[str]:
    """Compile all that a node applies, as one run does."""
    high_state.building_highstate = type(high_state.building_highstate)()
    high_state.push_active()
    try:
        high, errors = high_state.render_highstate({"base": ["dcgm"]})
    finally:
        high_state.pop_active()
    assert errors == []
    return list(high)


def test_a_whole_run_computes_it_once(options: dict[str, Any], resolves: list[Any]) -> None:
    with salt.state.HighState(options, initial_pillar={"dcgm": {"cluster": "one"}}) as high_state:
        assert len(render(high_state)) > 20
    assert resolves == [{"cluster": "one"}]


def test_the_next_run_computes_it_again(options: dict[str, Any], resolves: list[Any]) -> None:
    """What the machine has installed may be another then."""
    context: dict[str, Any] = {}
    for _ in range(2):
        with salt.state.HighState(options, initial_pillar={}, context=context) as high_state:
            render(high_state)
    assert len(resolves) == 2


def test_an_edited_file_counts_in_a_process_that_lives_on(
    options: dict[str, Any], resolves: list[Any], file_root: Path
) -> None:
    with salt.state.HighState(options, initial_pillar={}) as high_state:
        ask = high_state.state.functions["dcgm_config.resolve"]
        assert [ask(None)["exporter"]["port"] for _ in range(3)] == [9400] * 3
        defaults = file_root / "dcgm/defaults.yaml"
        defaults.write_text(defaults.read_text().replace("port: 9400", "port: 19400"))
        assert ask(None)["exporter"]["port"] == 19400
    assert len(resolves) == 2


def test_another_pillar_counts_at_once(options: dict[str, Any]) -> None:
    with salt.state.HighState(options, initial_pillar={}) as high_state:
        ask = high_state.state.functions["dcgm_config.resolve"]
        assert [ask(pillar)["cluster"] for pillar in ({"cluster": "a"}, {"cluster": "b"}, None)] == ["a", "b", "slurm"]


def test_a_file_that_is_missing_is_named(options: dict[str, Any], file_root: Path) -> None:
    (file_root / "dcgm/schema.yaml").unlink()
    with (
        salt.state.HighState(options, initial_pillar={}) as high_state,
        pytest.raises(CommandExecutionError, match=r"salt://dcgm/schema\.yaml is not on the file server"),
    ):
        high_state.state.functions["dcgm_config.resolve"]({})


def test_a_tree_of_another_environment_reads_its_own_files(options: dict[str, Any], file_root: Path) -> None:
    production = file_root.parent / "production"
    shutil.copytree(file_root, production)
    defaults = production / "dcgm/defaults.yaml"
    defaults.write_text(defaults.read_text().replace("port: 9400", "port: 19400"))
    options["file_roots"]["prod"] = [str(production)]
    with salt.state.HighState(options, initial_pillar={}) as high_state:
        ask = high_state.state.functions["dcgm_config.resolve"]
        ports = [ask(None, saltenv)["exporter"]["port"] for saltenv in ("base", "prod", "base")]
        high_state.push_active()
        _, errors = high_state.render_highstate({"prod": ["dcgm"]})
        high_state.pop_active()
    assert (ports, errors) == ([9400, 19400, 9400], [])
