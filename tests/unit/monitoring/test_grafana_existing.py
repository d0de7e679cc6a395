"""States and module for a Grafana of others, asked of a fake of its API: what is not ours stays, and twice is once."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.monitoring.grafana_boards import SOURCES

from tests.fake_grafana import TOKENS, FakeGrafana, Server

FOLDER, SOURCE = "superpod-dcgm", "superpod-prometheus"
SETTINGS = {
    **{"name": "SuperPOD Prometheus", "type": "prometheus", "access": "proxy", "url": "http://mon-01:9090"},
    **{"basicAuth": True, "basicAuthUser": "grafana", "isDefault": False},
    "jsonData": {"httpMethod": "POST", "timeInterval": "30s", "managedBy": "superpod-dcgm"},
}
FOREIGN = {"title": "Theirs", "tags": [], "panels": []}


class States:
    """The states, called as Salt would, with or without ``test=True``."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any, test: bool = False, **options: Any) -> Any:
            self._module.__opts__["test"] = test
            return SimpleNamespace(**{"warnings": [], **getattr(self._module, name)(*arguments, **options)})

        return call


class Site:
    """A fake Grafana, and the states that are asked about it with the token of a persona."""

    def __init__(self, states: Any, server: Server, grafana: FakeGrafana, folder: Path) -> None:
        self.states, self.server, self.grafana, self.folder = states, server, grafana, folder
        self.persona = "Admin"
        self.path = ""

    @property
    def access(self) -> dict[str, Any]:
        (word,) = [token for token, persona in TOKENS.items() if persona == self.persona]
        file = self.folder / f"token-{self.persona}"
        file.write_text(f"{word}\n")
        file.chmod(0o600)
        return {"url": f"{self.server.url}{self.path}", "token_file": str(file), "timeout": 5}

    def make_folder(self, **options: Any) -> Any:
        return self.states.folder(FOLDER, access=self.access, title="SuperPOD", **options)

    def put(self, sources: Any = SOURCES, **options: Any) -> Any:
        wanted = {"folder": FOLDER, "sources": list(sources), "data_source": SOURCE}
        return self.states.dashboards("Put them there", access=self.access, **wanted, **options)

    def source(self, **options: Any) -> Any:
        (self.folder / "password").write_text("geheim\n")
        files = {"password_file": f"{self.folder}/password"}
        settings = options.pop("settings", SETTINGS)
        return self.states.data_source(SOURCE, access=self.access, settings=settings, **files, **options)

    def remove(self, **options: Any) -> Any:
        return self.states.removed("Remove it", **options)


@pytest.fixture
def module(load: Callable[..., ModuleType], repository: Path) -> ModuleType:
    cached = lambda source: str(repository / "salt" / source.removeprefix("salt://"))  # noqa: E731
    return load("_modules/dcgm_grafana.py", __salt__={"cp.cache_file": cached})


@pytest.fixture
def site(
    load: Callable[..., ModuleType], module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    monkeypatch.setattr(paths, "GRAFANA_PUT", str(tmp_path / "ours/existing.json"))
    monkeypatch.setattr("superpod_dcgm.monitoring.grafana_client._PAUSE", 0.01)
    states = load("_states/dcgm_grafana.py", __opts__={}, __salt__={"dcgm_grafana.boards": module.boards})
    grafana = FakeGrafana()
    with Server(grafana) as server:
        server.start()
        yield Site(States(states), server, grafana, tmp_path)
        server.shutdown()


@pytest.mark.parametrize("version", [11, 12, 13])
@pytest.mark.parametrize("persona", ["Admin", "Editor"])
def test_an_empty_grafana_gets_folder_and_dashboards_once(site: Site, version: int, persona: str) -> None:
    site.grafana.version, site.persona = version, persona
    for state in (site.make_folder, site.put):
        before = site.grafana.things()
        ret = state(test=True)
        assert (ret.result, bool(ret.changes), site.grafana.things()) == (None, True, before)
        ret = state()
        assert (ret.result, bool(ret.changes)) == (True, True), ret.comment
        for test in (True, False):
            ret = state(test=test)
            assert (ret.result, ret.changes) == (True, {}), ret.comment
    assert {one["folder"] for one in site.grafana.dashboards.values()} == {FOLDER}
    assert len(site.grafana.dashboards) == len(SOURCES)


def test_a_viewer_is_refused_in_a_sentence_that_names_the_permission(site: Site) -> None:
    site.persona = "Viewer"
    for state, right in ((site.make_folder, "folders:create"), (site.put, "dashboards:create")):
        ret = state()
        assert (ret.result, ret.changes) == (False, {})
        assert f"Permissions needed: {right}" in ret.comment
        assert f"Its service account needs {right}" in ret.comment
    assert (site.grafana.folders, site.grafana.dashboards) == ({}, {})


def test_an_editor_may_make_no_data_source_and_an_admin_may(site: Site) -> None:
    site.persona = "Editor"
    ret = site.source()
    assert (ret.result, "Permissions needed: datasources:create" in ret.comment) == (False, True)
    site.persona = "Admin"
    assert site.source(test=True).result is None
    assert site.grafana.sources == {}
    assert site.source().result is True
    assert site.grafana.sent[-1]["secureJsonData"] == {"basicAuthPassword": "geheim"}
    # The secret does not come back, and is no difference.
    for test in (True, False):
        assert (site.source(test=test).changes) == {}
    changed = {**SETTINGS, "url": "http://mon-02:9090"}
    ret = site.source(settings=changed, test=True)
    assert ret.changes == {"url": {"old": "http://mon-01:9090", "new": "http://mon-02:9090"}}
    assert site.source(settings=changed).result is True
    assert site.grafana.sources[SOURCE]["url"] == "http://mon-02:9090"
    assert "geheim" not in str(ret.changes) + Path(paths.GRAFANA_PUT).read_text()


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"uid": SOURCE, "name": "Theirs", "jsonData": {}}, "was not made by this project and stays as it is"),
        ({"uid": SOURCE, "name": "Theirs", "jsonData": {}, "readOnly": True}, "comes from a file on that server"),
        ({"uid": "other", "name": SETTINGS["name"], "jsonData": {}}, "has another data source that is called"),
    ],
)
def test_a_data_source_of_others_stays(site: Site, there: dict[str, Any], words: str) -> None:
    site.grafana.sources[there["uid"]] = {"version": 1, **there}
    before = site.grafana.things()
    ret = site.source()
    assert (ret.result, ret.changes, words in ret.comment) == (False, {}, True), ret.comment
    assert site.grafana.things() == before


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ({"content": FOREIGN, "folder": FOLDER}, "was not made by this project (it has no tag superpod-dcgm)"),
        ({"content": {**FOREIGN, "tags": ["superpod-dcgm"]}, "folder": ""}, "lies in the folder General and stays"),
        (
            {"content": {**FOREIGN, "tags": ["superpod-dcgm"]}, "folder": FOLDER, "provisioned": True},
            "comes from a file on that server",
        ),
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
def test_a_dashboard_of_others_is_neither_moved_nor_overwritten(
    site: Site, there: dict[str, Any], words: str, legacy: bool
) -> None:
    site.make_folder()
    site.grafana.add("superpod-job", **there)
    site.grafana.legacy = legacy
    before, written = site.grafana.things(), len(site.grafana.writes)
    for test in (True, False):
        ret = site.put(test=test)
        assert (ret.result, ret.changes, words in ret.comment) == (False, {}, True), ret.comment
        assert ret.comment.endswith("No dashboard was written")
    assert (site.grafana.things(), len(site.grafana.writes)) == (before, written)


def test_a_title_that_another_has_is_refused(site: Site) -> None:
    site.grafana.version = 11
    site.make_folder()
    site.grafana.add("theirs", {**FOREIGN, "title": "SuperPOD Cluster"}, FOLDER)
    ret = site.put()
    assert (ret.result, "has another dashboard of that title in the folder" in ret.comment) == (False, True), (
        ret.comment
    )
    assert "superpod-cluster" not in site.grafana.dashboards


@pytest.mark.parametrize("version", [11, 13])
def test_a_folder_that_is_there_stays_as_it_is(site: Site, version: int) -> None:
    site.grafana.version = version
    site.grafana.folders[FOLDER] = {"uid": FOLDER, "title": "Ours by another name", "permissions": []}
    assert site.make_folder().changes == {}
    site.grafana.folders = {"other": {"uid": "other", "title": "SuperPOD", "permissions": []}}
    before = site.grafana.things()
    ret = site.make_folder()
    assert (ret.result, "has another folder that is called 'SuperPOD'" in ret.comment) == (False, True), ret.comment
    assert site.grafana.things() == before


def test_what_somebody_changed_is_told_and_put_right(site: Site) -> None:
    site.make_folder()
    site.put()
    one = site.grafana.dashboards["superpod-job"]
    good = copy.deepcopy(one["content"])
    one.update(content={**good, "title": "Mine", "refresh": "5s"}, version=2)
    ret = site.put(test=True)
    assert (ret.result, ret.changes) == (None, {"superpod-job": {"changed": ["refresh", "title"]}})
    assert one["content"]["title"] == "Mine"
    assert site.put().changes == ret.changes
    assert site.grafana.dashboards["superpod-job"]["content"] == good
    assert site.grafana.dashboards["superpod-job"]["folder"] == FOLDER


def test_another_form_of_what_was_sent_is_no_change(site: Site) -> None:
    site.make_folder()
    site.put()
    site.grafana.converts = True
    for test in (True, False):
        ret = site.put(test=test)
        assert (ret.result, ret.changes) == (True, {}), ret.comment


def test_a_change_between_look_and_write_is_not_overwritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.make_folder()
    site.put()
    site.grafana.dashboards["superpod-job"].update(
        content={**FOREIGN, "tags": ["superpod-dcgm"], "uid": "superpod-job"}, version=2
    )
    save = site.grafana._save
    monkeypatch.setattr(site.grafana, "_save", lambda *given: (_bump(site.grafana), save(*given))[1])
    ret = site.put()
    assert (ret.result, "somebody changed the dashboard" in ret.comment) == (False, True), ret.comment
    assert site.grafana.dashboards["superpod-job"]["content"]["title"] == "Theirs"


def _bump(grafana: FakeGrafana) -> None:
    grafana.dashboards["superpod-job"]["version"] += 1


@pytest.mark.parametrize("persona", ["Admin", "Editor"])
def test_without_the_legacy_api_the_new_one_is_used(site: Site, persona: str) -> None:
    site.grafana.legacy, site.persona = False, persona
    ret = site.make_folder()
    assert (ret.result, bool(ret.changes)) == (True, True), ret.comment
    assert site.grafana.folders[FOLDER]["permissions"] == [{"role": "Viewer", "permission": 1}]
    # The state says that nobody could tell it so.
    assert "is not known" in "".join(ret.warnings)
    assert site.put(test=True).result is None
    assert site.put().result is True
    assert {one["folder"] for one in site.grafana.dashboards.values()} == {FOLDER}
    for state in (site.make_folder, site.put):
        for test in (True, False):
            assert (state(test=test).result, state(test=test).changes) == (True, {})
    content = site.grafana.dashboards["superpod-job"]
    content.update(content={**content["content"], "title": "Mine"}, version=9)
    assert site.put().changes == {"superpod-job": {"changed": ["title"]}}
    assert content["content"]["title"] == "Mine"
    assert site.grafana.dashboards["superpod-job"]["content"]["title"] == "SuperPOD Single job"
    assert site.remove().result is True
    assert (site.grafana.dashboards, site.grafana.writes[-1][0]) == ({}, "DELETE")


def test_viewers_who_cannot_read_the_folder_are_told_of(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.grafana.legacy, site.grafana.grants = False, False
    answer = site.grafana._legacy
    monkeypatch.setattr(
        site.grafana,
        "_legacy",
        lambda method, path, *rest: (200, []) if path.endswith("/permissions") else answer(method, path, *rest),
    )
    assert "Viewers cannot read the folder" in "".join(site.make_folder().warnings)


def test_what_is_wanted_no_more_goes_and_what_others_made_stays(site: Site, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"uid": "mine", "title": "Mine", "panels": []}))
    site.make_folder()
    site.put([*SOURCES, str(mine)])
    assert site.put(test=True).changes == {"mine": "removed"}
    assert site.put().changes == {"mine": "removed"}
    assert set(site.grafana.dashboards) == {source.rpartition("/")[2].removesuffix(".json") for source in SOURCES}


@pytest.mark.parametrize("persona", ["Admin", "Editor"])
def test_clean_leaves_what_others_made_byte_for_byte(site: Site, persona: str) -> None:
    site.grafana.folders["theirs"] = {"uid": "theirs", "title": "Theirs", "permissions": []}
    site.grafana.add("their-board", FOREIGN, "theirs")
    # A copy of ours that somebody keeps elsewhere has our tag.
    site.grafana.add("copy", {**FOREIGN, "tags": ["superpod-dcgm"]}, "theirs")
    site.grafana.sources["prom"] = {"uid": "prom", "name": "Prom", "jsonData": {}, "version": 1, "readOnly": False}
    before = site.grafana.things()
    if persona == "Admin":
        assert site.source().result is True
    site.persona = persona
    assert [state().result for state in (site.make_folder, site.put)] == [True, True]
    full = site.grafana.things()
    ret = site.remove(test=True)
    assert (ret.result, bool(ret.changes), site.grafana.things()) == (None, True, full)
    ret = site.remove()
    assert (ret.result, bool(ret.changes)) == (True, True), ret.comment
    assert (site.grafana.things(), os.path.exists(paths.GRAFANA_PUT)) == (before, False)
    assert (site.remove().result, site.remove().changes) == (True, {})


def test_a_folder_into_which_others_put_something_stays_with_it(site: Site) -> None:
    site.make_folder()
    site.put()
    site.grafana.add("their-board", FOREIGN, FOLDER)
    ret = site.remove()
    assert (ret.result, "the folder superpod-dcgm stays, because of what others put into it" in ret.comment) == (
        True,
        True,
    )
    assert (set(site.grafana.dashboards), set(site.grafana.folders)) == ({"their-board"}, {FOLDER})


def test_one_that_does_not_answer_is_not_forgotten(site: Site) -> None:
    site.make_folder()
    site.put()
    site.server.shutdown()
    site.server.server_close()
    ret = site.remove()
    assert (ret.result, "does not answer" in ret.comment, os.path.exists(paths.GRAFANA_PUT)) == (False, True, True)


def test_the_data_source_goes_when_the_pillar_wants_none(site: Site) -> None:
    site.source()
    gone = site.states.no_data_source
    assert gone("No source", access=site.access, test=True).result is None
    assert gone("No source", access=site.access).changes == {"removed": SOURCE}
    assert (gone("No source", access=site.access).changes, site.grafana.sources) == ({}, {})


def test_below_a_sub_path_it_is_found(site: Site) -> None:
    site.grafana.sub_path = site.path = "/grafana"
    assert site.states.answers("It answers", access=site.access).result is True
    assert site.make_folder().result is True
    site.path = ""
    ret = site.states.answers("It answers", access=site.access)
    assert (ret.result, "and its sub-path" in ret.comment) == (False, True)


def test_the_module_tells_what_is_there(site: Site, module: ModuleType) -> None:
    site.make_folder()
    site.put()
    assert module.health(site.server.url) == "13.0.1"
    shown = module.show()[site.server.url]
    assert (shown["folder"], len(shown["dashboards"])) == (FOLDER, len(SOURCES))
    assert module.folder(site.access, FOLDER)["state"] == "there"
    assert module.dashboard(site.access, "nobody")["state"] == "absent"
    assert module.data_source(site.access, SOURCE)["state"] == "absent"


def test_a_refresh_that_the_server_does_not_allow_is_told(site: Site, tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps({"uid": "mine", "title": "Mine", "panels": [], "refresh": "1s"}))
    site.make_folder()
    ret = site.put([str(mine)])
    assert (ret.result, "Dashboard refresh interval is too low" in ret.comment) == (False, True)


def test_another_password_is_sent_when_its_file_changes(site: Site) -> None:
    site.source()
    (site.folder / "other").write_text("anders\n")
    options = {"access": site.access, "settings": SETTINGS, "password_file": f"{site.folder}/other"}
    ret = site.states.data_source(SOURCE, test=True, **options)
    assert (ret.result, ret.changes) == (None, {"secrets": {"old": "(not shown)", "new": "(not shown)"}})
    assert site.states.data_source(SOURCE, **options).result is True
    assert site.grafana.sent[-1]["secureJsonData"] == {"basicAuthPassword": "anders"}
    assert site.states.data_source(SOURCE, **options).changes == {}
