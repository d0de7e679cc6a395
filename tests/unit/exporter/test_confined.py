"""What others wrote runs as a user without privileges, who can write to his own directory only."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from superpod_dcgm.exporter import confined

VALUES = {"PATH": "/usr/bin", "HTTPS_PROXY": 'http://u:p"\\w@proxy'}


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Be root on a machine that knows the user."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)

    def known(name: str) -> SimpleNamespace:
        if name != "superpod-build":
            raise KeyError(name)
        return SimpleNamespace(pw_uid=373, pw_gid=374)

    monkeypatch.setattr(pwd, "getpwnam", known)
    monkeypatch.setattr(confined, "_BOOTED", str(tmp_path))
    monkeypatch.setattr(confined.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    return tmp_path


def place(root: Path, user: str = "superpod-build") -> confined.Place:
    return confined.Place(user, "/opt/b/work", str(root / "environment"), ("/var/cache/go",))


def test_systemd_confines_it_and_no_argument_has_a_secret(root: Path) -> None:
    command = confined.command(["make", "binary"], place(root), "/opt/b/work/source", 90.5, VALUES)
    assert command[:6] == ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", "--uid=superpod-build"]
    assert command[-3:] == ["--", "make", "binary"]
    properties = [word.removeprefix("--property=") for word in command if word.startswith("--property=")]
    assert {"ReadWritePaths=/opt/b/work", "ReadWritePaths=/var/cache/go", "RuntimeMaxSec=91"} <= set(properties)
    assert {"ProtectSystem=strict", "NoNewPrivileges=yes", "CapabilityBoundingSet="} <= set(properties)
    assert not [word for word in command if "proxy" in word]
    settings = root / "environment"
    assert settings.read_text() == 'PATH="/usr/bin"\nHTTPS_PROXY="http://u:p\\"\\\\w@proxy"\n'
    assert settings.stat().st_mode & 0o777 == 0o600


def test_without_a_running_systemd_only_the_user_changes(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(confined, "_BOOTED", "/nowhere")
    command = confined.command(["make"], place(root), "/", 5, VALUES)
    assert command[:3] == ["setpriv", "--reuid=373", "--regid=374"]
    assert command[-2:] == ["--", "make"]
    assert not (root / "environment").exists()


@pytest.mark.parametrize("user", ["", "root"])
def test_without_a_user_it_runs_as_whoever_calls(root: Path, user: str) -> None:
    assert confined.command(["make"], place(root, user), "/", 5, VALUES) == ["make"]
    assert confined.number(user) == 0


def test_a_user_who_is_missing_is_named(root: Path) -> None:
    with pytest.raises(confined.UserMissing, match=r"no user superpod-else: apply dcgm\.users"):
        confined.as_user(["make"], "superpod-else")


def test_the_directory_is_given_to_the_user_alone(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(os, "chown", lambda path, uid, gid: given.append((path, uid, gid)))
    confined.give(str(root / "work"), "superpod-build")
    assert given == [(str(root / "work"), 373, 374)]
    assert (root / "work").stat().st_mode & 0o777 == 0o700
    assert confined.number("superpod-build") == 373


def test_the_words_for_setpriv_are_words_that_it_knows() -> None:
    usage = subprocess.run(["setpriv", "--help"], capture_output=True, text=True, check=True).stdout
    assert [word for word in confined._PRIVILEGES if word.partition("=")[0] not in usage] == []
