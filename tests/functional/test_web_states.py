"""The exporter's web configuration is written only where its user can have the key, and shows nothing of itself."""

from __future__ import annotations

import getpass
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import readable

MARK = "# Written by the Salt state dcgm.exporter.web.\n"
TEXT = f"{MARK}basic_auth_users:\n  prom: $2y$05$abcdef\n"
USER = getpass.getuser()


@pytest.fixture
def pair(tmp_path: Path) -> dict[str, str]:
    """A certificate and its key, as a site puts them on a node."""
    found = {"certificate": f"{tmp_path}/tls.crt", "key": f"{tmp_path}/tls.key"}
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x"]
    subprocess.run([*made, "-keyout", found["key"], "-out", found["certificate"]], check=True, capture_output=True)
    os.chmod(found["key"], 0o640)
    return found


def problems(pair: dict[str, str], by: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(readable, "by", lambda _user, path: by(path))
    return readable.pair_problems(pair["certificate"], pair["key"], "dcgm-exporter", "dcgm:exporter:tls")


def test_a_pair_that_its_user_can_read_and_others_cannot_is_right(
    pair: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert problems(pair, lambda _: True, monkeypatch) == []


def test_what_is_wrong_with_a_pair_is_told_with_its_key_and_never_what_is_in_it(
    pair: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = pair["key"]
    (sentence,) = problems(pair, lambda path: path != key, monkeypatch)
    assert sentence.startswith(f"dcgm:exporter:tls:key: {key} cannot be read by the user dcgm-exporter")
    os.chmod(key, 0o644)
    (sentence,) = problems(pair, lambda _: True, monkeypatch)
    assert sentence == f"dcgm:exporter:tls:key: {key} can be read by everybody; take that right away (chmod o-r)"
    os.chmod(key, 0o600)
    other = tmp_path / "other.key"
    subprocess.run(["openssl", "genrsa", "-out", other, "2048"], check=True, capture_output=True)
    os.chmod(other, 0o600)
    (sentence,) = problems({**pair, "key": str(other)}, lambda _: True, monkeypatch)
    assert "are no pair of a certificate and its key: key values mismatch" in sentence
    other.write_text("secret")
    (sentence,) = problems({**pair, "key": str(other)}, lambda _: True, monkeypatch)
    assert "are no pair" in sentence and "secret" not in sentence
    missing = problems({"certificate": "/no/c", "key": "/no/k"}, lambda _: True, monkeypatch)
    assert missing == [
        "dcgm:exporter:tls:certificate: /no/c is not there; put it on this machine",
        "dcgm:exporter:tls:key: /no/k is not there; put it on this machine",
    ]


def configured(states: Any, path: Path, contents: str = TEXT, user: str = USER, **more: Any) -> Any:
    return states.dcgm_web.configured(str(path), contents=contents, user=user, **more)


def test_nothing_is_written_where_the_pillar_has_nothing(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    assert configured(states, path, "").changes == {}
    assert not path.exists()


def test_it_is_written_for_its_user_alone_and_not_shown(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    assert configured(states, path, test=True).result is None
    ret = configured(states, path)
    assert (ret.result, "$2y" in str(ret)) == (True, False)
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_uid) == (0o640, os.geteuid())
    assert configured(states, path).changes == {}
    os.chmod(path, 0o644)
    assert configured(states, path).changes != {}


def test_a_file_of_somebody_else_stays(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("basic_auth_users: {}\n")
    assert "was not written by this project" in configured(states, path).comment
    assert states.dcgm_web.removed(str(path)).changes == {}
    assert path.exists()


def test_a_key_that_is_missing_stops_it_before_anything_is_written(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    ret = configured(states, path, certificate="/no/c", key="/no/k")
    assert (ret.result, path.exists()) == (False, False)
    assert "dcgm:exporter:tls:key: /no/k is not there" in ret.comment


def test_a_user_who_is_not_made_yet_is_told_only_in_test_mode(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    assert configured(states, path, user="nobody-of-ours", test=True).result is None
    assert configured(states, path, user="nobody-of-ours").result is False


def test_it_goes_once_nothing_reads_it(states: Any, tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text(TEXT)
    assert states.dcgm_web.removed(str(path), contents=TEXT).changes == {}
    assert states.dcgm_web.removed(str(path), test=True).result is None
    assert states.dcgm_web.removed(str(path)).changes == {"removed": str(path)}
    assert not path.exists()
