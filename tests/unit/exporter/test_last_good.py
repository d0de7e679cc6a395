"""The last good state: remembered whole, and put back with content, mode, owner and kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from superpod_dcgm.exporter import last_good

from tests.exporter_node import NEW, OLD, ExporterNode


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    return ExporterNode(tmp_path, monkeypatch)


@pytest.mark.parametrize("text", [None, "", "[]", "null", "{"])
def test_a_node_without_a_readable_record_has_no_good_state(here: ExporterNode, text: str | None) -> None:
    if text is not None:
        (here.root / "var/running.json").write_text(text)
    assert last_good.read() == {}


def test_a_fingerprint_names_what_decides_how_the_exporter_runs(here: ExporterNode) -> None:
    here.install(NEW)
    more = str(here.root / "etc/more")
    before = last_good.fingerprint(NEW, (more,))
    assert list(before["files"]) == [str(path) for path in (here.unit_file, here.environment, here.counters, more)]
    assert (before["files"][more], before["files"][str(here.counters)]) == (None, os.readlink(here.counters))
    Path(more).write_text("x")
    here.install(NEW, "another build")
    after = last_good.fingerprint(NEW, (more,))
    assert after["binary"] != before["binary"]
    assert after["files"][more] is not None
    assert last_good.fingerprint(None)["binary"] is None


def files(here: ExporterNode) -> dict[str, tuple[str, int, str]]:
    return {
        path.name: (
            os.readlink(path) if path.is_symlink() else path.read_text(),
            path.lstat().st_mode,
            str(path.parent),
        )
        for path in (here.unit_file, here.environment, here.counters)
    }


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444])
def test_files_and_links_come_back_as_they_were(here: ExporterNode, mode: int) -> None:
    here.environment.chmod(mode)
    good = here.runs(OLD)
    before = files(here)
    here.link(NEW)
    here.environment.unlink()
    here.unit_file.chmod(0o600)
    here.counters.unlink()
    here.counters.write_text("no link\n")
    last_good.restore(good)
    assert files(here) == before
    assert os.readlink(here.current) == OLD
    assert sorted(path.name for path in (here.root / "etc").iterdir()) == sorted(before)


def test_owner_and_group_are_kept_in_the_copy_and_put_back(here: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[str, int, int]] = []

    def chown(path: str, user: int, group: int, follow_symlinks: bool) -> None:
        assert not follow_symlinks
        given.append((os.path.basename(path), user, group))

    found = os.lstat

    def lstat(path: str) -> os.stat_result:
        return os.stat_result((*found(path)[:4], 1234, 5678, *found(path)[6:]))

    monkeypatch.setattr(last_good.os, "chown", chown)
    with monkeypatch.context() as patched:
        patched.setattr(last_good.os, "lstat", lstat)
        good = here.runs(OLD)
        last_good.restore(good)
    names = [os.path.basename(path) for path in good["files"]]
    copies = [last_good._flat(path) for path in good["files"]]
    expected = [*copies, *names]
    assert given == [(name, 1234, 5678) for name in expected]


def test_a_copy_that_is_lost_is_an_error_before_its_file_is_touched(here: ExporterNode) -> None:
    good = here.runs(OLD)
    for path in (here.root / "var/good").iterdir():
        path.unlink()
    here.unit_file.write_text("second")
    with pytest.raises(OSError, match=rf"the copy of the last good {here.unit_file}, is missing"):
        last_good.restore(good)
    assert here.unit_file.read_text() == "second"


def test_a_file_that_was_not_there_is_left_as_it_is(here: ExporterNode) -> None:
    more = here.root / "etc/more"
    here.runs(OLD)
    good = last_good.fingerprint(OLD, (str(more),))
    last_good.remember(good)
    more.write_text("second")
    last_good.restore(good)
    assert more.read_text() == "second"


def test_only_the_newest_good_state_is_kept(here: ExporterNode) -> None:
    here.runs(OLD)
    here.environment.write_text("second")
    (here.root / "var/good.new").mkdir()
    good = here.runs(NEW)
    record = last_good.read()
    assert record.pop("answered_at").endswith("+00:00")
    assert record == good
    copies = {path.name: path for path in (here.root / "var/good").iterdir()}
    assert copies.keys() == {last_good._flat(path) for path in good["files"]}
    assert copies[last_good._flat(str(here.environment))].read_text() == "second"
    assert not (here.root / "var/good.new").exists()


@pytest.mark.parametrize(
    ("change", "possible"),
    [
        ({}, False),
        ({"release": NEW}, True),
        ({"binary": "another"}, True),
        ({"files": {}}, True),
    ],
)
def test_the_way_back_leads_to_another_state(here: ExporterNode, change: dict[str, object], possible: bool) -> None:
    good = here.runs(OLD)
    assert last_good.can_go_back(good, {**good, **change}) is possible
    assert last_good.can_go_back({}, {**good, **change}) is False
    here.install(OLD, "built again")
    assert last_good.can_go_back(good, {**good, **change}) is False


def test_how_it_was_asked_is_kept(here: ExporterNode) -> None:
    good = here.runs(OLD)
    last_good.remember(good, {"url": "http://x", "timeout": 3})
    assert (last_good.read()["url"], last_good.read()["timeout"]) == ("http://x", 3)


def test_a_link_that_waits_where_a_file_is_put_back_is_not_followed(here: ExporterNode) -> None:
    good = here.runs(OLD)
    victim = here.root / "victim"
    victim.write_text("untouched")
    here.environment.unlink()
    here.environment.symlink_to(victim)
    (here.root / "etc/exporter.env.superpod-restore").symlink_to(victim)
    last_good.restore(good)
    assert (victim.read_text(), here.environment.is_symlink(), here.environment.read_text()) == (
        "untouched",
        False,
        "first",
    )


def test_what_is_no_file_is_neither_read_nor_copied(here: ExporterNode) -> None:
    pipe = here.root / "etc/pipe"
    os.mkfifo(pipe)
    here.runs(OLD)
    good = last_good.fingerprint(OLD, (str(pipe),))
    assert good["files"][str(pipe)] is None
    last_good.remember(good)
    last_good.restore(good)
    assert pipe.is_fifo()


DAMAGED = [
    *("", "[]", "{", '{"release": "1.0"}', '{"release": "1.0", "files": []}', '{"release": 1, "files": {}}'),
    *('{"release": "1.0", "files": {}, "timeout": "x"}', '{"release": "1.0", "files": {}, "url": 5}'),
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_record_is_none(tmp_path, monkeypatch, text) -> None:
    (tmp_path / "running.json").write_text(text)
    monkeypatch.setattr(last_good.paths, "RUNNING_FILE", str(tmp_path / "running.json"))
    assert last_good.read() == {}
