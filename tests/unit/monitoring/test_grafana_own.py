"""Files, secrets and the folder of our own Grafana: made once, in place, and never where others are."""

from __future__ import annotations

import grp
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from superpod_dcgm.base import paths, process
from superpod_dcgm.monitoring import grafana_own, grafana_repository
from superpod_dcgm.monitoring.grafana_boards import SOURCES

THEIRS = {"uid": "theirs", "title": "Theirs", "panels": []}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose places are below a folder, and whose group grafana is this user's."""
    for name in [name for name in vars(paths) if name.startswith("GRAFANA_")] + ["APT", "YUM", "RPM_KEYS"]:
        value = getattr(paths, name)
        if value.startswith("/"):
            monkeypatch.setattr(paths, name, f"{tmp_path}{value}")
    monkeypatch.setattr(paths, "GRAFANA_USER", grp.getgrgid(os.getegid()).gr_name)
    monkeypatch.setattr("superpod_dcgm.base.systemd.systemctl", lambda *_: "")
    return tmp_path


@pytest.fixture
def states(load: Callable[..., ModuleType], repository: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that runs a state of our own Grafana."""
    cached = {"cp.cache_file": lambda source: str(repository / "salt" / source.removeprefix("salt://"))}
    reader = load("_modules/dcgm_grafana.py", __salt__=cached)
    salt = {**cached, "dcgm_grafana.boards": reader.boards, "pkg.refresh_db": lambda: True}
    own, package = (load(f"_states/dcgm_grafana_{name}.py", __opts__={}, __salt__=salt) for name in ("own", "package"))

    def run(function: str, *given: Any, test: bool = False, **options: Any) -> dict[str, Any]:
        module = own if hasattr(own, function) else package
        module.__opts__["test"] = test
        found: dict[str, Any] = getattr(module, function)(*given, **options)
        return found

    return run


def write(path: str, content: Any) -> str:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(path).write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_secrets_are_made_once_closed_to_others_and_never_shown(root: Path, states: Any) -> None:
    assert states("secrets", "Make them", test=True)["result"] is None
    assert not os.path.exists(paths.GRAFANA_PASSWORD)
    ret = states("secrets", "Make them")
    assert ret["result"] is True
    made = [Path(path).read_text() for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY)]
    assert made[0] != made[1]
    assert all(len(word) > 40 and word not in str(ret) for word in made)
    assert {os.stat(path).st_mode & 0o777 for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY)} == {0o640}
    assert states("secrets", "Make them")["changes"] == {}
    os.chmod(paths.GRAFANA_PASSWORD, 0o644)
    assert states("secrets", "Make them")["changes"] == {
        paths.GRAFANA_PASSWORD: "closed to others than root and the group grafana"
    }
    assert [Path(path).read_text() for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY)] == made


def test_lost_secrets_are_not_made_anew_while_there_is_data(root: Path, states: Any) -> None:
    states("secrets", "Make them")
    grafana_own.note(ours=True)
    assert grafana_own.obstacles(1, "grafana") == []
    write(f"{paths.GRAFANA_DATA}/grafana.db", "data")
    os.unlink(paths.GRAFANA_SECRET_KEY)
    (sentence,) = grafana_own.obstacles(1, "grafana")
    assert "bring it back from a backup" in sentence


def put(states: Any, sources: Any = SOURCES, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = states("boards", "Write them", list(sources), "SuperPOD", "prom", **options)
    return found


def test_dashboards_are_written_once_and_in_place(root: Path, states: Any) -> None:
    assert put(states, test=True)["result"] is None
    assert not os.path.exists(paths.GRAFANA_DASHBOARDS)
    assert len(put(states)["changes"]) == len(SOURCES)
    for test in (True, False):
        assert (put(states, test=test)["result"], put(states, test=test)["changes"]) == (True, {})
    old = f"{paths.GRAFANA_DASHBOARDS}/superpod-job.json"
    os.utime(old, (1, 1))
    assert put(states)["changes"] == {old: "written"}
    assert os.stat(old).st_mtime > 1_000_000_000
    write(old, {**THEIRS, "tags": ["superpod-dcgm"]})
    assert put(states)["changes"] == {old: "written"}
    assert json.loads(Path(old).read_text())["uid"] == "superpod-job"
    assert [name for name in os.listdir(paths.GRAFANA_DASHBOARDS) if name.startswith(".")] == []


def test_a_dashboard_that_is_wanted_no_more_goes(root: Path, states: Any, tmp_path: Path) -> None:
    mine = write(f"{tmp_path}/site/mine.json", {**THEIRS, "uid": "mine"})
    put(states, [*SOURCES, mine])
    beside = write(f"{paths.GRAFANA_DASHBOARDS}/beside.json", {**THEIRS, "title": "Beside"})
    assert put(states)["changes"] == {f"{paths.GRAFANA_DASHBOARDS}/mine.json": "removed"}
    assert os.path.exists(beside)


@pytest.mark.parametrize(
    ("folder", "content", "words"),
    [
        ("Other", {**THEIRS, "uid": "superpod-job"}, "has the uid of our dashboard 'SuperPOD Single job'"),
        ("SuperPOD", {**THEIRS, "title": "SuperPOD Node"}, "has the title of our dashboard 'SuperPOD Node'"),
        ("Other", {**THEIRS, "title": "SuperPOD Node"}, ""),
        ("SuperPOD", THEIRS, ""),
    ],
)
def test_another_file_with_a_uid_or_title_of_ours_stops_all(
    root: Path, states: Any, tmp_path: Path, folder: str, content: Any, words: str
) -> None:
    place = f"{tmp_path}/boards"
    path = write(f"{place}/deep/theirs.json", content)
    provider = f"providers: [{{folder: {folder}, options: {{path: {place}}}}}]\n"
    write(f"{os.path.dirname(paths.GRAFANA_PROVIDER_FILE)}/site.yaml", provider)
    ret = put(states)
    assert (ret["result"], f"{path} {words}" in ret["comment"]) == ((False, True) if words else (True, False))
    assert os.path.exists(paths.GRAFANA_DASHBOARDS) is not bool(words)


def test_a_file_in_the_new_form_stops_all_and_what_is_there_stays(root: Path, states: Any, tmp_path: Path) -> None:
    put(states)
    before = {name: Path(paths.GRAFANA_DASHBOARDS, name).read_text() for name in os.listdir(paths.GRAFANA_DASHBOARDS)}
    mine = write(f"{tmp_path}/mine.json", {"title": "Mine", "elements": {}, "layout": {}})
    ret = put(states, [mine, *SOURCES[:2]])
    assert (ret["result"], f"{mine} has the new form of dashboards" in ret["comment"]) == (False, True)
    assert {name: Path(paths.GRAFANA_DASHBOARDS, name).read_text() for name in before} == before


def test_a_link_in_the_path_of_the_dashboards_is_refused(root: Path, states: Any) -> None:
    os.makedirs(f"{root}/elsewhere")
    os.makedirs(os.path.dirname(paths.GRAFANA_CONFIG))
    os.symlink(f"{root}/elsewhere", paths.GRAFANA_CONFIG)
    ret = put(states)
    assert (ret["result"], "leads by a link to" in ret["comment"]) == (False, True)


def test_a_file_of_others_in_our_place_is_named(root: Path, states: Any) -> None:
    path = write(f"{paths.GRAFANA_DASHBOARDS}/superpod-job.json", THEIRS)
    ret = put(states)
    assert (ret["result"], f"{path} was not written by this project" in ret["comment"]) == (False, True)
    assert json.loads(Path(path).read_text()) == THEIRS


# what: (file, its text, words)
FOREIGN = {
    "a configuration that somebody changed": ("GRAFANA_INI", "[server]\n", "was changed by somebody"),
    "a data source file": ("GRAFANA_SOURCES_FILE", "apiVersion: 1\n", "was not written by this project"),
    "data": ("GRAFANA_DATABASE", "data", "is data of a Grafana of others"),
}


@pytest.mark.parametrize(("place", "text", "words"), FOREIGN.values(), ids=FOREIGN.keys())
def test_a_grafana_of_others_is_not_taken_over(
    root: Path, states: Any, monkeypatch: pytest.MonkeyPatch, place: str, text: str, words: str
) -> None:
    monkeypatch.setattr(process, "run", lambda *_, **__: process.Answer(1, missing=True))
    assert states("possible", "Look", 1, "grafana")["result"] is True
    write(getattr(paths, place, f"{paths.GRAFANA_DATA}/grafana.db"), text)
    ret = states("possible", "Look", 1, "grafana")
    assert (ret["result"], words in ret["comment"]) == (False, True), ret["comment"]


def test_the_packages_own_configuration_comes_back(root: Path, states: Any) -> None:
    write(paths.GRAFANA_INI, ";[server]\n")
    grafana_own.note(ours=True)
    text = "# Managed by Salt (dcgm.grafana): edit the pillar, not this file.\n[server]\n"
    ret = states("configured", paths.GRAFANA_INI, text)
    assert (ret["result"], os.stat(paths.GRAFANA_INI).st_mode & 0o777) == (True, 0o640)
    assert states("configured", paths.GRAFANA_INI, text)["changes"] == {}
    put(states)
    states("secrets", "Make them")
    mine = write(f"{paths.GRAFANA_DASHBOARDS}/mine.json", THEIRS)
    assert states("removed", "grafana-server.service", test=True)["result"] is None
    assert states("removed", "grafana-server.service")["result"] is True
    assert Path(paths.GRAFANA_INI).read_text() == ";[server]\n"
    assert os.listdir(paths.GRAFANA_DASHBOARDS) == [os.path.basename(mine)]
    # Without data nothing needs the secrets.
    assert grafana_own.secrets_there() == []
    assert states("removed", "grafana-server.service")["changes"] == {}


def test_secrets_stay_with_the_data(root: Path, states: Any) -> None:
    states("secrets", "Make them")
    grafana_own.note(ours=True)
    write(f"{paths.GRAFANA_DATA}/grafana.db", "data")
    ret = states("removed", "grafana-server.service")
    assert f"rm -r {paths.GRAFANA_DATA} {paths.GRAFANA_PASSWORD} {paths.GRAFANA_SECRET_KEY}" in ret["comment"]
    assert len(grafana_own.secrets_there()) == 2
    assert grafana_own.obstacles(1, "grafana") == []


@pytest.mark.parametrize("family", ["apt", "yum"])
def test_a_repository_is_added_and_goes_again(root: Path, states: Any, tmp_path: Path, family: str) -> None:
    if family == "apt":
        os.makedirs(paths.APT)
    key = write(f"{tmp_path}/key.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    url = "https://apt.grafana.com"
    assert states("repository", "Add it", url, key, test=True)["result"] is None
    assert grafana_repository.present() == []
    assert states("repository", "Add it", url, key)["result"] is True
    assert states("repository", "Add it", url, key)["changes"] == {}
    place, keyring = grafana_repository.present()
    text = Path(place).read_text()
    assert (url in text, keyring in text, Path(keyring).read_text()) == (True, True, Path(key).read_text())
    assert states("repository", "Add it", "", "")["result"] is True
    assert grafana_repository.present() == []
    assert "no public key" in states("repository", "Add it", url, write(key, "no key"))["comment"]


def test_the_packages_newer_configuration_is_the_one_that_comes_back(root: Path, states: Any) -> None:
    write(paths.GRAFANA_INI, ";old\n")
    states("configured", paths.GRAFANA_INI, "# Managed by Salt (dcgm.grafana)\n")
    grafana_own.note(ours=True)
    newer = write(f"{paths.GRAFANA_INI}.dpkg-dist", ";new\n")
    states("removed", "grafana-server.service")
    assert (Path(paths.GRAFANA_INI).read_text(), os.path.exists(newer)) == (";new\n", False)


def test_what_somebody_wrote_into_a_file_of_ours_is_not_shown(root: Path, states: Any) -> None:
    write(paths.GRAFANA_INI, "# Managed by Salt (dcgm.grafana)\n[smtp]\npassword = geheim\n")
    ret = states("configured", paths.GRAFANA_INI, "# Managed by Salt (dcgm.grafana)\n", test=True)
    assert (ret["result"], "geheim" in str(ret), "not shown" in str(ret["changes"])) == (None, False, True)


class Machine:
    """The packages of a machine; what is installed from a file has the file's version."""

    def __init__(self, version: str, installs: str = "") -> None:
        self.version, self.installs, self.asked = version, installs, list[Any]()

    def functions(self) -> dict[str, Any]:
        return {"pkg.version": lambda name: self.version, "pkg.install": self._install}

    def _install(self, **given: Any) -> None:
        self.asked.append(given)
        self.version = self.installs


@pytest.fixture
def deb(tmp_path: Path) -> str:
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not here")
    write(
        f"{tmp_path}/grafana/DEBIAN/control",
        "Package: grafana\nVersion: 2\nArchitecture: all\nMaintainer: me\nDescription: x\n",
    )
    subprocess.run(["dpkg-deb", "--build", f"{tmp_path}/grafana"], check=True, capture_output=True)
    return f"{tmp_path}/grafana.deb"


# what: (version before, version that an installation brings, name, result, asked to install, words)
PACKAGES = {
    "not there": ("", "2", "grafana", True, True, "grafana 2 is installed"),
    "older": ("1", "2", "grafana", True, True, "grafana 2 is installed"),
    "there": ("2", "", "grafana", True, False, "grafana 2 is installed"),
    "it does not come": ("1", "1", "grafana", False, True, "grafana 1 is installed, not 2"),
    "another package": ("", "", "grafana-enterprise", False, False, "is no package of the name grafana-enterprise"),
}


@pytest.mark.parametrize(("before", "brings", "name", "good", "asked", "words"), PACKAGES.values(), ids=PACKAGES.keys())
def test_a_package_from_a_file_is_installed_if_its_version_is_another(
    root: Path, load: Any, deb: str, before: str, brings: str, name: str, good: bool, asked: bool, words: str
) -> None:
    machine = Machine(before, brings)
    module = load("_states/dcgm_grafana_package.py", __opts__={"test": True}, __salt__=machine.functions())
    checksum = hashlib.sha256(Path(deb).read_bytes()).hexdigest()
    assert module.installed(name, deb, checksum)["result"] is (None if asked else good)
    assert machine.asked == []
    module.__opts__["test"] = False
    ret = module.installed(name, deb, checksum)
    assert (ret["result"], words in ret["comment"]) == (good, True), ret["comment"]
    assert machine.asked == ([{"sources": [{name: deb}]}] if asked else [])
    assert "has the SHA-256" in module.installed(name, deb, "0" * 64)["comment"]


def test_without_a_file_the_repositories_bring_it(root: Path, load: Any) -> None:
    machine = Machine("", "")
    module = load("_states/dcgm_grafana_package.py", __opts__={"test": False}, __salt__=machine.functions())
    ret = module.installed("grafana")
    assert (ret["result"], "dcgm:grafana:repository, package_file" in ret["comment"]) == (False, True)
    machine.installs = "13"
    assert module.installed("grafana")["changes"] == {"grafana": {"old": None, "new": "installed"}}
    assert (module.installed("grafana")["changes"], len(machine.asked)) == ({}, 2)
