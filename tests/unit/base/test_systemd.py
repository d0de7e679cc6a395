"""What systemctl says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.base import process, systemd


@pytest.fixture
def systemctl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(process, "PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "systemctl"


def say(systemctl: Path, script: str) -> None:
    systemctl.write_text(f"#!/bin/sh\n{script}\n")
    systemctl.chmod(0o755)


def test_the_properties_of_a_unit_are_read(systemctl: Path) -> None:
    say(systemctl, 'echo "$@" >&2; echo ActiveState=active; echo; echo Environment=a=b; echo nonsense')
    assert systemd.show("x.service") == {"ActiveState": "active", "Environment": "a=b"}


@pytest.mark.parametrize(
    ("script", "reason"), [("echo no unit x >&2; exit 5", "no unit x"), ("echo out; exit 1", "out")]
)
def test_a_refusal_has_the_command_and_the_reason(systemctl: Path, script: str, reason: str) -> None:
    say(systemctl, script)
    with pytest.raises(systemd.UnitError, match=f"systemctl --no-pager restart x.service: {reason}"):
        systemd.systemctl("restart", "x.service")


@pytest.mark.parametrize(
    ("state", "up"),
    [("active", True), ("activating", True), ("reloading", True), ("failed", False), ("inactive", False), ("", False)],
)
def test_a_unit_is_up_also_between_two_of_its_restarts(state: str, up: bool) -> None:
    assert systemd.is_up({"ActiveState": state} if state else {}) is up


def test_the_last_words_are_those_of_the_units_own_processes(systemctl: Path) -> None:
    journal = systemctl.parent / "journalctl"
    say(journal, 'case "$*" in *_SYSTEMD_UNIT=x.service*) echo first; echo " last "; echo;; *) echo systemd;; esac')
    assert systemd.last_words("x.service") == "last"
    say(journal, 'case "$*" in *--unit=x.service*) echo "Failed at step EXEC";; esac')
    assert systemd.last_words("x.service") == "Failed at step EXEC"
    say(journal, "exit 1")
    assert systemd.last_words("x.service") == ""


def test_a_unit_that_systemd_does_not_know_need_not_forget(systemctl: Path) -> None:
    say(systemctl, f'echo "$@" >> {systemctl.parent}/log; exit 1')
    systemd.forget_failure("x.service")
    assert (systemctl.parent / "log").read_text() == "--no-pager reset-failed x.service\n"
