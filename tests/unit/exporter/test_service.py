"""Follow roles: what is changed in every state of a node, and the way back from a release that does not answer."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import systemd
from superpod_dcgm.base.roles import Decision
from superpod_dcgm.exporter import installed, last_good, service

from tests.exporter_node import NEW, OLD, SECONDS, URL, ExporterNode

DECISIONS: tuple[Decision, ...] = ("running", "stopped", "unknown")
BOTH = (False, True)
STARTED, STOPPED, RESTARTED = ("stopped", "running"), ("running", "stopped"), ("running", "restarted")
# (decision, runs now, differs from what it was started with): what happens to the service
SERVICE = {
    ("running", False, False): STARTED,
    ("running", False, True): STARTED,
    ("running", True, False): None,
    ("running", True, True): RESTARTED,
    ("stopped", False, False): None,
    ("stopped", False, True): None,
    ("stopped", True, False): STOPPED,
    ("stopped", True, True): STOPPED,
    ("unknown", False, False): None,
    ("unknown", False, True): None,
    ("unknown", True, False): None,
    ("unknown", True, True): RESTARTED,
}
STARTS, STARTS_NOT = "starts", "does not start"
# (decision, unit is enabled, flag is there): what happens at boot
BOOT = {
    ("running", True, True): None,
    ("running", True, False): (STARTS_NOT, STARTS),
    ("running", False, True): (STARTS_NOT, STARTS),
    ("running", False, False): (STARTS_NOT, STARTS),
    ("stopped", True, True): (STARTS, STARTS_NOT),
    ("stopped", True, False): (STARTS_NOT, STARTS_NOT),
    ("stopped", False, True): (STARTS_NOT, STARTS_NOT),
    ("stopped", False, False): None,
    **{("unknown", enabled, flag): None for enabled in BOTH for flag in BOTH},
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    return ExporterNode(tmp_path, monkeypatch)


def put(here: ExporterNode, up: bool, enabled: bool, flag: bool, linked: str | None, stale: bool) -> dict[str, Any]:
    """Make a node, on which NEW ran, so; return the fingerprint that it shall run with."""
    here.up, here.enabled = up, enabled
    here.flag.write_text("")
    if not flag:
        here.flag.unlink()
    here.link(linked)
    here.environment.write_text("second" if stale else "first")
    return last_good.fingerprint(NEW)


def words(change: dict[str, Any] | None) -> tuple[str, str] | None:
    return (change["old"], change["new"]) if change else None


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("linked", [NEW, OLD, None])
def test_the_plan_in_every_state_of_a_node(here: ExporterNode, decision: Decision, linked: str | None) -> None:
    here.runs(NEW, enabled=False)
    for up, enabled, flag, stale, changed in itertools.product(BOTH, repeat=5):
        desired = put(here, up, enabled, flag, linked, stale)
        plan = service.plan(here.unit(), decision, desired, changed)
        case = f"{up=} {enabled=} {flag=} {stale=} {changed=}"
        assert words(plan.get("release")) == (None if linked == NEW else (linked, NEW)), case
        assert words(plan.get("service")) == SERVICE[decision, up, linked != NEW or stale or changed], case
        assert words(plan.get("boot")) == BOOT[decision, enabled, flag], case
        assert plan.keys() <= {"release", "service", "boot"}
    assert here.calls == []


def test_a_node_that_never_answered_is_started_and_remembered(here: ExporterNode) -> None:
    here.install(NEW)
    desired = last_good.fingerprint(NEW)
    assert (
        service.act(here.unit(), "running", desired, service.plan(here.unit(), "running", desired, False))
        == service.Done()
    )
    assert last_good.read().items() >= desired.items()


def test_the_unit_may_start_in_this_boot(here: ExporterNode) -> None:
    (here.root / "run").rmdir()
    service.let_start()
    assert (here.root / "run/may-start").read_text() == ""


@pytest.mark.parametrize("state", ["failed", "inactive", "deactivating"])
def test_a_unit_that_failed_is_started_again(here: ExporterNode, state: str) -> None:
    desired = here.runs(NEW)
    unit = service.Unit("x", "", 1, here.systemctl, lambda name: {"ActiveState": state, "UnitFileState": "enabled"})
    assert service.plan(unit, "running", desired, False) == {"service": {"old": "stopped", "new": "running"}}


@pytest.mark.parametrize("state", ["active", "activating", "reloading"])
def test_a_unit_between_two_restarts_counts_as_running(here: ExporterNode, state: str) -> None:
    desired = here.runs(NEW)
    unit = service.Unit("x", "", 1, here.systemctl, lambda name: {"ActiveState": state, "UnitFileState": "enabled"})
    assert service.plan(unit, "running", desired, False) == {}


def upgrade(here: ExporterNode, silent: str, decision: Decision = "running") -> str:
    """Upgrade a node that runs OLD to NEW with another environment, of which something never answers."""
    here.install(NEW)
    here.environment.write_text("second")
    here.environment.chmod(0o640)
    here.unit_file.write_text("[Service]\nNew=1\n")
    here.counters.unlink()
    here.counters.write_text("own\n")
    here.silent = {silent}
    desired = last_good.fingerprint(NEW)
    return service.act(here.unit(), decision, desired, service.plan(here.unit(), decision, desired, False)).problem


@pytest.mark.parametrize("decision", ["running", "unknown"])
@pytest.mark.parametrize("silent", [NEW, "second"], ids=["the release", "its configuration"])
def test_what_does_not_answer_is_taken_back_as_a_whole(here: ExporterNode, silent: str, decision: Decision) -> None:
    here.environment.chmod(0o600)
    good = here.runs(OLD)
    problem = upgrade(here, silent, decision)
    assert problem.startswith(f"dcgm-exporter {NEW}: {silent}: no answer after {SECONDS} s. ")
    assert problem.endswith(
        f"Release {OLD} and its configuration were put back and answer. See `journalctl -u dcgm-exporter.service`."
    )
    assert here.loaded == (OLD, "first")
    assert last_good.fingerprint(OLD) == good
    assert here.environment.stat().st_mode & 0o7777 == 0o600
    assert here.unit_file.read_text() == "[Service]\n"
    assert here.counters.is_symlink()
    assert here.calls[-3:] == ["restart", "daemon-reload", "restart"]


def test_what_was_good_stays_so_after_the_way_back(here: ExporterNode) -> None:
    here.runs(OLD)
    before = (here.root / "var/running.json").read_text()
    upgrade(here, NEW)
    assert (here.root / "var/running.json").read_text() == before
    # The next deployment tries again, and needs no other reason than the release.
    assert "release" in service.plan(here.unit(), "running", last_good.fingerprint(NEW), False)
    here.silent.clear()
    assert upgrade(here, "nothing") == ""
    assert last_good.read()["release"] == NEW


def test_what_does_not_answer_either_is_said(here: ExporterNode) -> None:
    here.runs(OLD)
    here.silent = {OLD, NEW}
    desired = (here.install(NEW), last_good.fingerprint(NEW))[1]
    problem = service.act(here.unit(), "running", desired, service.plan(here.unit(), "running", desired, False)).problem
    assert f"Release {OLD} and its configuration were put back and do not answer either: {OLD}: no" in problem
    assert last_good.read()["release"] == OLD


def never_answered(here: ExporterNode) -> None:
    (here.root / "var/running.json").unlink()


def removed(here: ExporterNode) -> None:
    for path in (here.root / "opt" / OLD).iterdir():
        path.unlink()


def built_again(here: ExporterNode) -> None:
    here.install(OLD, "another binary")


@pytest.mark.parametrize("lost", [never_answered, removed, built_again])
def test_without_an_earlier_good_state_the_release_stays_and_that_is_said(here: ExporterNode, lost: Any) -> None:
    here.runs(OLD)
    lost(here)
    problem = upgrade(here, NEW)
    assert f"{NEW}: no answer after {SECONDS} s. There is no earlier good state to go back to." in problem
    assert installed.linked_release() == NEW
    assert here.calls.count("restart") == 1


def test_what_was_good_until_now_is_not_gone_back_to(here: ExporterNode) -> None:
    desired = here.runs(NEW)
    here.up, here.silent = False, {NEW}
    problem = service.act(here.unit(), "running", desired, service.plan(here.unit(), "running", desired, False)).problem
    assert "There is no earlier good state" in problem
    assert here.calls.count("restart") == 1


@pytest.mark.parametrize("refused", ["enable", "restart"])
def test_what_systemd_refuses_is_raised(here: ExporterNode, refused: str) -> None:
    here.runs(OLD)
    here.refused = refused
    with pytest.raises(systemd.UnitError, match=refused):
        upgrade(here, "nothing")
    assert last_good.read()["release"] == OLD


@pytest.mark.parametrize("decision", DECISIONS)
def test_only_a_unit_that_is_to_be_stopped_forgets_that_it_failed(here: ExporterNode, decision: Decision) -> None:
    desired = here.runs(NEW, enabled=False)
    here.up, here.failed = False, True
    plan = service.plan(here.unit(), decision, desired, False)
    expected = {"stopped": {"old": "failed", "new": "stopped"}, "running": {"old": "stopped", "new": "running"}}
    assert plan.get("service") == expected.get(decision)
    service.act(here.unit(), decision, desired, plan)
    assert here.failed is (decision != "stopped")
    assert decision == "running" or service.plan(here.unit(), decision, desired, False) == {}


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize(
    ("linked", "stale"), [(NEW, False), (NEW, True), (OLD, False)], ids=["same", "stale", "another release"]
)
def test_what_is_planned_is_done_and_then_nothing_is_left_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, decision: Decision, linked: str, stale: bool
) -> None:
    for number, was in enumerate(itertools.product(BOTH, repeat=3)):
        (tmp_path / str(number)).mkdir()
        here = ExporterNode(tmp_path / str(number), monkeypatch)
        here.runs(NEW, enabled=False)
        desired = put(here, *was, linked, stale)
        before = here.picture()
        plan = service.plan(here.unit(), decision, desired, False)
        assert here.picture() == before, "a plan changes nothing"
        if plan:
            assert service.act(here.unit(), decision, desired, plan) == service.Done()
        check(here, decision, plan, was)
        assert service.plan(here.unit(), decision, desired, False) == {}


def check(here: ExporterNode, decision: Decision, plan: dict[str, Any], was: tuple[bool, ...]) -> None:
    target = {"running": (True, True, True), "stopped": (False, False, False), "unknown": was}[decision]
    assert (here.up, here.enabled, here.flag.exists()) == target, was
    assert installed.linked_release() == NEW, was
    restarts = ["restart"] if "service" in plan and decision != "stopped" else []
    own = {"running": ["enable"], "stopped": ["disable --now", "reset-failed"], "unknown": ["daemon-reload"]}[decision]
    assert here.calls == ([*own, *restarts] if plan else []), was
    if restarts:
        assert here.loaded == (NEW, here.environment.read_text()), was
        assert last_good.read().items() >= last_good.fingerprint(NEW).items(), was


OTHER_URL, OTHER_SECONDS = "http://127.0.0.1:9500/metrics", 3


def changed_address(here: ExporterNode) -> str:
    """Change what the exporter answers at, so that it never does; return what is said."""
    here.environment.write_text("second")
    here.silent = {"second"}
    unit = dataclasses.replace(here.unit(), url=OTHER_URL, timeout=OTHER_SECONDS)
    desired = last_good.fingerprint(NEW)
    return service.act(unit, "running", desired, service.plan(unit, "running", desired, False)).problem


def test_going_back_asks_as_was_asked_when_it_answered(here: ExporterNode) -> None:
    here.runs(NEW)
    assert service.act(here.unit(), "running", last_good.fingerprint(NEW), {"service": RESTARTED}) == service.Done()
    here.asked.clear()
    problem = changed_address(here)
    assert problem.startswith(f"dcgm-exporter {NEW}: second: no answer after {OTHER_SECONDS} s. Release {NEW} and")
    assert "were put back and answer." in problem
    assert here.asked == [(OTHER_URL, OTHER_SECONDS), (URL, SECONDS)]


def test_a_record_without_an_address_goes_by_the_file_that_is_put_back(here: ExporterNode) -> None:
    here.environment.write_text('DCGM_EXPORTER_LISTEN=":9401"\n')
    here.runs(NEW)
    changed_address(here)
    assert here.asked == [(OTHER_URL, OTHER_SECONDS), ("http://127.0.0.1:9401/metrics", OTHER_SECONDS)]


def test_what_the_exporter_itself_says_is_told(here: ExporterNode) -> None:
    here.runs(OLD)
    here.words = "It says: no libdcgm"
    problem = upgrade(here, NEW)
    assert f"dcgm-exporter {NEW}: It says: no libdcgm. {NEW}: no answer after {SECONDS} s. Release {OLD} and" in problem


def test_a_port_that_is_held_stops_a_start_before_anything_is_changed(here: ExporterNode) -> None:
    here.install(NEW)
    here.environment.write_text('DCGM_EXPORTER_LISTEN=":9400"\n')
    here.in_the_way = "the port is held by x"
    before, desired = here.picture(), last_good.fingerprint(NEW)
    with pytest.raises(service.InTheWay, match="held by x"):
        service.plan(here.unit(), "running", desired, False)
    assert here.listens == [":9400"]
    for decision in ("stopped", "unknown"):
        service.plan(here.unit(), decision, desired, False)
    here.runs(NEW)
    service.plan(here.unit(), "stopped", last_good.fingerprint(NEW), True)
    service.plan(here.unit(), "running", last_good.fingerprint(NEW), False)
    assert (here.listens, before["unit"]) == ([":9400"], (False, False, 0, ""))


def test_another_program_in_the_place_of_ours_is_not_started(here: ExporterNode) -> None:
    here.install(NEW)
    link = here.root / "usr/dcgm-exporter"
    link.symlink_to(here.current / "dcgm-exporter")
    desired = last_good.fingerprint(NEW)
    assert "service" in service.plan(here.unit(), "running", desired, False)
    link.unlink()
    link.write_text("a vendor's")
    with pytest.raises(service.InTheWay, match=f"{link} belongs to somebody else"):
        service.plan(here.unit(), "running", desired, False)
