"""The head shows what is known of releases, and judges a counters file that it serves before any node reads it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import salt.config
from superpod_dcgm.fleet import judge


@pytest.fixture
def runner(load: Callable[..., ModuleType], repository: Path, tmp_path: Path) -> ModuleType:
    options = salt.config.apply_master_config(
        {
            "root_dir": str(tmp_path),
            "cachedir": str(tmp_path / "cache"),
            "file_roots": {"base": [str(tmp_path / "site"), str(repository / "salt")]},
        },
        defaults=copy.deepcopy(salt.config.DEFAULT_MASTER_OPTS),
    )
    (tmp_path / "site").mkdir()
    return load("_runners/dcgm.py", __opts__=options, __context__={}, __salt__={})


def test_every_release_is_shown_with_what_is_known_of_it(runner: ModuleType) -> None:
    shown = runner.releases()
    assert shown["outputter"] == "dcgm_releases"
    default, later = shown["releases"]["4.5.3-4.8.2"], shown["releases"]["4.9.0"]
    assert (len(default["commit"]), default["go_sha256"], default["inferred"]) == (40, ["amd64", "arm64"], False)
    assert (later["commit"], later["go_sha256"], later["inferred"]) == ("", [], True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("DCGM_FI_DEV_GPU_UTIL, gauge, x\n", ""),
        (
            "DCGM_FI_DEV_GPU_UTIL,\tgauge, x\n",
            "dcgm:exporter:counters: salt://site.csv: line 1: '\\tgauge' (with a tab",
        ),
        (None, "salt://site.csv: this master does not serve it"),
    ],
)
def test_a_counters_file_is_judged_with_the_pillar(
    runner: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, words: str
) -> None:
    if content:
        (tmp_path / "site/site.csv").write_text(content)

    def judged(opts: dict[str, Any], resolve: judge.Resolve, missing: Any) -> tuple[list[str], list[str]]:
        """As it stands in judge, without minions."""
        try:
            resolve({"exporter": {"counters": "salt://site.csv"}})
        except ValueError as exc:
            return str(exc).splitlines(), []
        return [], ["release: 4.5.3-4.8.2"]

    monkeypatch.setattr(judge, "judged", judged)
    found = runner.check()
    assert found["right"] == (not words)
    assert all(words in sentence for sentence in found.get("problems", []))
    assert len(found.get("problems", [])) == bool(words)
