"""A role call on a node: what it changes, what it leaves alone, and what it says of the node."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import boot, files, paths
from superpod_dcgm.exporter import last_good, page, role_call, rows, service

from tests.exporter_node import NEW, OLD, SECONDS, URL, ExporterNode

RULES = {"source": "bcm", "run_on": ["slurmclient"], "static": {"x": ["y"]}}
WANTED, UNWANTED = ["slurmclient"], ["storage"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    node = ExporterNode(tmp_path, monkeypatch)
    monkeypatch.setattr(role_call, "_ANSWER_SECONDS", SECONDS)
    return node


@pytest.fixture
def deployed(here: ExporterNode) -> ExporterNode:
    here.runs(NEW)
    role_call.remember(paths.UNIT, URL, SECONDS, (), RULES)
    return here


def call(here: ExporterNode, roles: list[str], at_work: str = "") -> dict[str, Any]:
    entry = {"roles": roles, "category": "dgx"}
    return role_call.answer(entry, 7, "t1", at_work, unit=lambda *_: here.unit())


def test_a_role_that_goes_stops_the_exporter_and_one_that_comes_starts_it(deployed: ExporterNode) -> None:
    gone = call(deployed, UNWANTED)
    assert (gone["state"], gone["service"], deployed.up, deployed.enabled, deployed.flag.exists()) == (
        *("ok", "stopped", False, False, False),
    )
    back = call(deployed, WANTED)
    assert (back["state"], back["service"], deployed.up, deployed.enabled, deployed.flag.exists()) == (
        *("ok", "running", True, True, True),
    )
    assert gone["changed"] and back["changed"] and back["text"] == f"{paths.UNIT}: stopped -> running"


def test_while_gpus_are_free_nothing_is_started_and_what_goes_is_noted(deployed: ExporterNode) -> None:
    call(deployed, UNWANTED)
    Path(paths.GPUS_FREED).write_text('{"since": "t0"}')
    came = call(deployed, WANTED)
    assert (came["state"], came["service"], deployed.enabled, deployed.flag.exists()) == ("ok", "stopped", True, True)
    assert "GPUs are free for maintenance since t0; dcgm_gpu.resume" in came["text"]
    gone = call(deployed, UNWANTED)
    assert (gone["state"], deployed.enabled, deployed.flag.exists()) == ("ok", False, False)
    Path(paths.GPUS_FREED).unlink()
    assert call(deployed, WANTED)["service"] == "running"


def test_a_second_call_changes_nothing(deployed: ExporterNode) -> None:
    call(deployed, WANTED)
    calls = len(deployed.calls)
    again = call(deployed, WANTED)
    assert (again["state"], again["changed"], len(deployed.calls)) == ("ok", False, calls)


def test_a_newer_configuration_on_the_disk_is_not_rolled_out(deployed: ExporterNode) -> None:
    """Somebody's apply was cut short: a role call neither restarts what runs nor links another release."""
    deployed.install(OLD)
    deployed.configure("second")
    assert call(deployed, WANTED)["state"] == "ok"
    assert "restart" not in " ".join(deployed.calls) and deployed.loaded == (NEW, "first")


def test_nothing_is_done_where_nothing_was_deployed(here: ExporterNode) -> None:
    said = call(here, WANTED)
    assert (said["state"], said["deployed"], said["lacking"], here.calls) == ("idle", False, [], [])
    assert json.loads(Path(paths.ROLES_FILE).read_text())["roles"] == WANTED


def test_a_state_run_comes_first_and_still_finds_the_roles(deployed: ExporterNode) -> None:
    said = call(deployed, UNWANTED, at_work="state.apply runs here (job 1)")
    assert (said["state"], said["text"], deployed.up) == ("busy", "state.apply runs here (job 1)", True)
    assert json.loads(Path(paths.ROLES_FILE).read_text())["roles"] == UNWANTED


def test_a_node_in_the_middle_of_its_first_apply_is_busy_and_lacks_nothing(here: ExporterNode) -> None:
    assert call(here, WANTED, at_work="state.apply runs here (job 1)")["state"] == "busy"


def test_who_holds_the_lock_is_not_waited_for(deployed: ExporterNode) -> None:
    with files.lock_local(paths.SERVICE_LOCK, 0):
        assert call(deployed, UNWANTED)["state"] == "busy"
    assert deployed.up and call(deployed, UNWANTED)["state"] == "ok" and not deployed.up


@pytest.mark.parametrize("lost", ["unit", "binary", "place"])
def test_what_is_missing_is_named(deployed: ExporterNode, lost: str) -> None:
    place = deployed.root / "etc/job-map.conf"
    place.write_text("")
    (deployed.root / "var" / paths.APPLIED_RECORD).write_text(json.dumps({"digest": "d", "places": [str(place)]}))
    assert call(deployed, WANTED)["state"] == "ok"
    victim = {"unit": deployed.unit_file, "binary": deployed.root / "opt" / NEW / "dcgm-exporter", "place": place}[lost]
    victim.unlink()
    said = call(deployed, WANTED)
    assert (said["state"], said["lacking"]) == ("lacking", [str(victim)]) and str(victim) in said["text"]


def test_an_older_release_is_no_lack(here: ExporterNode) -> None:
    here.runs(OLD)
    role_call.remember(paths.UNIT, URL, SECONDS, (), RULES)
    said = call(here, WANTED)
    assert (said["state"], said["release"], said["lacking"]) == ("ok", OLD, [])


def test_a_start_that_takes_long_is_looked_at_again(deployed: ExporterNode) -> None:
    call(deployed, UNWANTED)
    deployed.silent = {"first"}
    assert call(deployed, WANTED)["state"] == "starting"
    deployed.silent = set()
    assert call(deployed, WANTED)["state"] == "ok"
    assert not Path(paths.STARTED_RECORD).exists()


def test_what_was_started_and_never_answers_is_taken_back(
    deployed: ExporterNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(deployed, UNWANTED)
    deployed.configure("second")
    deployed.silent = {"second"}
    assert call(deployed, WANTED)["state"] == "starting"
    clock = role_call.time.clock_gettime
    monkeypatch.setattr(role_call.time, "clock_gettime", lambda kind: clock(kind) + SECONDS + 1)
    said = call(deployed, WANTED)
    assert said["state"] == "failed" and "were put back and answer" in said["text"]
    assert deployed.loaded == (NEW, "first")
    assert call(deployed, WANTED)["state"] == "ok"


def test_what_was_started_and_answers_is_the_last_good_state(here: ExporterNode) -> None:
    """It was installed while no role wanted it: the apply that follows must not restart it."""
    here.install(NEW)
    here.link(NEW)
    role_call.remember(paths.UNIT, URL, SECONDS, (), RULES)
    assert call(here, WANTED)["state"] == "ok"
    assert last_good.read()["release"] == NEW
    assert service.plan(here.unit(), "running", last_good.fingerprint(NEW), False) == {}


def test_a_running_exporter_that_does_not_answer_is_told_and_left(deployed: ExporterNode) -> None:
    deployed.silent = {"first"}
    said = call(deployed, WANTED)
    assert (said["state"], deployed.up) == ("failed", True) and "no answer" in said["text"]


def test_systemd_that_refuses_is_told(deployed: ExporterNode) -> None:
    deployed.refused = "disable --now"
    said = call(deployed, UNWANTED)
    assert said["state"] == "failed" and "refused" in said["text"]


@pytest.mark.parametrize("record", ["", "[]", '{"roles": 5}', "{"])
def test_a_record_that_cannot_be_read_counts_as_none(here: ExporterNode, record: str) -> None:
    (here.root / "var" / paths.SERVICE_RECORD).write_text(record)
    assert call(here, WANTED)["state"] == "idle"


def test_a_boot_has_an_identity_that_stays() -> None:
    assert boot.identity() == boot.identity() != ""


DAMAGED = {
    "service": (paths.SERVICE_RECORD, ['{"roles": {}}', '{"roles": {"source": "bcm"}, "unit": 5}', "", "[1]"]),
    "applied": (paths.APPLIED_RECORD, ['{"places": [5, null, {}], "digest": "d"}', '{"places": "x"}', "{"]),
}


@pytest.mark.parametrize(("name", "texts"), DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_record_is_told_and_spoils_no_call(deployed: ExporterNode, name: str, texts: list[str]) -> None:
    (deployed.root / "var" / paths.APPLIED_RECORD).write_text('{"digest": "d"}')
    for text in texts:
        (deployed.root / "var" / name).write_text(text)
        found = call(deployed, WANTED)
        expected = "lacking" if name == paths.SERVICE_RECORD else "ok"
        assert (found["state"], found["changed"]) == (expected, text == texts[0]), text
        assert name != paths.SERVICE_RECORD or f"{name} is missing" in found["text"]


def start_long_ago(here: ExporterNode) -> None:
    here.since -= 500


def test_lost_profiling_rows_are_brought_back_once(deployed: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert call(deployed, WANTED)["state"] == "ok"
    assert last_good.read()["profiling"] == "shown"
    start_long_ago(deployed)
    deployed.reloaded = True
    said = page.oddities(unit=lambda *_: deployed.unit())
    assert said["profiling_lost"] and "has lost its DCGM_FI_PROF_ rows" in said["shortages"][0]
    mended = call(deployed, WANTED)
    assert mended["state"] == "starting" and mended["text"].endswith("restarted")
    assert (deployed.calls.count("restart"), deployed.reloaded) == (1, False)
    assert call(deployed, WANTED)["state"] == "ok"
    assert page.oddities(unit=lambda *_: deployed.unit()) == page.NONE


def test_a_start_does_not_wait_for_profiling_rows_nor_misses_them(deployed: ExporterNode) -> None:
    call(deployed, WANTED)
    call(deployed, UNWANTED)
    whole, deployed.page = deployed.page, rows.Shown(deployed.page.gpus)
    said = call(deployed, WANTED)
    assert (said["state"], said["shortages"], last_good.read()["profiling"]) == ("ok", [], "shown")
    deployed.page = whole
    assert (call(deployed, WANTED)["state"], last_good.read()["profiling"]) == ("ok", "shown")


def test_a_restart_that_brings_no_profiling_rows_back_is_not_repeated(
    deployed: ExporterNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(deployed, WANTED)
    start_long_ago(deployed)
    deployed.page = rows.Shown(deployed.page.gpus)
    assert call(deployed, WANTED)["state"] == "starting"
    assert call(deployed, WANTED)["text"].endswith("without its DCGM_FI_PROF_ rows so far")
    clock = role_call.time.clock_gettime
    monkeypatch.setattr(role_call.time, "clock_gettime", lambda kind: clock(kind) + SECONDS + 1)
    said = call(deployed, WANTED)
    assert said["state"] == "ok" and "no DCGM_FI_PROF_ row, and" in said["shortages"][0]
    start_long_ago(deployed)
    monkeypatch.setattr(rows, "counters_changed", lambda: 0.0)
    assert (call(deployed, WANTED)["state"], deployed.calls.count("restart")) == ("ok", 1)


def test_a_newer_configuration_is_not_rolled_out_for_profiling_rows(deployed: ExporterNode) -> None:
    call(deployed, WANTED)
    start_long_ago(deployed)
    deployed.reloaded = True
    deployed.environment.write_text("second")
    assert call(deployed, WANTED)["state"] == "ok"
    assert deployed.loaded == (NEW, "first")


def test_counters_that_a_hand_edited_are_lacking(deployed: ExporterNode) -> None:
    folder = deployed.root / "opt" / NEW
    digest = files.sha256(str(folder / "default-counters.csv"))
    (folder / "SHA256SUMS").write_text(f"{digest}  default-counters.csv\n")
    assert call(deployed, WANTED)["state"] == "ok"
    deployed.counters.write_text("# by hand\n")
    said = call(deployed, WANTED)
    assert (said["state"], said["lacking"]) == (
        "lacking",
        [f"the content that the states gave {paths.EXPORTER_COUNTERS}"],
    )


def test_a_slow_page_takes_nothing_back(deployed: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    call(deployed, UNWANTED)
    deployed.configure("second")
    deployed.silent = {"second"}
    monkeypatch.setattr(deployed, "look", lambda url, patience: rows.Shown(fault="slow"))
    assert call(deployed, WANTED)["state"] == "starting"
    clock = role_call.time.clock_gettime
    monkeypatch.setattr(role_call.time, "clock_gettime", lambda kind: clock(kind) + SECONDS + 1)
    said = call(deployed, WANTED)
    assert said["state"] == "failed" and "nothing is taken back" in said["text"]
    assert deployed.loaded == (NEW, "second")
    assert page.oddities(unit=lambda *_: deployed.unit())["shortages"] == ["/metrics does not answer within 20 s"]


def test_what_a_judge_of_the_page_says_is_told_by_calls_and_by_health(deployed: ExporterNode) -> None:
    deployed.page = replace(deployed.page, highest={"DCGM_FI_DEV_FB_USED": 9.0})
    unit = replace(deployed.unit(), judge=lambda highest: f"odd: {highest['DCGM_FI_DEV_FB_USED']:g}")
    said = role_call.answer({"roles": WANTED}, 7, "now", "", unit=lambda *_: unit)
    assert (said["state"], said["shortages"]) == ("ok", ["odd: 9"])
    assert page.oddities(unit=lambda *_: unit)["shortages"] == ["odd: 9"]


def test_a_node_to_which_nothing_was_deployed_shows_nothing(here: ExporterNode) -> None:
    assert page.oddities(unit=lambda *_: here.unit()) == page.NONE
