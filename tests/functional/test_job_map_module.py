"""The functions of the module job_map through Salt's loader."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import superpod_paths
from salt.exceptions import CommandExecutionError

CONFIG = """\
Configuration data as of 2026-11-23T15:00:00
Epilog                  = /cm/local/apps/cmd/scripts/epilog
EpilogMsgTime           = 2000 usec
Prolog                  = /cm/local/apps/cmd/scripts/prolog
PrologEpilogTimeout     = 65534
PrologFlags             = Alloc,Contain
"""
BCM = {
    "prolog": "/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh",
    "epilog": "/cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh",
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "job-map.conf"
    monkeypatch.setattr(superpod_paths, "JOB_MAP_CONFIG", str(path))
    return path


def test_show_reads_the_map_in_the_order_of_the_gpus(modules, settings, tmp_path) -> None:
    directory = tmp_path / "map"
    (directory / "3").mkdir(parents=True)
    for name, text in {"10": "7\n", "2": "12\n13\n", "0": "", "0.11": "9\n", ".lock": "x", "x1": "y"}.items():
        (directory / name).write_text(text)
    settings.write_text(f"# settings\ndirectory={directory}\n")
    shown = modules.job_map.show()
    assert shown == {"0": [], "0.11": ["9"], "2": ["12", "13"], "10": ["7"]}
    assert list(shown) == ["0", "0.11", "2", "10"]


def test_show_says_why_there_is_nothing_to_show(modules, settings, tmp_path) -> None:
    with pytest.raises(CommandExecutionError, match="not configured on this node"):
        modules.job_map.show()
    settings.write_text(f"directory={tmp_path}/missing\n")
    with pytest.raises(CommandExecutionError, match="cannot be read"):
        modules.job_map.show()


def _scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, code: int = 0) -> None:
    (tmp_path / "answer").write_text(text)
    program = tmp_path / "scontrol"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = "show config" ] || exit 9\ncat {tmp_path}/answer >&{2 if code else 1}\nexit {code}\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")


def test_wiring_takes_the_links_from_the_settings_of_the_node(modules, settings, tmp_path, monkeypatch) -> None:
    settings.write_text("".join(f"{kind}_link={path}\n" for kind, path in BCM.items()))
    _scontrol(tmp_path, monkeypatch, CONFIG)
    answer = modules.job_map.wiring()
    assert answer["fits"] is True
    assert len(answer["report"]) == 3


def test_wiring_passes_on_what_scontrol_says(modules, settings, tmp_path, monkeypatch) -> None:
    _scontrol(tmp_path, monkeypatch, "Unable to contact slurm controller", code=1)
    with pytest.raises(CommandExecutionError, match="Unable to contact slurm controller"):
        modules.job_map.wiring(**BCM)


def test_wiring_needs_scontrol(modules, settings, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CommandExecutionError, match="no scontrol"):
        modules.job_map.wiring(**BCM)


@pytest.mark.parametrize(("flags", "result"), [("Alloc", True), ("(null)", False)])
def test_the_wiring_state_fails_in_sentences_when_slurm_conf_does_not_fit(
    states, tmp_path, monkeypatch, flags: str, result: bool
) -> None:
    _scontrol(tmp_path, monkeypatch, re.sub(r"(PrologFlags\s*=).*", rf"\1 {flags}", CONFIG))
    ret = states.job_map.wired("slurmctl", **BCM)
    assert ret.result is result
    assert "PrologFlags in slurm.conf" in ret.comment
    assert ret.changes == {}


def test_the_wiring_state_fails_when_the_controller_does_not_answer(states, tmp_path, monkeypatch) -> None:
    _scontrol(tmp_path, monkeypatch, "Unable to contact slurm controller", code=1)
    ret = states.job_map.wired("slurmctl", **BCM)
    assert ret.result is False
    assert "Unable to contact" in ret.comment
