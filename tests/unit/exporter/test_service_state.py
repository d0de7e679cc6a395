"""The state that follows roles: with test=True and for real, what it says it did, and what it took back."""

from __future__ import annotations

import functools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths, systemd
from superpod_dcgm.exporter import last_good, role_call, service

from tests.exporter_node import NEW, OLD, SECONDS, URL, ExporterNode

ROLES = {"source": "bcm", "run_on": ["slurmclient"]}
NOT_KNOWN = "the roles of this node are not known yet"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    here = ExporterNode(tmp_path, monkeypatch)
    reached = here.reached()
    monkeypatch.setattr(service, "Unit", functools.partial(service.Unit, **reached))
    for name in ("systemctl", "show"):
        monkeypatch.setattr(systemd, name, reached[name])
    return here


FIXED = {"name": "dcgm-exporter.service", "release": NEW, "roles": ROLES, "url": URL, "timeout": SECONDS}


@pytest.fixture
def follow(call: Any) -> Any:
    def run(here: ExporterNode, roles: list[str] | None, **arguments: Any) -> Any:
        """Run with test=True, then for real: the first changes nothing and foretells the second."""
        if roles is not None:
            Path(paths.ROLES_FILE).write_text(json.dumps({"roles": roles}))
        before = here.picture()
        foretold = call("dcgm_service.follows_roles", **FIXED, **arguments, test=True)
        assert here.picture() == before
        done = call("dcgm_service.follows_roles", **FIXED, **arguments)
        assert foretold.result is not True or done.changes == {}
        if done.result:
            assert foretold.changes == done.changes
            assert foretold.result is (None if done.changes else True)
            again = call("dcgm_service.follows_roles", **FIXED, **arguments)
            assert (again.result, again.changes) == (True, {})
        return done

    return run


STARTED = {"old": "stopped", "new": "running"}
STOPPED = {"old": "running", "new": "stopped"}
STARTS = {"old": "does not start", "new": "starts"}
STARTS_NOT = {"old": "starts", "new": "does not start"}
UPGRADED = {"old": OLD, "new": NEW}
RESTARTED = {"old": "running", "new": "restarted"}
# what is there, what roles are delivered, whether this run deploys: changes, and what the comment says
CASES = {
    "a first deployment": (
        None,
        ["slurmclient"],
        True,
        {"service": STARTED, "boot": STARTS},
        "runs (roles: slurmclient)",
    ),
    "an upgrade": (OLD, ["slurmclient", "x"], True, {"release": UPGRADED, "service": RESTARTED}, "slurmclient, x"),
    "an upgrade without roles": (OLD, None, True, {"release": UPGRADED, "service": RESTARTED}, NOT_KNOWN),
    "a role that came back": (OLD, ["slurmclient"], False, {}, "runs (roles: slurmclient)"),
    "a role that went": (OLD, ["x"], False, {"service": STOPPED, "boot": STARTS_NOT}, "is stopped and disabled"),
    "no role at all": (NEW, [], True, {"service": STOPPED, "boot": STARTS_NOT}, "(roles: none)"),
    "unknown roles": (NEW, None, False, {}, NOT_KNOWN),
    "a second apply": (NEW, ["slurmclient"], True, {}, "runs"),
}


@pytest.mark.parametrize(("release", "roles", "deploying", "changes", "words"), CASES.values(), ids=CASES.keys())
def test_the_exporter_follows_the_roles(
    here: ExporterNode,
    follow: Any,
    release: str | None,
    roles: list[str] | None,
    deploying: bool,
    changes: dict[str, Any],
    words: str,
) -> None:
    if release:
        here.runs(release)
    here.install(NEW)
    if release is None:
        changes = {"release": {"old": None, "new": NEW}, **changes}
    done = follow(here, roles, deploying=deploying)
    assert (done.result, done.changes) == (True, changes)
    assert words in done.comment
    assert Path(paths.MAY_START).exists() is (roles is None or "slurmclient" in roles)
    warned = "look at `salt-run bcm.status`" in str(done.warnings)
    assert warned is (deploying and roles is None and not changes)


def test_missing_roles_are_a_warning_when_there_is_nothing_else_to_say(here: ExporterNode, follow: Any) -> None:
    here.runs(NEW)
    assert "No roles were delivered" in str(follow(here, None, deploying=True).warnings)


@pytest.mark.parametrize(("deploying", "result"), [(False, True), (True, False)])
def test_a_node_without_the_unit_is_left_alone_unless_it_is_deployed(
    here: ExporterNode, call: Any, deploying: bool, result: bool
) -> None:
    here.unit_file.unlink()
    arguments = {"name": "x.service", "release": NEW, "roles": ROLES, "url": URL, "deploying": deploying}
    done = call("dcgm_service.follows_roles", **arguments)
    assert (done.result, done.changes, here.calls) == (result, {}, [])
    assert "is not deployed on this node yet" in done.comment
    foretold = call("dcgm_service.follows_roles", **{**arguments, "name": "dcgm-exporter.service"}, test=True)
    assert foretold.result is (None if deploying else True)


def test_a_page_of_another_metric_schema_is_told_and_nothing_is_taken_back(
    here: ExporterNode, call: Any, follow: Any
) -> None:
    here.runs(OLD)
    here.install(NEW)
    old_names = {"DCGM_FI_DEV_FB_USED": 9.0, "DCGM_FI_DEV_POWER_USAGE": 90.5}
    here.page = replace(here.page, highest=old_names)
    wrong = f"/metrics is not as dcgm-exporter {NEW} should have it: it shows metric schema 1, and the release has 2"
    done = follow(here, ["slurmclient"], deploying=True, schema=2)
    assert (done.result, done.changes["release"]) == (True, UPGRADED)
    # Of the change, and each time that it is looked at.
    again = call("dcgm_service.follows_roles", **FIXED, deploying=True, schema=2)
    for told in (done, again):
        assert [text for text in told.warnings if text.startswith(wrong)] == told.warnings != []
    assert role_call.recall()["pinned"] == [NEW, 2]
    assert not call("dcgm_service.follows_roles", **FIXED, deploying=True, schema=1).warnings


def test_what_was_taken_back_is_a_failure_without_that_change(here: ExporterNode, follow: Any) -> None:
    here.runs(OLD)
    here.install(NEW)
    here.silent = {NEW}
    done = follow(here, ["slurmclient"], deploying=True)
    assert (done.result, done.changes) == (False, {"service": RESTARTED})
    assert f"Release {OLD} and its configuration were put back and answer." in done.comment
    assert here.loaded[0] == last_good.read()["release"] == OLD


def test_what_could_not_be_taken_back_is_a_failure_with_its_change(here: ExporterNode, follow: Any) -> None:
    here.runs(OLD)
    here.install(OLD, "built again")
    here.install(NEW)
    here.silent = {NEW}
    done = follow(here, ["slurmclient"], deploying=True)
    assert (done.result, done.changes) == (False, {"release": UPGRADED, "service": RESTARTED})
    assert "There is no earlier good state to go back to." in done.comment


def test_a_way_back_that_fails_is_told(here: ExporterNode, follow: Any) -> None:
    here.runs(OLD)
    here.install(NEW)
    here.silent = {NEW}
    for copy in (here.root / "var/good").iterdir():
        copy.unlink()
    done = follow(here, ["slurmclient"], deploying=True)
    assert done.result is False
    assert "the copy of the last good" in done.comment


def test_an_exporter_that_stopped_answering_is_a_failure_without_changes(here: ExporterNode, follow: Any) -> None:
    here.runs(NEW)
    here.silent = {NEW}
    Path(paths.ROLES_FILE).write_text('{"roles": ["slurmclient"]}')
    # A dry run asks nothing of the exporter.
    done = follow(here, ["slurmclient"])
    assert (done.result, done.changes, done.comment) == (False, {}, f"{NEW}: no answer after {SECONDS} s")


@pytest.mark.parametrize("refused", ["show", "restart", "enable"])
def test_what_systemd_refuses_is_told(here: ExporterNode, call: Any, refused: str) -> None:
    here.runs(OLD)
    here.install(NEW)
    here.refused = refused
    Path(paths.ROLES_FILE).write_text('{"roles": ["slurmclient"]}')
    done = call(
        "dcgm_service.follows_roles",
        name="dcgm-exporter.service",
        release=NEW,
        roles=ROLES,
        url=URL,
        timeout=SECONDS,
        deploying=True,
    )
    assert (done.result, done.comment) == (False, f"systemctl {refused}: refused")


@pytest.mark.parametrize("test", [True, False])
def test_a_watched_change_restarts_what_runs(here: ExporterNode, call: Any, test: bool) -> None:
    here.runs(NEW)
    more = here.root / "etc/more"
    arguments = {"name": "dcgm-exporter.service", "release": NEW, "url": URL, "timeout": SECONDS, "test": test}
    done = call("dcgm_service.mod_watch", roles={**ROLES, "source": "none"}, files=[str(more)], **arguments)
    assert (done.result, done.changes) == (None if test else True, {"service": RESTARTED})
    assert here.calls.count("restart") == (0 if test else 1)
    assert (str(more) in last_good.read()["files"]) is not test


@pytest.mark.parametrize(
    ("up", "enabled", "changes"),
    [
        (False, False, {}),
        (True, False, {"service": {"old": "running", "new": "stopped"}}),
        (True, True, {"service": {"old": "running", "new": "stopped"}}),
        (False, True, {"service": {"old": "enabled", "new": "stopped"}}),
    ],
)
def test_a_unit_is_stopped_and_disabled(
    here: ExporterNode, call: Any, up: bool, enabled: bool, changes: dict[str, Any]
) -> None:
    here.up, here.enabled = up, enabled
    foretold = call("dcgm_service.stopped", name="dcgm-exporter.service", test=True)
    assert (foretold.result, foretold.changes, here.calls) == (None if changes else True, changes, [])
    for expected in (changes, {}):
        done = call("dcgm_service.stopped", name="dcgm-exporter.service")
        assert (done.result, done.changes) == (True, expected)
    assert (here.up, here.enabled) == (False, False)


def test_a_unit_that_cannot_be_stopped_is_a_failure(here: ExporterNode, call: Any) -> None:
    here.up, here.refused = True, "disable --now"
    done = call("dcgm_service.stopped", name="dcgm-exporter.service")
    assert (done.result, done.changes, done.comment) == (False, {}, "systemctl disable --now: refused")


def test_a_unit_that_is_not_ours_is_left_as_it_is(here: ExporterNode, call: Any, monkeypatch: Any) -> None:
    here.up = True
    foreign = here.root / "etc/foreign.service"
    foreign.write_text("[Service]\n")
    monkeypatch.setattr(systemd, "show", lambda unit: {"ActiveState": "active", "FragmentPath": str(foreign)})
    done = call("dcgm_service.stopped", name="dcgm-exporter.service")
    assert (done.result, done.changes, here.calls) == (True, {}, [])
    assert f"{foreign} is not ours" in done.comment


def test_a_start_that_cannot_listen_is_a_failure_without_changes(here: ExporterNode, call: Any) -> None:
    here.install(NEW)
    here.in_the_way = "port 9400 is held by x"
    for test in (True, False):
        arguments = {"name": paths.UNIT, "release": NEW, "url": URL, "timeout": SECONDS, "test": test}
        done = call("dcgm_service.follows_roles", roles={**ROLES, "source": "none"}, deploying=True, **arguments)
        assert (done.result, done.changes, done.comment) == (False, {}, "port 9400 is held by x")
    assert (here.calls, here.flag.exists(), here.current.is_symlink()) == ([], False, False)
