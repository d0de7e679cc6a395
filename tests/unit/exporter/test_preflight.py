"""What a release needs of a node, told in one sentence before anything of it is switched."""

from __future__ import annotations

import json
import os
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths, process, systemd
from superpod_dcgm.base.process import Answer
from superpod_dcgm.exporter import gate, preflight, rows

from tests.exporter_node import URL, ExporterNode

NEW, OLD, DCGM = "4.5.3-4.8.2", "4.4.2-4.7.1", "libdcgm.so.4"
NEEDS = f"dcgm-exporter {NEW} needs {DCGM} on this node, also where the host engine is elsewhere, and"


class Loader:
    """The libraries that `ldconfig -p` lists."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.code, self.lines = folder, 0, list[str]()
        monkeypatch.setattr(process, "run", self.run)
        monkeypatch.setattr(preflight, "_DRIVER", str(folder / "driver"))
        (folder / "driver").write_text("")

    def run(self, argv: list[str], seconds: float) -> Answer:
        assert argv[0].endswith(("ldconfig", "ldconfig.real")) and argv[1:] == ["-p"]
        return Answer(self.code, "\n".join(["2 libs found in cache `/etc/ld.so.cache'", *self.lines]))

    def has(self, name: str, file: str = "", there: bool = True) -> None:
        path = self.folder / name
        if there:
            (self.folder / (file or name)).write_text("")
        if file:
            path.symlink_to(file)
        self.lines.append(f"\t{name} (libc6,x86-64, OS ABI: Linux 3.2.0) => {path}")


@pytest.fixture
def loader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loader:
    return Loader(tmp_path, monkeypatch)


def lacks(release: str = NEW, nvml: bool = False) -> list[str]:
    return preflight.lacks(release, DCGM, nvml, preflight.libraries(), "", [])


def test_a_node_with_the_library_lacks_nothing(loader: Loader) -> None:
    loader.has(DCGM)
    assert lacks() == []


def test_a_node_without_dcgm_is_told(loader: Loader) -> None:
    assert lacks() == [f"{NEEDS} `ldconfig -p` does not list it: install DCGM 4"]


def test_a_node_with_another_dcgm_is_told(loader: Loader) -> None:
    loader.has("libdcgm.so.3")
    assert lacks() == [f"{NEEDS} `ldconfig -p` lists only libdcgm.so.3: install DCGM 4"]


def test_a_library_that_was_removed_and_is_listed_still_is_told(loader: Loader) -> None:
    loader.has(DCGM, there=False)
    (sentence,) = lacks()
    assert "is gone: install DCGM again, then run `ldconfig`" in sentence


# the file of the library: what is told of its age
AGES = {
    "libdcgm.so.4.5.3": "",
    "libdcgm.so.4.10.0": "",
    "libdcgm.so.4.2.3": f"{DCGM} is of DCGM 4.2.3 here, and dcgm-exporter {NEW} was made for 4.5.3",
    "libdcgm.so.site": "",
}


@pytest.mark.parametrize(("file", "words"), AGES.items())
def test_an_older_dcgm_is_told_and_refuses_nothing(loader: Loader, file: str, words: str) -> None:
    loader.has(DCGM, file)
    known = preflight.libraries()
    assert known is not None and lacks() == []
    assert preflight.older(NEW, DCGM, "4.5.3", known) == words
    assert preflight.older(NEW, DCGM, "", known) == ""
    assert preflight.older(NEW, DCGM, "4.5.3", {}) == ""


@pytest.mark.parametrize(("library", "driver"), [(True, True), (True, False), (False, True)])
def test_nvml_needs_its_library_and_a_driver(loader: Loader, library: bool, driver: bool) -> None:
    loader.has(DCGM)
    if library:
        loader.has("libnvidia-ml.so.1")
    if not driver:
        (loader.folder / "driver").unlink()
    assert lacks() == []
    found = lacks(OLD, True)
    word = "does not list libnvidia-ml.so.1" if not library else "no NVIDIA driver is loaded" if not driver else ""
    assert len(found) == bool(word)
    assert all(f"dcgm-exporter {OLD} needs NVML at every start, and" in text and word in text for text in found)


def test_what_the_exporter_does_not_look_for_is_not_missed(loader: Loader) -> None:
    assert preflight.lacks(OLD, DCGM, True, None, "", []) == []


def test_where_the_loader_cannot_be_asked_nothing_is_refused(loader: Loader) -> None:
    loader.code = 1
    assert preflight.libraries() is None
    assert lacks(OLD, True) == []


OFF = {"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}
UP = {"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}


def test_an_engine_that_is_installed_and_not_running_is_told(loader: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    loader.has(DCGM)
    monkeypatch.setattr(systemd, "show", lambda unit: OFF)
    (sentence,) = preflight.lacks(NEW, DCGM, False, preflight.libraries(), "localhost:1", ["a.service"])
    assert sentence.startswith("a.service is installed but neither enabled nor running: `systemctl enable --now a`")
    assert preflight.lacks(NEW, DCGM, False, preflight.libraries(), "other:1", ["a.service"]) == []


def test_an_engine_that_was_just_started_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systemd, "show", lambda unit: UP)
    path, pauses = str(tmp_path / "engine"), []
    server = socket.socket(socket.AF_UNIX)

    def begin(seconds: float) -> None:
        pauses.append(seconds)
        server.bind(path)
        server.listen()

    monkeypatch.setattr(preflight.time, "sleep", begin)
    with server:
        assert preflight.engine(f"unix://{path}", ["a.service"]) == ""
    assert pauses == [1]
    os.unlink(path)
    monkeypatch.setattr(preflight.time, "sleep", threading.Event().wait)
    monkeypatch.setattr(preflight, "_ENGINE_SECONDS", -1)
    assert "runs, but nothing listens on unix://" in preflight.engine(f"unix://{path}", ["a.service"])


def test_the_names_of_fields_are_looked_for_in_the_binary(tmp_path: Path) -> None:
    binary = tmp_path / "dcgm-exporter"
    binary.write_bytes(b"\x7fELF\x00\xffDCGM_FI_DEV_GPU_UTILDCGM_FI_DEV_FB_USED\x00")
    known = preflight.knows(str(binary), ["DCGM_FI_DEV_FB_USED"])
    assert known is not None
    assert [known(name) for name in ("DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_NO_SUCH")] == [
        *(True, True, False)
    ]
    # One that is packed, or none at all, tells nothing.
    assert preflight.knows(str(binary), ["DCGM_FI_DEV_FB_FREE"]) is None
    assert preflight.knows(str(binary), []) is None
    assert preflight.knows(str(tmp_path / "none"), ["x"]) is None


ROLES = {"source": "bcm", "run_on": ["slurmclient"]}


@pytest.fixture
def check(loader: Loader, here: ExporterNode, call: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that runs the state on a node with a unit that answers; its roles are the first argument."""
    monkeypatch.setattr(systemd, "show", here.show)
    monkeypatch.setattr(rows, "look", here.look)
    here.runs(NEW)

    def run(roles: list[str] | None, test: bool = False, **more: Any) -> Any:
        if roles is not None:
            Path(paths.ROLES_FILE).write_text(json.dumps({"roles": roles}))
        arguments = {"release": NEW, "roles": ROLES, "url": URL, "libdcgm": DCGM, **more}
        return call("dcgm_preflight.passed", name=paths.UNIT, test=test, **arguments)

    return run


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    return ExporterNode(tmp_path / "node", monkeypatch)


def test_a_node_that_lacks_something_is_refused_and_nothing_is_noted(check: Any) -> None:
    for test in (True, False):
        done = check(["slurmclient"], test)
        assert (done.result, done.changes) == (False, {})
        assert done.comment.startswith(f"Nothing of the exporter is changed on this node. {NEEDS}")
    assert gate.noted() is None


def test_what_the_page_shows_is_noted_before_anything_is_changed(
    check: Any, loader: Loader, here: ExporterNode
) -> None:
    loader.has(DCGM, "libdcgm.so.4.2.3")
    foretold = check(["slurmclient"], True, dcgm="4.5.3")
    assert (foretold.result, gate.noted()) == (True, None)
    done = check(["slurmclient"], dcgm="4.5.3")
    assert (done.result, done.changes, len(done.warnings)) == (True, {}, 1)
    assert gate.noted() == here.page


@pytest.mark.parametrize(("roles", "up"), [(["x"], True), ([], False), (None, False)])
def test_where_no_exporter_is_to_run_nothing_is_looked_at(
    check: Any, here: ExporterNode, roles: list[str] | None, up: bool
) -> None:
    here.up = up
    assert check(roles).result is True


def test_while_gpus_are_free_for_maintenance_nothing_is_looked_at(check: Any) -> None:
    Path(paths.GPUS_FREED).write_text('{"since": "t0"}')
    assert check(["slurmclient"], nvml=True).result is True


def test_a_node_of_unknown_roles_whose_exporter_runs_is_looked_at(check: Any) -> None:
    assert check(None).result is False
    assert check(None, validates=False).result is True


def test_a_systemd_that_does_not_answer_is_told(check: Any, here: ExporterNode) -> None:
    here.refused = "show"
    done = check(["slurmclient"])
    assert (done.result, "cannot be found out" in done.comment) == (False, True)
