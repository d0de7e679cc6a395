"""Machines of the lab start, are repaired, lose what BCM nodes lose, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from traces import left_behind, traces

from superpod.errors import SuperpodError
from superpod.lab import Lab, cgroups, report
from superpod.lab.deployment import up
from superpod.lab.layout import HEAD


@pytest.fixture(scope="module")
def nothing(new_lab: Callable[[str], Lab]) -> Lab:
    """A lab that is down."""
    return new_lab("life")


@pytest.fixture(scope="module")
def before(nothing: Lab) -> set[str]:
    return traces(nothing.name)


@pytest.fixture(scope="module")
def life(nothing: Lab, before: set[str], say: Callable[[str], None]) -> Lab:
    """A lab of one node without a deployment."""
    lab = nothing
    started = time.monotonic()
    up(lab, nodes=1, deploy=False)
    say(f"a lab of one node is up: after {time.monotonic() - started:.1f} s")
    return lab


@pytest.fixture
def running(life: Lab) -> Lab:
    """The lab with all of its machines on; what the test before left well is left alone."""
    if report.status(life)["state"] != "up":
        up(life, deploy=False)
    return life


def boots(lab: Lab) -> dict[str, str]:
    script = "systemctl show -P UserspaceTimestampMonotonic; systemctl show -P MainPID salt-minion"
    return {name: f"{lab.machine(name).pid} {lab.exec(name, ['bash', '-c', script]).stdout}" for name in lab.machines}


def put(lab: Lab, path: str) -> None:
    lab.exec("dgx-01", ["touch", path], check=True)


def has(lab: Lab, path: str) -> bool:
    return lab.exec("dgx-01", ["test", "-e", path]).returncode == 0


def identity(lab: Lab) -> str:
    files = "/etc/machine-id /etc/salt/minion_id /etc/salt/pki/minion/minion.pem"
    return lab.exec("dgx-01", ["bash", "-c", f"sha256sum {files}"], check=True).stdout


def test_every_machine_is_booted_by_systemd_and_no_unit_failed(running: Lab) -> None:
    for name in running.machines:
        assert running.exec(name, ["cat", "/proc/1/comm"]).stdout.strip() == "systemd"
        assert running.exec(name, ["systemctl", "is-system-running"]).stdout.strip() == "running"


def test_all_minions_answer_and_slurm_has_its_node(running: Lab) -> None:
    answers, code = running.salt("*", "test.ping")
    assert (answers, code) == ({HEAD: True, "dgx-01": True}, 0)
    assert running.exec("head", ["sinfo", "-h", "-o", "%D %T"]).stdout.split() == ["1", "idle"]


def test_the_master_runs_as_an_ordinary_user(running: Lab) -> None:
    script = 'stat -c %U "/proc/$(systemctl show -P MainPID salt-master)"'
    assert running.exec("head", ["bash", "-c", script]).stdout.strip() == "salt"


def test_no_machine_can_leave_the_lab(running: Lab) -> None:
    assert running.exec("dgx-01", ["ip", "route", "show", "default"]).stdout == ""


def test_up_twice_restarts_nothing(running: Lab) -> None:
    first = boots(running)
    up(running, deploy=False)
    assert boots(running) == first


def test_exec_gives_output_and_exit_code_of_the_command(running: Lab) -> None:
    command = [sys.executable, "-m", "superpod", "lab", "--name", running.name, "exec", "dgx-01", "--", "sh", "-c"]
    done = subprocess.run([*command, "echo out; echo err >&2; exit 7"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 7)


def test_an_unknown_machine_is_refused_in_one_sentence(running: Lab) -> None:
    command = [sys.executable, "-m", "superpod", "lab", "--name", running.name, "exec", "dgx-09", "true"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip().splitlines() == [
        f"Error: There is no machine 'dgx-09' in the lab '{running.name}' (machines: {HEAD}, dgx-01)."
    ]


def test_a_second_start_of_the_same_name_waits_for_the_first(running: Lab) -> None:
    command = [sys.executable, "-m", "superpod", "lab", "--name", running.name, "up", "--no-deploy"]
    first = boots(running)
    both = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[1] for process in both] == ["", ""]
    assert [process.returncode for process in both] == [0, 0]
    assert boots(running) == first


def test_a_machine_that_lost_power_is_reported_and_started_again(running: Lab) -> None:
    put(running, "/etc/marker")
    running.kill("dgx-01")
    found = report.status(running)
    assert found["state"] == "degraded"
    assert [machine["state"] for machine in found["machines"]] == ["running", "off"]
    up(running, deploy=False)
    assert report.status(running)["state"] == "up"
    assert has(running, "/etc/marker")


def test_a_stopped_service_is_reported_and_started_again(running: Lab) -> None:
    running.exec("dgx-01", ["systemctl", "stop", "slurmd"], check=True)
    node = report.status(running)["machines"][1]
    assert node["stopped"] == ["slurmd.service"]
    up(running, deploy=False)
    assert report.status(running)["machines"][1]["stopped"] == []


def test_a_reboot_keeps_the_disk_and_loses_run(running: Lab) -> None:
    put(running, "/etc/marker")
    put(running, "/run/marker")
    before = identity(running)
    running.reboot("dgx-01")
    assert has(running, "/etc/marker")
    assert not has(running, "/run/marker")
    assert identity(running) == before


def test_a_reboot_from_inside_works_as_well(running: Lab, wait_until: Callable[..., object]) -> None:
    put(running, "/run/marker")
    running.exec("dgx-01", ["systemctl", "reboot"])
    wait_until("dgx-01 rebooted", lambda: running.machine("dgx-01").pid and not has(running, "/run/marker"))
    assert running.machine("dgx-01").wait_booted() == "running"


def test_provisioning_makes_the_disk_the_image_again_but_for_the_exclude_lists(running: Lab) -> None:
    for path in ("/etc/marker", "/usr/bin/marker", "/root/marker", "/var/log/marker"):
        put(running, path)
    running.exec("dgx-01", ["rm", "/usr/bin/curl"], check=True)
    before = identity(running)
    running.reboot("dgx-01", provision=True)
    left = [
        path for path in ("/etc/marker", "/usr/bin/marker", "/root/marker", "/var/log/marker") if has(running, path)
    ]
    assert left == ["/var/log/marker"]
    assert has(running, "/usr/bin/curl")
    assert identity(running) == before
    assert running.exec("dgx-01", ["salt-call", "test.ping"]).returncode == 0


def test_the_lab_grows_while_it_runs(running: Lab) -> None:
    head = running.machine("head").pid
    up(running, nodes=2, deploy=False)
    assert running.machine("head").pid == head
    assert sorted(running.salt("*", "test.ping")[0]) == [HEAD, "dgx-01", "dgx-02"]
    job = running.run_job(1, 1, node="dgx-02")
    running.exec("head", ["scancel", str(job)], check=True)


def test_it_does_not_shrink_while_it_runs(running: Lab) -> None:
    with pytest.raises(SuperpodError, match="take it down first"):
        up(running, nodes=1, deploy=False)


def test_what_kill_nine_left_of_machine_and_holder_is_repaired(running: Lab, before: set[str]) -> None:
    starter = cgroups.members(running.machine("dgx-01").group / "supervisor")
    for pid in starter:
        os.kill(pid, signal.SIGKILL)
    assert starter, "systemd-nspawn was not found"
    running.reboot("dgx-01")
    holder = running.holder.pid
    assert holder
    os.kill(holder, signal.SIGKILL)
    up(running, deploy=False)
    assert report.status(running)["state"] == "up"


def test_down_after_a_crash_of_everything_leaves_nothing(life: Lab, before: set[str]) -> None:
    pids = [pid for name in life.machines for pid in cgroups.members(life.machine(name).group / "supervisor")]
    for pid in [*pids, life.holder.pid]:
        if pid:
            os.kill(pid, signal.SIGKILL)
    life.down()
    assert left_behind(life.name, before) == set()


def test_down_leaves_nothing(life: Lab, before: set[str], say: Callable[[str], None]) -> None:
    up(life, nodes=1, deploy=False)
    assert len(left_behind(life.name, before)) > 5
    started = time.monotonic()
    life.down()
    say(f"down: after {time.monotonic() - started:.1f} s")
    assert left_behind(life.name, before) == set()
    assert report.status(life) == {"name": life.name, "state": "down", "machines": []}


def test_down_without_a_lab_is_no_error(life: Lab, before: set[str]) -> None:
    life.down()
    life.down()
    assert left_behind(life.name, before) == set()


@pytest.fixture
def litter(life: Lab, tmp_path: Path) -> Iterator[None]:
    """One of each kind of what the tests above look for."""
    group = cgroups.lab_group(life.name)
    group.mkdir()
    process = subprocess.Popen(["unshare", "--net", "--mount", "sleep", "60"])
    subprocess.run(["mount", "-n", "-t", "tmpfs", "tmpfs", str(tmp_path)], check=True)
    yield
    subprocess.run(["umount", "-n", str(tmp_path)], check=True)
    process.kill()
    process.wait()
    group.rmdir()


def test_the_search_for_leftovers_finds_leftovers(life: Lab, before: set[str], litter: None) -> None:
    time.sleep(0.3)
    kinds = {line.split(" ")[0] for line in left_behind(life.name, before)}
    assert kinds == {"group", "process", "mount"}


def test_status_is_json_for_programs(life: Lab) -> None:
    command = [sys.executable, "-m", "superpod", "lab", "--name", life.name, "status", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert json.loads(done.stdout) == {"name": life.name, "state": "down", "machines": []}
    assert done.returncode == 1
