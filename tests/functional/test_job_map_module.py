"""The functions of the module job_map through Salt's loader."""

from __future__ import annotations

import fcntl
import json
import os
import re
from pathlib import Path

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import paths

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
    monkeypatch.setattr(paths, "JOB_MAP_CONFIG", str(path))
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


def test_wiring_finds_scontrol_where_bcm_has_it(modules, tmp_path, monkeypatch) -> None:
    _scontrol(tmp_path, monkeypatch, CONFIG)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr("superpod_dcgm.agent.slurm._SEARCH", (str(tmp_path),))
    assert modules.job_map.wiring(**BCM)["fits"] is True


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


@pytest.fixture
def stale(settings, tmp_path, monkeypatch) -> Path:
    """A map with job 12 on two GPUs and 13 beside it; Slurm knows 13 only. Returns its directory."""
    program = tmp_path / "squeue"
    text = '[ "$3" = 13 ] && echo "13|RUNNING|$(hostname)" && exit\necho "Invalid job id specified" >&2\nexit 1\n'
    program.write_text(f"#!/bin/sh\n{text}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(paths, "JOB_MAP_STATE", str(tmp_path / "run/job-map.json"))
    directory = tmp_path / "map"
    directory.mkdir()
    for name, text in {"0": "12\n13\n", "3": "12\n"}.items():
        (directory / name).write_text(text)
        os.utime(directory / name, (1, 1))
    settings.write_text(f"directory={directory}\nidle=empty\ngrace=60\n")
    return directory


def test_reconcile_removes_ids_of_dead_jobs_or_only_says_so(modules, stale, tmp_path) -> None:
    foretold = modules.job_map.reconcile(test=True)
    assert (stale / "0").read_text() == "12\n13\n"
    assert not (tmp_path / "run").exists()
    done = modules.job_map.reconcile()
    assert foretold == done
    assert done["removed"] == {"0": ["12"], "3": ["12"]}
    assert list(done["kept"]) == ["13"]
    assert ((stale / "0").read_text(), (stale / "3").read_text()) == ("13\n", "")
    assert json.loads((tmp_path / "run/job-map.json").read_text())["removed"] == 1
    assert modules.job_map.reconcile()["removed"] == {}


def test_reconcile_needs_a_map(modules, settings, tmp_path) -> None:
    with pytest.raises(CommandExecutionError, match="not configured on this node"):
        modules.job_map.reconcile()
    (tmp_path / "file").write_text("")
    settings.write_text(f"directory={tmp_path}/file\n")
    with pytest.raises(CommandExecutionError, match="cannot be reconciled"):
        modules.job_map.reconcile()


def test_the_state_reports_and_removes_a_stale_map(states, stale) -> None:
    foretold = states.job_map.reconciled("job map", test=True)
    assert (foretold.result, (stale / "3").read_text()) == (None, "12\n")
    done = states.job_map.reconciled("job map")
    assert done.result is True
    assert foretold.changes == done.changes == {"removed": {"0": ["12"], "3": ["12"]}}
    assert (stale / "3").read_text() == ""
    again = states.job_map.reconciled("job map")
    assert (again.result, again.changes) == (True, {})


@pytest.mark.parametrize("test", [True, False])
def test_the_state_warns_when_the_controller_is_silent(states, stale, tmp_path, test) -> None:
    (tmp_path / "squeue").write_text("#!/bin/sh\necho Unable to contact slurm controller >&2\nexit 1\n")
    ret = states.job_map.reconciled("job map", test=test)
    assert (ret.result, ret.changes) == (True, {})
    assert "Unable to contact slurm controller" in ret.comment
    assert [line for line in ret.full_return["warnings"] if "Unable to contact" in line]
    assert (stale / "3").read_text() == "12\n"


def test_the_state_fails_when_the_map_cannot_be_changed_or_read(states, stale, settings) -> None:
    with open(stale / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ret = states.job_map.reconciled("job map")
    assert (ret.result, ret.changes) == (False, {})
    assert "could be removed" in ret.comment and "cannot be changed" in ret.comment
    settings.unlink()
    assert states.job_map.reconciled("job map").result is False


NONE = {"prolog_link": "", "epilog_link": "", "textfile": "", "directory": ""}
BEFORE = {
    "prolog_link": "/a/60-prolog-dcgm.sh",
    "epilog_link": "/a/60-epilog-dcgm.sh",
    "textfile": "/var/lib/node_exporter",
    "directory": "/run/dcgm-job-map",
}
# name: (what changes in the pillar, what an earlier apply used)
FORMER = {
    "nothing changed": ({}, {}),
    "one moved": ({"prolog_link": "/b/60-prolog-dcgm.sh"}, {"prolog_link": "/a/60-prolog-dcgm.sh"}),
    "metrics are no more written": ({"textfile": ""}, {"textfile": "/var/lib/node_exporter"}),
    "the two changed places": ({"prolog_link": "/a/60-epilog-dcgm.sh", "epilog_link": "/a/60-prolog-dcgm.sh"}, {}),
}


@pytest.mark.parametrize(("changed", "expected"), FORMER.values(), ids=FORMER.keys())
def test_what_an_earlier_apply_used_elsewhere_is_known(modules, settings, changed, expected) -> None:
    wanted = BEFORE | changed
    assert modules.job_map.former(wanted) == NONE, "nothing was applied yet"
    settings.write_text("".join(f"{key}={value}\n" for key, value in BEFORE.items()))
    assert modules.job_map.former(wanted) == NONE | expected


def test_clean_knows_the_places_of_both_pillars(modules, settings) -> None:
    settings.write_text("textfile=/a\ndirectory=/run/a-dcgm\n")
    found = modules.job_map.places({"textfile": "/b", "directory": "/run/b-dcgm"})
    places = {"/run/a-dcgm", "/run/b-dcgm", "/a/superpod-dcgm.prom", "/b/superpod-dcgm.prom"}
    assert places <= set(found) and "" not in found
    assert len(found) == len(set(found))


OLD, NEW = "4.2.3-4.2.0", "4.5.3-4.8.2"
# name: (release that runs, whether it reads the map, settings that depend on it)
RUNNING = {
    "none yet": (None, True, {"mig": "yes", "idle": "empty"}),
    "the wanted one": (NEW, True, {"mig": "yes", "idle": "empty"}),
    "the one before, since the new one was taken back": (OLD, True, {"mig": "no", "idle": "unlink"}),
    "the one before, which reads no map": (OLD, False, {"mig": "yes", "idle": "unlink"}),
    "one that nobody knows": ("1.0.0-1.0.0", True, {"mig": "yes", "idle": "empty"}),
}


@pytest.mark.parametrize(("running", "label", "expected"), RUNNING.values(), ids=RUNNING.keys())
def test_job_map_conf_is_that_of_the_release_that_runs(modules, monkeypatch, running, label, expected) -> None:
    monkeypatch.setattr("superpod_dcgm.exporter.installed.linked_release", lambda: running)
    wanted = {"directory": "/run/map", "mig": "yes", "idle": "empty"}
    assert modules.dcgm_config.job_map_conf(wanted, NEW, label) == {"directory": "/run/map", **expected}
