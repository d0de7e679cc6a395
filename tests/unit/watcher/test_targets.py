"""Target files: right after every reconciliation, and nobody else's is touched."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from superpod_dcgm.watcher import targets
from superpod_dcgm.watcher.targets import content, reconcile, wanted

SETTINGS = {
    "cluster": "superpod",
    "roles": {"source": "bcm", "run_on": ["slurmclient"]},
    "targets": {"labels": {"site": "north", "host": "overruled"}},
    "exporter": {"port": 9400},
    "metrics": {"served": True, "port": 9401},
}
JOB, OWN = "dcgm-exporter", "superpod-dcgm"
A, B = content(SETTINGS, JOB, "a", "dgx"), content(SETTINGS, JOB, "b", None)


def listing(directory):
    return {path.name: path.read_text() for path in directory.iterdir()}


def test_a_file_has_one_target_and_the_agreed_labels() -> None:
    (entry,) = json.loads(A)
    assert entry["targets"] == ["a:9400"]
    visible = {name: value for name, value in entry["labels"].items() if not name.startswith("__")}
    assert visible == {"job": "dcgm-exporter", "cluster": "superpod", "host": "a", "category": "dgx", "site": "north"}


def test_our_own_metrics_have_a_target_of_their_own() -> None:
    (entry,) = json.loads(content(SETTINGS, OWN, "a", "dgx"))
    assert (entry["targets"], entry["labels"]["job"]) == (["a:9401"], "superpod-dcgm")


def test_where_somebody_else_serves_our_metrics_there_is_no_target_for_them() -> None:
    settings = {**SETTINGS, "metrics": {"served": False, "port": 9401}}
    nodes = {"a": {"roles": ["slurmclient"], "category": "dgx"}}
    assert wanted(settings, OWN, nodes, {"a"}) == ({}, set())
    assert list(wanted(settings, JOB, nodes, {"a"})[0]) == ["a"]


def test_a_node_gets_a_file_for_its_role_and_only_as_a_minion_of_ours() -> None:
    nodes = {
        "a": {"roles": ["slurmclient"], "category": "dgx"},
        "stopped": {"roles": [], "category": "dgx"},
        "unheard": {"roles": None, "category": "dgx"},
        "cpu-01": {"roles": ["slurmclient"], "category": "cpu"},
    }
    files, unknown = wanted(SETTINGS, JOB, nodes, {"a", "stopped", "unheard"})
    assert (list(files), unknown) == (["a"], {"unheard"})


def test_files_are_made_kept_and_removed(tmp_path) -> None:
    result = reconcile(str(tmp_path), {"a": A, "b": B}, (), remove=True)
    assert (result.written, listing(tmp_path)) == (["a", "b"], {"a.json": A, "b.json": B})
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o644
    again = reconcile(str(tmp_path), {"a": A, "b": B}, (), remove=True)
    assert (again.written, again.removed) == ([], [])
    result = reconcile(str(tmp_path), {"a": A}, (), remove=True)
    assert (result.removed, list(listing(tmp_path))) == (["b"], ["a.json"])


def test_a_damaged_or_deleted_file_is_made_again(tmp_path) -> None:
    reconcile(str(tmp_path), {"a": A, "b": B}, (), remove=True)
    (tmp_path / "a.json").unlink()
    (tmp_path / "b.json").write_text(B.replace("9400", "9999"))
    assert reconcile(str(tmp_path), {"a": A, "b": B}, (), remove=True).written == ["a", "b"]
    assert listing(tmp_path) == {"a.json": A, "b.json": B}


def test_nothing_is_removed_while_roles_are_unknown(tmp_path) -> None:
    reconcile(str(tmp_path), {"a": A, "b": B}, (), remove=True)
    assert reconcile(str(tmp_path), {}, (), remove=False).removed == []
    assert reconcile(str(tmp_path), {}, {"a"}, remove=True).removed == ["b"]
    assert list(listing(tmp_path)) == ["a.json"]


ADDRESSES = {
    "its name": ({"address": "name"}, "10.1.2.3", "a:9400"),
    "its name in a domain": ({"address": "fqdn", "domain": "cluster.example"}, None, "a.cluster.example:9400"),
    "its address": ({"address": "ip"}, "10.1.2.3", "10.1.2.3:9400"),
    "its address of the new kind": ({"address": "ip"}, "fd00::1", "[fd00::1]:9400"),
    "its name where nobody knows the address": ({"address": "ip"}, None, "a:9400"),
    "its name with settings of an earlier release": ({}, "10.1.2.3", "a:9400"),
}


@pytest.mark.parametrize(("keys", "ip", "expected"), ADDRESSES.values(), ids=ADDRESSES.keys())
def test_a_node_is_reached_as_the_site_wants_it(keys, ip, expected) -> None:
    settings = {**SETTINGS, "targets": {"labels": {}, **keys}}
    (entry,) = json.loads(content(settings, JOB, "a", "dgx", ip))
    assert (entry["targets"], entry["labels"]["host"]) == ([expected], "a")


def test_a_name_in_full_gets_no_second_domain_and_a_missing_address_is_told() -> None:
    fqdn = {**SETTINGS, "targets": {"labels": {}, "address": "fqdn", "domain": "x.y"}}
    assert json.loads(content(fqdn, OWN, "prod.dgx-01", None))[0]["targets"] == ["prod.dgx-01:9401"]
    nodes = {"a": {"ip": "10.1.2.3"}, "b": {}, "c": {"ip": None}}
    ip = {**SETTINGS, "targets": {"labels": {}, "address": "ip"}}
    assert targets.without_address(ip, nodes, ["a"]) == targets.without_address(fqdn, nodes, ["b"]) == []
    (told,) = targets.without_address(ip, nodes, ["a", "b", "c"])
    assert "targets:address is ip" in told and "(bcm)" in told and "b, c: the target has the name" in told


def test_a_directory_never_loses_its_last_file(tmp_path, monkeypatch) -> None:
    """Prometheus that is reloaded in that moment would keep the target; `[]` does not help it, an empty group does."""
    left = []
    reconcile(str(tmp_path), {"a": A}, (), remove=True)
    assert list(listing(tmp_path)) == ["a.json"]
    unlink = os.unlink

    def watched(path: str) -> None:
        unlink(path)
        left.append(sorted(listing(tmp_path)))

    monkeypatch.setattr(os, "unlink", watched)
    reconcile(str(tmp_path), {}, (), remove=True)
    (text,) = listing(tmp_path).values()
    assert left == [["_none.json"]] and [group["targets"] for group in json.loads(text)] == [[]]
    assert reconcile(str(tmp_path), {}, (), remove=True) == targets.Result(), "and so it stays"
    reconcile(str(tmp_path), {"b": B}, (), remove=True)
    assert left[1:] == [["b.json"]]


def test_all_of_ours_goes_when_the_watcher_goes(tmp_path) -> None:
    (tmp_path / "node.json").write_text(FOREIGN["node.json"])
    reconcile(str(tmp_path), {"a": A}, (), remove=True)
    assert targets.remove_all(str(tmp_path)).removed == ["a"]
    reconcile(str(tmp_path), {}, (), remove=True)
    assert targets.remove_all(str(tmp_path)).removed == []
    assert list(listing(tmp_path)) == ["node.json"]


def _link_to_ours(path: Path) -> None:
    path.with_suffix(".x").write_text(A)
    path.symlink_to(path.with_suffix(".x"))


IN_THE_WAY = {
    "a FIFO": os.mkfifo,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to ours": _link_to_ours,
    "a folder": os.mkdir,
    "a stranger's target": lambda path: path.write_text(FOREIGN["a.json"]),
    "another node's target": lambda path: path.write_text(B),
    "a large file": lambda path: path.write_text("[" + " " * (64 << 10) + "]"),
}


@pytest.mark.parametrize("make", IN_THE_WAY.values(), ids=IN_THE_WAY.keys())
def test_what_has_the_name_of_a_file_of_ours_is_kept_aside(tmp_path, make) -> None:
    make(tmp_path / "a.json")
    kind = os.lstat(tmp_path / "a.json").st_mode
    result = reconcile(str(tmp_path), {"a": A}, (), remove=True)
    assert (result.written, (tmp_path / "a.json").read_text()) == (["a"], A)
    assert os.lstat(tmp_path / "a.json.foreign").st_mode == kind
    assert result.problems == [
        f"{tmp_path}/a.json was not written by the watcher: it is kept as {tmp_path}/a.json.foreign"
    ]


@pytest.mark.parametrize("text", ["", A[:40], "\0" * 9, "[" * 50_000, "{"])
def test_a_damaged_file_of_a_node_is_made_again_or_goes_with_its_role(tmp_path, text) -> None:
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "notes.json").write_text(text)
    assert reconcile(str(tmp_path), {"a": A}, (), remove=True).written == ["a"]
    (tmp_path / "a.json").write_text(text)
    assert reconcile(str(tmp_path), {}, {"a"}, remove=True, nodes={"a"}).removed == []
    assert reconcile(str(tmp_path), {}, (), remove=True, nodes={"a"}).removed == ["a"]
    assert (tmp_path / "notes.json").read_text() == text


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), os.mkdir])
def test_what_else_lies_there_stops_nothing_and_stays(tmp_path, make) -> None:
    make(tmp_path / "zzz.json")
    assert reconcile(str(tmp_path), {"a": A}, (), remove=True).written == ["a"]
    assert reconcile(str(tmp_path), {}, (), remove=True).removed == ["a"]
    assert os.path.lexists(tmp_path / "zzz.json")


FOREIGN = {
    "node.json": '[{"targets": ["a:9100"], "labels": {"job": "node"}}]',
    "a.json": '[{"targets": ["a:1"], "labels": {"job": "dcgm-exporter", "cluster": "superpod", "host": "a"}}]',
    "broken.json": "{",
    "copy.json": B,
    "pair.json": json.dumps(json.loads(B) * 2),
    "b.json.bak": B,
    "notes.txt": "x",
}


def test_files_of_others_are_never_touched(tmp_path) -> None:
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "directory.json").mkdir()
    result = reconcile(str(tmp_path), {"a": A}, (), remove=True)
    assert (result.written, result.removed) == (["a"], [])
    (tmp_path / "directory.json").rmdir()
    assert listing(tmp_path) == {**FOREIGN, "a.json": A, "a.json.foreign": FOREIGN["a.json"]}


def test_a_directory_that_is_not_there_is_told_and_not_made(tmp_path) -> None:
    gone = tmp_path / "gone"
    result = reconcile(str(gone), {"a": A}, (), remove=True)
    assert result.problems == [
        f"no target file is written: {gone}: No such file or directory (normal on a passive head)"
    ]
    assert not gone.exists()
    gone.mkdir()
    assert reconcile(str(gone), {"a": A}, (), remove=True).written == ["a"]


def test_a_directory_that_cannot_be_written_is_told(tmp_path, monkeypatch) -> None:
    """Root, who may write everywhere, meets the same error on a file system that is read-only."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    assert "cannot be written: Read-only file system" in reconcile(str(tmp_path), {"a": A}, (), True).problems[0]


def test_our_mark_is_a_label_that_prometheus_drops() -> None:
    assert targets.is_ours(json.loads(A), "a") and not targets.is_ours(json.loads(A), "b")
    assert all(name.startswith("__") for name in targets._MARK)
