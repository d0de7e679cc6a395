"""Another exporter on a node: its files, unit, directory, service or port stop ours before anything is changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import ownership, paths, process, systemd
from superpod_dcgm.exporter import claims, listener

from tests.exporter_node import NEW, ExporterNode

DOWN = {"ActiveState": "inactive", "UnitFileState": "disabled", "LoadState": "not-found"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    """A node with our exporter; no package manager knows anything."""
    here = ExporterNode(tmp_path, monkeypatch)
    here.environment.write_text('# Written by the Salt state dcgm.exporter.config.\nDCGM_EXPORTER_LISTEN=":9400"\n')
    here.unit_file.write_text("# Written by the Salt state dcgm.exporter.config.\n[Service]\n")
    here.install(NEW)
    here.link(NEW)
    Path(paths.EXPORTER_LINK).symlink_to(here.current / "dcgm-exporter")
    monkeypatch.setattr(process, "PATH", str(tmp_path))
    monkeypatch.setattr(systemd, "DIRECTORIES", (str(here.root / "etc"), str(here.root / "lib")))
    (here.root / "lib").mkdir()
    monkeypatch.setattr(systemd, "show", lambda unit: here.units.get(unit, DOWN))
    monkeypatch.setattr(listener, "obstacle", lambda listen, unit: here.in_the_way)
    here.units: dict[str, dict[str, str]] = {}
    return here


def test_what_is_ours_is_in_nobodys_way(here: ExporterNode) -> None:
    assert claims.refusals(":9400", True) == []


def test_a_node_that_never_had_an_exporter_is_free(here: ExporterNode) -> None:
    for path in (*claims.places(), paths.EXPORTER_CURRENT):
        Path(path).unlink()
    for path in (here.root / "opt" / NEW).iterdir():
        path.unlink()
    (here.root / "opt" / NEW).rmdir()
    assert claims.refusals(":9400", True) == []
    (here.root / "opt").rmdir()
    assert claims.refusals(":9400", True) == []


def replaced(path: Path, text: str = "somebody's") -> None:
    path.unlink(missing_ok=True)
    path.write_text(text)


def binary(here: ExporterNode) -> None:
    replaced(Path(paths.EXPORTER_LINK))


def counters(here: ExporterNode) -> None:
    replaced(here.counters)


def linked_counters(here: ExporterNode) -> None:
    here.counters.unlink()
    here.counters.symlink_to("/cm/shared/counters.csv")


def environment(here: ExporterNode) -> None:
    replaced(here.environment)


def unit_file(here: ExporterNode) -> None:
    replaced(here.unit_file)


def masked(here: ExporterNode) -> None:
    here.unit_file.unlink()
    here.unit_file.symlink_to("/dev/null")


def unit_of_a_package(here: ExporterNode) -> None:
    (here.root / "lib" / paths.UNIT).write_text("[Service]\n")


def root(here: ExporterNode) -> None:
    here.current.unlink()
    (here.root / "opt" / NEW).rename(here.root / "opt/bin")


def current(here: ExporterNode) -> None:
    here.current.unlink()
    here.current.mkdir()


def current_link(here: ExporterNode) -> None:
    here.current.unlink()
    here.current.symlink_to("/opt/site")


FOREIGN = {
    binary: ("usr/dcgm-exporter belongs to somebody else (a file", "move it away"),
    counters: ("default-counters.csv belongs to somebody else (a file", "exporter:enabled: false"),
    linked_counters: ("default-counters.csv belongs to somebody else (a link to /cm/shared/counters.csv", "move it"),
    environment: ("exporter.env belongs to somebody else", "move it away"),
    unit_file: ("dcgm-exporter.service belongs to somebody else", "move it away"),
    masked: ("dcgm-exporter.service is masked on this node", "systemctl unmask"),
    unit_of_a_package: ("lib/dcgm-exporter.service belongs to somebody else", "move it away"),
    root: ("opt holds what is no release of ours: bin", "Move it away"),
    current: ("opt holds what is no release of ours", "Move it away"),
    current_link: ("opt holds what is no release of ours", "Move it away"),
}


@pytest.mark.parametrize("starts", [True, False])
@pytest.mark.parametrize(("change", "words"), FOREIGN.items(), ids=[change.__name__ for change in FOREIGN])
def test_what_is_not_ours_is_refused_in_one_sentence(
    here: ExporterNode, change: Any, words: tuple[str, str], starts: bool
) -> None:
    change(here)
    (sentence,) = claims.refusals(":9400", starts)
    assert [word for word in words if word not in sentence] == []


def test_all_that_a_package_has_is_one_sentence(here: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    binary(here)
    counters(here)
    package = ownership.Owner("package", "the package vendor", "remove the package vendor")
    monkeypatch.setattr(ownership, "package_owners", lambda wanted: dict.fromkeys(wanted, package))
    (sentence,) = claims.refusals(":9400", True)
    assert sentence == (
        f"{paths.EXPORTER_LINK} and {paths.EXPORTER_COUNTERS} belong to the package vendor: remove the package vendor, "
        "or keep that exporter and set dcgm:exporter:enabled: false. "
        "To use these counters, copy them elsewhere and name the copy in dcgm:exporter:counters"
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ({"ActiveState": "active"}, "runs on this node"),
        ({"ActiveState": "inactive", "UnitFileState": "enabled"}, "starts at boot on this node"),
    ],
)
def test_a_foreign_service_is_refused_where_ours_would_run(
    here: ExporterNode, state: dict[str, str], word: str
) -> None:
    here.units["nvidia-dcgm-exporter.service"] = state
    (sentence,) = claims.refusals(":9400", True)
    assert f"nvidia-dcgm-exporter.service {word}: `systemctl disable --now nvidia-dcgm-exporter`" in sentence
    assert claims.refusals(":9400", False) == []


def test_a_held_port_is_refused_where_ours_would_run(here: ExporterNode) -> None:
    here.in_the_way = "the port is held"
    assert claims.refusals(":9400", True) == ["the port is held"]
    assert claims.refusals(":9400", False) == []


def test_a_release_is_known_by_more_than_its_name(here: ExporterNode) -> None:
    for name in (f"{NEW}.bak", "4.5.3-src", "4.5.3"):
        (here.root / "opt" / name).mkdir()
    (here.root / "opt/.install-x1").mkdir()
    assert [Path(path).name for path in claims.ours_in_root()] == [".install-x1", NEW, "current"]


ROLES = {"source": "bcm", "run_on": ["slurmclient"]}


@pytest.mark.parametrize(
    ("roles", "up", "result"),
    [(["slurmclient"], False, False), ([], True, True), (None, False, True), (None, True, False)],
)
def test_the_state_looks_at_the_port_only_where_ours_would_run(
    here: ExporterNode, call: Any, roles: list[str] | None, up: bool, result: bool
) -> None:
    if roles is not None:
        Path(paths.ROLES_FILE).write_text(json.dumps({"roles": roles}))
    here.units[paths.UNIT] = {"ActiveState": "active" if up else "inactive"}
    here.in_the_way = "The port is held"
    for test in (True, False):
        done = call("dcgm_ownership.granted", name=paths.UNIT, endpoint=":9400", roles=ROLES, test=test)
        assert (done.result, done.changes) == (result, {})
        assert done.comment.startswith("No other" if result else "Nothing of the exporter is changed on this node. The")


def test_a_state_that_cannot_ask_systemd_says_so(here: ExporterNode, call: Any, monkeypatch: Any) -> None:
    def refuse(unit: str) -> None:
        raise systemd.UnitError("systemctl: no bus")

    monkeypatch.setattr(systemd, "show", refuse)
    done = call("dcgm_ownership.granted", name=paths.UNIT, endpoint=":9400", roles=ROLES)
    assert (done.result, "no bus" in done.comment) == (False, True)


def test_only_what_is_ours_is_removed_and_the_rest_is_named(here: ExporterNode, call: Any) -> None:
    counters(here)
    kept = here.root / "run"
    arguments = {"name": "files", "files": [*claims.places(), str(here.root / "none")], "kept": [str(kept)]}
    foretold = call("dcgm_ownership.removed", **arguments, test=True)
    assert foretold.result is None
    done = call("dcgm_ownership.removed", **arguments)
    assert (done.result, done.changes) == (True, foretold.changes)
    assert f"{paths.EXPORTER_COUNTERS} stays: it belongs to somebody else" in done.comment
    assert [Path(path).exists() for path in (*claims.places(), str(kept))] == [False, True, False, False, False]
    again = call("dcgm_ownership.removed", **arguments)
    assert (again.result, again.changes) == (True, {})


def test_counters_that_were_edited_stay_and_are_then_the_sites(here: ExporterNode, call: Any) -> None:
    counters(here)
    assert call("dcgm_ownership.noted", name=paths.EXPORTER_COUNTERS).result
    here.counters.write_text("edited")
    done = call("dcgm_ownership.removed", name="files", files=[paths.EXPORTER_COUNTERS])
    assert (done.changes, "somebody changed it since we wrote it" in done.comment) == ({}, True)
    call("dcgm_ownership.noted", name=paths.EXPORTER_COUNTERS)
    assert call("dcgm_ownership.removed", name="files", files=[paths.EXPORTER_COUNTERS]).changes
    # What somebody puts there later is his, even with the same content.
    here.counters.write_text("edited")
    assert len(claims.refusals(":9400", False)) == 1


def test_releases_go_and_what_is_not_ours_keeps_the_directory(here: ExporterNode, call: Any) -> None:
    (here.root / "opt/site").mkdir()
    done = call("dcgm_ownership.releases_removed", name=paths.EXPORTER_ROOT)
    assert (done.result, f"{paths.EXPORTER_ROOT} stays, because of what others put there: site" in done.comment) == (
        True,
        True,
    )
    (here.root / "opt/site").rmdir()
    assert call("dcgm_ownership.releases_removed", name=paths.EXPORTER_ROOT).changes == {
        "removed": [paths.EXPORTER_ROOT]
    }
    assert call("dcgm_ownership.releases_removed", name=paths.EXPORTER_ROOT).changes == {}


def test_what_the_head_keeps_in_the_same_directory_stays(here: ExporterNode, call: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(paths, "NODE_FILES", (paths.ROLES_FILE, paths.ENABLED_FLAG, str(here.root / "var/good")))
    snapshot = here.root / "var/snapshot.json"
    snapshot.write_text("{}")
    (here.root / "var/good").mkdir()
    here.flag.write_text("")
    for changed in (True, False):
        done = call("dcgm_ownership.node_state_removed", name=str(here.root / "var"))
        assert (done.result, bool(done.changes), "snapshot.json" in done.comment) == (True, changed, True)
    assert [path.name for path in (here.root / "var").iterdir()] == ["snapshot.json"]
    snapshot.unlink()
    assert call("dcgm_ownership.node_state_removed", name=str(here.root / "var")).changes


def test_what_cannot_be_removed_is_a_failure(here: ExporterNode, call: Any, monkeypatch: Any) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(ownership.os, "unlink", refuse)
    done = call("dcgm_ownership.removed", name="files", files=[str(here.unit_file)])
    assert (done.result, done.comment) == (False, f"{here.unit_file} cannot be removed: Operation not permitted")
