"""What the command line accepts, and how it says no."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from superpod import testing
from superpod.cli import main
from superpod.errors import SuperpodError
from superpod.lab import cgroups, preflight, report
from superpod.lab import cli as lab_cli


class NoLab:
    """Stands for a lab that was asked for something."""

    asked: list[Any]

    def __init__(self) -> None:
        self.asked = []

    def __getattr__(self, name: str) -> Any:
        def ask(*arguments: Any) -> Any:
            self.asked.append((name, *arguments))
            return {"run_job": 17, "roles": ["a", "b"]}.get(name)

        return ask


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> NoLab:
    lab = NoLab()
    monkeypatch.setattr(lab_cli, "_lab", lambda _context: lab)
    return lab


@pytest.mark.parametrize(
    ("line", "asked", "said"),
    [
        ("run-job --gpus 3 --seconds 5", ("run_job", 3, 5, None), "17\n"),
        ("roles dgx-01 -slurmclient +x", ("roles", "dgx-01", "-slurmclient", "+x"), "a b\n"),
        ("reboot dgx-01 --provision", ("reboot", "dgx-01", True), ""),
        ("reboot dgx-01", ("reboot", "dgx-01", False), ""),
        ("kill dgx-01", ("kill", "dgx-01"), ""),
        ("fault http-500 on", ("fault", "http-500", True), ""),
        ("down", ("down",), "The lab 'default' is down.\n"),
    ],
)
def test_a_sub_command_asks_the_lab(lab: NoLab, line: str, asked: tuple[Any, ...], said: str) -> None:
    result = CliRunner().invoke(main, ["lab", *line.split()])
    assert (result.exit_code, lab.asked[-1], result.stdout) == (0, asked, said)


@pytest.mark.parametrize("line", ["run-job --gpus 9", "run-job --gpus 0", "fault down maybe", "nothing", "exec head"])
def test_wrong_arguments_exit_with_two(lab: NoLab, line: str) -> None:
    result = CliRunner().invoke(main, ["lab", *line.split()])
    assert (result.exit_code, lab.asked) == (2, [])


def test_a_change_of_roles_needs_its_sign(lab: NoLab) -> None:
    result = CliRunner().invoke(main, ["lab", "roles", "dgx-01", "slurmclient"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == "Error: 'slurmclient' is no change of roles; write +ROLE or -ROLE.\n"


def test_status_of_a_lab_that_is_down_is_json_and_exit_code_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lab_cli, "_lab", lambda _context: SimpleNamespace(name="x", record={}))
    result = CliRunner().invoke(main, ["lab", "status", "--json"])
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (1, "down")


def test_an_error_is_one_sentence_on_stderr_and_its_exit_code(lab: NoLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_name: str) -> None:
        raise SuperpodError("No [such] machine.", 5)

    monkeypatch.setattr(lab, "kill", fail, raising=False)
    result = CliRunner().invoke(main, ["lab", "kill", "x"])
    assert (result.exit_code, result.stdout, result.stderr) == (5, "", "Error: No [such] machine.\n")


def test_the_lab_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight.os, "geteuid", lambda: 1000)
    result = CliRunner().invoke(main, ["lab", "kill", "head"])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The lab needs root")


def test_arguments_of_test_reach_pytest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], dict[str, str]]] = []

    def run(argv: list[str], env: dict[str, str], **_: Any) -> Any:
        calls.append((argv, env))
        return type("Done", (), {"returncode": 3})

    monkeypatch.setattr(testing.subprocess, "run", run)
    monkeypatch.setattr(testing.os, "sched_getaffinity", lambda _process: range(2))
    monkeypatch.delenv("SUPERPOD_TEST_FAST", raising=False)
    monkeypatch.delenv("SUPERPOD_TEST_LONG", raising=False)
    result = CliRunner().invoke(main, ["test", "--fast", "-k", "one", "tests/unit"])
    assert result.exit_code == 3
    # Behind ours, so that the user's words win.
    workers = ["--dist", "loadfile", "--no-loadscope-reorder"]
    assert calls[0][0][-8:] == ["-n", "2", *workers, "-k", "one", "tests/unit"]
    assert calls[0][1]["SUPERPOD_TEST_FAST"] == "1"
    CliRunner().invoke(main, ["test", "-n", "0"])
    assert calls[1][0][-7:] == ["-n", "3", *workers, "-n", "0"], "two labs, and one for the others"
    assert not {"SUPERPOD_TEST_FAST", "SUPERPOD_TEST_LONG"} & calls[1][1].keys()
    CliRunner().invoke(main, ["test", "--long", "tests/boards"])
    assert calls[2][0][-1] == "tests/boards" and calls[2][1]["SUPERPOD_TEST_LONG"] == "1"


MOUNTS = """\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw
42 31 0:39 / /mnt/with\\040blank rw - cgroup2 none rw
37 31 0:34 / /sys/fs/cgroup/freezer rw,relatime - cgroup cgroup rw,freezer
"""


def test_cgroup2_mounts_are_found_among_all_others() -> None:
    assert cgroups.parse_mounts(MOUNTS) == [Path("/sys/fs/cgroup/unified"), Path("/mnt/with blank")]


@pytest.mark.parametrize(("text", "value"), [("Name:\tx\nCapEff:\t0000000000200000\n", 1 << 21), ("Name:\tx\n", 0)])
def test_capabilities_are_read_from_the_status_of_a_process(text: str, value: int) -> None:
    assert preflight.capabilities(text) == value


@pytest.mark.parametrize(
    ("name", "result", "sentence"),
    [
        ("_architecture", ("platform", "machine", "aarch64"), "this machine is aarch64"),
        ("_tools", ("shutil", "which", None), "The lab needs unshare, nsenter, systemd-nspawn"),
    ],
)
def test_each_thing_that_is_lacking_has_its_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, result: tuple[str, str, Any], sentence: str
) -> None:
    module, function, value = result
    monkeypatch.setattr(getattr(preflight, module), function, lambda *_: value)
    assert sentence in getattr(preflight, name)()


def test_a_full_disk_is_told_with_what_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SUPERPOD_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SUPERPOD_LAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 10 * 2**20}))
    assert preflight._space() == [f"The lab needs 4000 MB of disk space at {tmp_path}, and 10 MB are free."]
    assert list(tmp_path.iterdir()) == []


def test_the_probe_of_a_machine_is_read_by_key() -> None:
    assert report.parse_probe('system running\nfailed \nroles ["a","b"]\n') == {
        "system": "running",
        "failed": "",
        "roles": '["a","b"]',
    }


def test_releases_of_another_repository_reach_the_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(preflight, "check", lambda: None)
    monkeypatch.setattr(lab_cli.ui, "open_log", lambda _verb: tmp_path / "log")
    monkeypatch.setattr(lab_cli.deployment, "up", lambda _lab, *given: asked.append(given))
    monkeypatch.setattr(lab_cli.show, "result", lambda *_: None)
    words = [
        "lab",
        "--name",
        "cli-test",
        "up",
        "--upstream",
        "https://example.org/x.git",
        "--release",
        "2",
        "--release",
        "1",
    ]
    assert CliRunner().invoke(main, words).exit_code == 0
    assert CliRunner().invoke(main, ["lab", "--name", "cli-test", "up"]).exit_code == 0
    assert asked == [
        (None, "https://example.org/x.git", True, False, ("2", "1"), None),
        (None, None, True, False, (), None),
    ]
