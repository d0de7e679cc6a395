"""The states that write what Prometheus reads ask promtool first, show no secret, and remove only what is ours."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

MARK = "# Managed by Salt (dcgm.prometheus)"
CONFIG = f"{MARK}\nscrape_configs:\n- job_name: superpod-dcgm-exporter\n- job_name: site\n"
WEB = f"{MARK}\nbasic_auth_users:\n  prom: $2y$05$abcdef\n"
GROUP = grp.getgrgid(os.getegid()).gr_name


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Return a function that makes a program of a version; as promtool it refuses what has the word ``wrong``."""

    def make(version: str = "2.53.3", refuses: str = "wrong") -> str:
        path = tmp_path / f"program-{version}"
        path.write_text(
            f"#!/bin/sh\n[ \"$1\" = --version ] && echo 'prometheus, version {version} (x)' && exit 0\n"
            f'for last; do :; done\ngrep -q {refuses} "$last" || exit 0\n'
            'echo "Checking $last"\necho "  FAILED:\n$last: not understood" >&2\nexit 1\n'
        )
        path.chmod(0o755)
        return str(path)

    return make


def configured(states: Any, path: Path, program: str, promtool: str, text: str = CONFIG, **more: Any) -> Any:
    what = {"contents": text, "program": program, "promtool": promtool, "group": GROUP}
    return states.dcgm_prometheus_files.configured(str(path), **what, **more)


def test_a_configuration_is_written_closed_and_once(states: Any, program: Callable[..., str], tmp_path: Path) -> None:
    path, tool = tmp_path / "p.yml", program()
    assert configured(states, path, tool, tool, test=True).result is None
    assert not path.exists()
    ret = configured(states, path, tool, tool)
    assert (ret.result, ret.changes) == (True, {"diff": "New file"})
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == (CONFIG, 0o640)
    assert configured(states, path, tool, tool).changes == {}
    ret = configured(states, path, tool, tool, CONFIG.replace("site", "other"))
    assert "+- job_name: other" in ret.changes["diff"]


def test_one_that_promtool_refuses_changes_nothing(states: Any, program: Callable[..., str], tmp_path: Path) -> None:
    path, tool = tmp_path / "p.yml", program()
    configured(states, path, tool, tool)
    ret = configured(states, path, tool, tool, CONFIG + "wrong: 1\n")
    assert (ret.result, ret.changes) == (False, {})
    assert ret.comment == f"{path} is not written: promtool: {path}: not understood"
    assert path.read_text() == CONFIG
    assert sorted(os.listdir(tmp_path)) == ["p.yml", "program-2.53.3"]


def test_prometheus_3_gets_what_2_would_refuse(states: Any, program: Callable[..., str], tmp_path: Path) -> None:
    path, two, three = tmp_path / "p.yml", program("2.53.3"), program("3.5.3")
    configured(states, path, two, two)
    assert "fallback_scrape_protocol" not in path.read_text()
    # The package was upgraded.
    assert configured(states, path, three, three).changes != {}
    first, site = yaml.safe_load(path.read_text())["scrape_configs"]
    assert first["fallback_scrape_protocol"] == "PrometheusText0.0.4"
    assert "fallback_scrape_protocol" not in site
    assert configured(states, path, three, three).changes == {}


def test_a_web_configuration_is_closed_and_not_shown(states: Any, program: Callable[..., str], tmp_path: Path) -> None:
    path, tool = tmp_path / "web.yml", program()

    def written(text: str, **more: Any) -> Any:
        what = {"contents": text, "promtool": tool, "group": GROUP}
        return states.dcgm_prometheus_files.web_configured(str(path), **what, **more)

    assert written("").changes == {}
    assert written(WEB).result is True
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    ret = written(WEB.replace("abcdef", "fedcba"))
    assert (ret.changes, "$2y" in str(ret)) == ({"diff": "(not shown)"}, False)
    assert written("", test=True).result is None
    assert path.exists()
    assert written("").changes == {"removed": str(path)}
    assert not path.exists()


def rules(states: Any, folder: Path, files: dict[str, str], promtool: str = "", **more: Any) -> Any:
    return states.dcgm_prometheus_files.rules(str(folder), files=files, promtool=promtool, **more)


def test_rule_files_come_change_and_go_and_those_of_the_site_stay(
    states: Any, program: Callable[..., str], tmp_path: Path
) -> None:
    folder, tool = tmp_path / "rules", program()
    assert rules(states, folder, {}).changes == {}
    assert not folder.exists()
    wanted = {"a.yml": f"{MARK}\ngroups: []\n", "b.yml": f"{MARK}\ngroups: [1]\n"}
    assert rules(states, folder, wanted, tool, test=True).result is None
    assert not folder.exists()
    assert set(rules(states, folder, wanted, tool).changes.values()) == {"written"}
    assert rules(states, folder, wanted, tool).changes == {}
    (folder / "site.yml").write_text("groups: []\n")
    ret = rules(states, folder, {"a.yml": f"{MARK}\ngroups: [2]\n"}, tool)
    assert ret.changes == {f"{folder}/a.yml": "written", f"{folder}/b.yml": "removed"}
    assert rules(states, folder, {}).changes == {f"{folder}/a.yml": "removed"}
    assert os.listdir(folder) == ["site.yml"]


def test_one_wrong_rule_file_keeps_all_as_they_are(states: Any, program: Callable[..., str], tmp_path: Path) -> None:
    folder, tool = tmp_path / "rules", program()
    rules(states, folder, {"a.yml": f"{MARK}\nold\n"}, tool)
    ret = rules(states, folder, {"a.yml": f"{MARK}\nnew\n", "b.yml": f"{MARK}\nwrong\n"}, tool)
    assert (ret.result, ret.changes) == (False, {})
    assert ret.comment == f"{folder}/b.yml is not written: promtool: {folder}/b.yml: not understood"
    assert os.listdir(folder) == ["a.yml"]
    assert (folder / "a.yml").read_text().endswith("old\n")


def test_a_rule_file_of_somebody_else_is_not_replaced(states: Any, tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text("groups: []\n")
    ret = rules(states, tmp_path, {"a.yml": f"{MARK}\n"})
    assert (ret.result, ret.comment) == (False, f"{tmp_path}/a.yml was not written by this project: move it away")


def test_the_file_to_include_is_for_the_version_of_the_server_and_promtool_checks_what_it_knows(
    states: Any, program: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "scrape/dcgm.yml"
    # An older promtool refuses the key.
    old = program("2.53.3", refuses="fallback")
    nobody = {"contents": CONFIG, "page": {"port": 1}, "promtool": old}
    ret = states.dcgm_prometheus_files.scrape_written(str(path), **nobody)
    assert ret.result is True
    assert "is not known" in ret.warnings[0]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    ret = states.dcgm_prometheus_files.scrape_written(str(path), **nobody, version_given="3.5.3")
    assert (ret.result, ret.warnings) == (True, [])
    assert "fallback_scrape_protocol" in path.read_text()
    ret = states.dcgm_prometheus_files.scrape_written(str(path), **nobody, version_given="2.53")
    assert path.read_text() == CONFIG
