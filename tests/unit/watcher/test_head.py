"""What the watcher's states check on a head node before they change it."""

from __future__ import annotations

import os

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.base.files import Busy, is_free, lock_local
from superpod_dcgm.watcher import head, targets
from superpod_dcgm.watcher.snapshot import changing, read_snapshot

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


def test_authorities_are_joined_and_a_wrong_file_is_named(tmp_path) -> None:
    (tmp_path / "a.pem").write_text(PEM)
    (tmp_path / "b.pem").write_text(PEM.replace("AAAA", "BBBB").rstrip())
    files = [str(tmp_path / name) for name in ("a.pem", "b.pem")]
    assert head.authorities(files) == PEM + PEM.replace("AAAA", "BBBB")
    (tmp_path / "c.pem").write_text("no certificate")
    for bad, expected in (("c.pem", "has no certificate"), ("d.pem", "cannot be read")):
        with pytest.raises(ValueError, match=f"dcgm:watcher:ca: .*{bad} {expected}"):
            head.authorities([*files, str(tmp_path / bad)])


def test_the_administrators_pair_is_refused_also_as_link_or_copy(tmp_path, monkeypatch) -> None:
    admin = tmp_path / "admin.pem"
    admin.write_text(PEM)
    monkeypatch.setattr(head, "_ADMIN_PAIR", (str(admin),))
    (tmp_path / "link.pem").symlink_to(admin)
    (tmp_path / "copy.pem").write_text(PEM)
    (tmp_path / "own.pem").write_text(PEM.replace("AAAA", "BBBB"))
    for name in ("admin.pem", "link.pem", "copy.pem"):
        assert "administrator's" in head.credential_problem(str(tmp_path / name))
    assert head.credential_problem(str(tmp_path / "own.pem")) is None
    assert "is missing" in head.credential_problem(str(tmp_path / "none.pem"))
    assert "is missing" in head.credential_problem(str(tmp_path))


def test_a_credential_that_the_masters_user_cannot_see_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the pillar is judged before the head's states: the directory is root's alone."""
    hidden, stat = "/nowhere/bcm.pem", os.stat

    def refuse(path: str, **options: bool) -> os.stat_result:
        if path == hidden:
            raise PermissionError(path)
        return stat(path, **options)

    monkeypatch.setattr(head.os, "stat", refuse)
    assert head.credential_problem(hidden) is None


CONFIGURATIONS = {
    "nothing of it": ("file_roots: {base: [/srv]}\n", []),
    "engines": ("engines: [{test: {}}]\n", ["engines"]),
    "reactor and module_dirs": ("reactor: [{a: [b]}]\nmodule_dirs: [/x]\n", ["reactor", "module_dirs"]),
    "empty lists": ("engines: []\nreactor:\n", []),
    "not YAML": ("{", []),
    "a list": ("- a\n", []),
}


@pytest.mark.parametrize(("text", "keys"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_lists_in_other_files_of_the_master_are_found(tmp_path, text, keys) -> None:
    other, own = str(tmp_path / "other.conf"), str(tmp_path / "own.conf")
    for path in (other, own):
        with open(path, "w") as stream:
            stream.write(text)
    found = head.conflicts([other, own, str(tmp_path / "missing")], own)
    assert len(found) == len(keys)
    for sentence, key in zip(found, keys, strict=True):
        assert sentence.startswith(f"{other} sets {key}") and f"dcgm:watcher:master:{key}" in sentence


@pytest.fixture
def states(load):
    def make(test=False):
        made = lambda name, **kwargs: {"name": name, "result": True, "comment": "", "changes": kwargs}  # noqa: E731
        return load("_states/bcm_watcher.py", __opts__={"test": test}, __states__={"file.managed": made})

    return make


def test_the_states_say_what_is_wrong_and_change_nothing_then(states, tmp_path) -> None:
    (tmp_path / "master.d").mkdir()
    (tmp_path / "master").write_text("engines: [{x: {}}]\n")
    for result in (
        states().authorities(str(tmp_path / "ca.pem"), ["/nowhere.pem"]),
        states().credential(str(tmp_path / "none.pem"), "salt"),
        states().configuration_counts(str(tmp_path / "master.d/own.conf")),
    ):
        assert result["result"] is False and result["comment"] and result["changes"] == {}


def test_a_credential_is_given_to_the_masters_user_alone(states, tmp_path) -> None:
    (tmp_path / "own.pem").write_text(PEM)
    result = states().credential(str(tmp_path / "own.pem"), "salt")
    assert result["changes"] == {"user": "salt", "mode": "0600", "replace": False}


@pytest.mark.parametrize("test", [True, False])
def test_only_our_target_files_are_removed(states, tmp_path, test) -> None:
    settings = {"cluster": "c", "targets": {"labels": {}}, "exporter": {"port": 1}, "metrics": {"served": False}}
    (tmp_path / "a.json").write_text(targets.content(settings, "dcgm-exporter", "a", None))
    (tmp_path / "b.json").write_text("[]")
    result = states(test).targets_removed(str(tmp_path))
    assert (result["result"], result["changes"]) == (None if test else True, {"removed": ["a"]})
    assert sorted(os.listdir(tmp_path)) == (["a.json", "b.json"] if test else ["b.json"])
    if not test:
        again = states().targets_removed(str(tmp_path))
        assert (again["result"], again["changes"]) == (True, {})
    assert states(test).targets_removed(str(tmp_path / "none"))["result"] is True


def test_the_link_to_the_watchers_metrics_is_told_before_it_is_made(states, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(paths, "HEAD_METRICS_LINK", str(tmp_path / "metrics/linked.json"))
    target, link = str(tmp_path / "metrics/x.prom"), tmp_path / "ne/x.prom"
    refused = states().metrics_linked(target, str(tmp_path / "ne"))
    assert (refused["result"], refused["changes"]) == (False, {})
    assert "ne: dcgm:head_metrics:textfile_directory is no directory here" in refused["comment"]
    link.parent.mkdir()
    for directory, change in ((str(link.parent), {"old": None, "new": target}), ("", {"old": target, "new": None})):
        before = os.path.lexists(link)
        planned = states(True).metrics_linked(target, directory)
        assert (planned["result"], os.path.lexists(link)) == (None, before)
        done = states().metrics_linked(target, directory)
        assert (done["result"], done["changes"], planned["changes"]) == (True, {str(link): change}, {str(link): change})
        again = states().metrics_linked(target, directory)
        assert (again["result"], again["changes"]) == (True, {})
    assert not os.path.lexists(link)


def test_a_lock_is_held_by_one(tmp_path) -> None:
    path = str(tmp_path / "lock")
    assert is_free(path)
    with lock_local(path, 0):
        assert not is_free(path)
        with pytest.raises(Busy), lock_local(path, 0.2):
            pass
    assert is_free(path)


def test_a_change_that_fails_leaves_the_snapshot_as_it_was(tmp_path) -> None:
    path = str(tmp_path / "snapshot.json")
    with changing(path) as snapshot:
        snapshot["seq"] = 5
    with pytest.raises(RuntimeError), changing(path) as snapshot:
        snapshot["seq"] = 6
        raise RuntimeError
    assert read_snapshot(path)["seq"] == 5 and sorted(os.listdir(tmp_path)) == [
        "snapshot.json",
        "snapshot.json.lock",
    ]
