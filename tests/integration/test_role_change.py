"""From a role in BCM to the state of a node, through real Salt: engine, event, reactor, orchestration, minion."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from superpod_dcgm.base import files

from tests.fake_bcm import ok

NODE = "dgx-01"


@pytest.fixture(autouse=True)
def running(cluster):
    """Every test begins with a node that has its role and is owed nothing."""
    cluster.bcm("slurmclient", "storage")
    quiet = lambda: cluster.service == "running" and not cluster.snapshot["tries"]  # noqa: E731
    cluster.until("the node has its roles", quiet, timeout=120)
    return cluster


def test_the_first_poll_delivers_roles_and_writes_the_target(cluster) -> None:
    record = json.loads(cluster.record.read_text())
    assert (record["roles"], record["category"]) == (["slurmclient", "storage"], "dgx")
    assert cluster.hosts == [NODE]
    assert cluster.call("bcm.roles")["roles"] == ["slurmclient", "storage"]
    assert cluster.call("grains.get", "bcm:roles") == ["slurmclient", "storage"]
    assert cluster.call("grains.get", "bcm:known") is True


def test_a_role_that_goes_and_comes_back_is_followed(cluster) -> None:
    cluster.bcm("storage")
    gone = cluster.until("stopped", lambda: cluster.service == "stopped")
    assert cluster.hosts == []
    cluster.bcm("slurmclient", "storage")
    back = cluster.until("running", lambda: cluster.service == "running")
    cluster.until("target", lambda: cluster.hosts == [NODE])
    print(f"role removed to state applied {gone:.1f} s, added {back:.1f} s, polls every second")


FAULTS = {
    "HTTP 500": lambda request: (500, {}, b"[]"),
    "refused": lambda request: (401, {}, b""),
    "not a list": lambda request: ok({"errormessage": "no"}),
    "not JSON": lambda request: (200, {}, b"<html>"),
    "is empty": lambda request: ok([]),
    "passive": lambda request: (307, {"Location": "https://other/"}, b""),
    "known nodes": lambda request: ok([{"hostname": "stranger", "roles": []}]),
}


def test_no_fault_of_bcm_changes_anything(cluster) -> None:
    before = cluster.snapshot
    for text, answer in FAULTS.items():
        cluster.fake.answer = answer
        cluster.until(text, lambda text=text: text in (cluster.snapshot["error"] or ""))
    after = cluster.snapshot
    assert (after["nodes"], after["seq"], cluster.hosts) == (before["nodes"], before["seq"], [NODE])
    assert cluster.service == "running" and after["failures"] >= len(FAULTS)
    cluster.bcm("slurmclient", "storage")
    cluster.until("an answer", lambda: cluster.snapshot["failures"] == 0)


def test_an_event_that_a_minion_makes_up_changes_nothing(cluster) -> None:
    before = cluster.record.read_text()
    assert cluster.call("event.send", "superpod/bcm/roles/changed", '{"seq": 99}') is True
    cluster.polls(2)
    assert cluster.record.read_text() == before and cluster.snapshot["tries"] == {}


def test_a_node_that_starts_gets_the_whole_apply_once_it_was_deployed(cluster) -> None:
    start = ("event.send", f"salt/minion/{NODE}/start")
    cluster.call(*start)
    cluster.polls(3)
    assert cluster.applies == 0, "nobody deployed to it"
    cluster.call("state.apply", "dcgm")
    assert cluster.applies == 1
    cluster.until("told", lambda: NODE in cluster.snapshot["deployed"])
    cluster.call(*start)
    cluster.until("the whole apply", lambda: cluster.applies == 2)
    cluster.until("settled", lambda: not cluster.snapshot["started"] and not cluster.snapshot["tries"])


def test_a_start_that_nobody_heard_is_found_by_asking(cluster) -> None:
    cluster.call("state.apply", "dcgm")
    cluster.until("told", lambda: NODE in cluster.snapshot["deployed"] and not cluster.snapshot["tries"])
    assert cluster.run("bcm.audit") == (0, {"started": [], "roleless": [], "strayed": []})
    snapshot = cluster.snapshot
    snapshot["deployed"][NODE] = "2020-01-01T00:00:00Z"
    with files.lock_local(f"{cluster.snapshot_file}.lock", 10):
        cluster.snapshot_file.write_text(json.dumps(snapshot))
    code, missed = cluster.run("bcm.audit")
    assert (code, missed["started"]) == (0, [NODE]), "it has no release, and booted since"


def test_a_node_that_lost_its_roles_gets_them_again_when_it_is_deployed(cluster) -> None:
    cluster.record.unlink()
    cluster.call("state.apply", "dcgm")
    cluster.until("delivered", lambda: cluster.record.exists())
    cluster.until("running", lambda: cluster.service == "running" and not cluster.snapshot["tries"])


def test_a_failed_state_ends_the_orchestration_with_an_exit_code_and_is_tried_again(cluster) -> None:
    cluster.bcm("slurmclient", "broken")
    problem = "Fail because of a role of this test: no room on the device"
    attempt = lambda: cluster.snapshot["tries"].get(NODE, {"problem": None, "count": 0})  # noqa: E731
    cluster.until("tried", lambda: attempt()["problem"] == problem)
    cluster.until("tried again", lambda: attempt()["count"] >= 2)
    code, report = cluster.run("bcm.sync", NODE)
    assert code == 1 and report["failed"] == [NODE] and problem in report["nodes"][NODE]
    code, status = cluster.run("bcm.status")
    assert code == 0 and status["nodes"][NODE]["pending"] and status["nodes"][NODE]["problem"] == problem


def test_asking_is_the_report_and_what_was_said_is_known_without_asking(cluster) -> None:
    code, found = cluster.run("bcm.status", "ask=True")
    # Nothing is installed on this node, which its roles want to run the exporter.
    assert (code, found["failed"], found["asked"]) == (1, [NODE], 1)
    assert cluster.run("dcgm.report")[1].keys() == found.keys()
    code, short = cluster.run("dcgm.report", "short=True")
    assert code == 1 and short["nodes"][NODE].startswith("failed: release none, stopped, should be running")
    code, later = cluster.run("bcm.status")
    assert (code, later["nodes"][NODE]["service"], later["nodes"][NODE]["silent"]) == (0, "stopped", None)
    assert later["nodes"][NODE]["seen"] and "failed" not in later


def test_the_status_is_a_table_on_the_command_line(cluster) -> None:
    command = cluster.master.salt_run_cli().cmdline("bcm.status")
    argv = [part for part in command if not part.startswith("--out")]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    titles = next(line.split() for line in done.stdout.splitlines() if "WANTED" in line)
    assert titles[-5:] == ["WANTED", "IS", "RELEASE", "ASKED", "ROLES"]
    assert any(line.startswith(NODE) for line in done.stdout.splitlines())


def test_sync_delivers_again_and_reports_on_each_node(cluster) -> None:
    cluster.record.unlink()
    code, report = cluster.run("bcm.sync")
    assert (code, report["failed"], report["down"]) == (0, [], []) and report["nodes"][NODE].startswith("ok: ")
    assert cluster.record.exists()
    code, _ = cluster.run("bcm.sync", "dgx-77")
    assert code == 1


def test_the_heartbeat_and_the_change_are_events(cluster, event_listener) -> None:
    patterns = [(cluster.master.id, "superpod/bcm/heartbeat"), (cluster.master.id, "superpod/bcm/roles/changed")]
    cluster.polls(2)
    began = event_listener.store[-1].stamp if event_listener.store else None
    cluster.bcm("storage")
    cluster.until("stopped", lambda: cluster.service == "stopped")
    found = event_listener.get_events(patterns, after_time=began.timestamp() - 1 if began else 0)
    tags = {event.tag: event.data for event in found}
    assert set(tags["superpod/bcm/heartbeat"]) >= {"seq", "updated", "failures", "error"}
    assert set(tags["superpod/bcm/roles/changed"]) - {"_stamp"} == {"seq"}


def test_the_orchestrations_render(cluster) -> None:
    names = ",".join(f"dcgm.orch.{name}" for name in ("deploy", "remove", "roles_changed"))
    code, shown = cluster.run("state.orchestrate_show_sls", names)
    steps = next(iter(shown.values()))
    assert code == 0 and isinstance(steps, dict), steps
    calls = [
        part["name"] for step in steps.values() for part in step["salt"] if isinstance(part, dict) and "name" in part
    ]
    assert sorted(calls) == ["bcm.deliver_changes"] + ["dcgm.apply"] * 5 + ["dcgm.ready", "dcgm.report"]


@pytest.mark.parametrize("verb", [("dcgm.report",), ("dcgm.apply", "dcgm")])
def test_a_match_that_finds_nobody_or_nobody_who_answers_is_a_failure(cluster, verb) -> None:
    code, report = cluster.run(*verb, "tgt=dgx-77")
    assert (code, report["problem"][:19]) == (1, "no accepted minion ")
    accepted = cluster.master.config["pki_dir"] + "/minions/"
    shutil.copy(accepted + NODE, accepted + "dgx-03")
    code, report = cluster.run(*verb, "tgt=dgx-03")
    assert (code, report["problem"], report["down"]) == (1, "none of 1 matched minions answers", ["dgx-03"])
    (Path(accepted) / "dgx-03").unlink()


def test_a_node_that_is_down_is_reported_stays_pending_and_fails_nothing(cluster) -> None:
    keys = cluster.root / "keys"
    keys.mkdir()
    accepted = cluster.master.config["pki_dir"] + "/minions/"
    shutil.copy(accepted + NODE, accepted + "dgx-02")
    cluster.bcm("slurmclient", "storage", **{"dgx-02": ["slurmclient"]})
    cluster.until("tried", lambda: "dgx-02" in cluster.snapshot["tries"])
    cluster.until("reported", lambda: cluster.snapshot["tries"]["dgx-02"]["problem"])
    assert cluster.hosts == [NODE, "dgx-02"], "a node that is down is a target that is down"
    code, report = cluster.run("bcm.sync", "dgx-02")
    assert (code, report["failed"], report["down"]) == (0, [], ["dgx-02"])
    code, report = cluster.run("dcgm.apply", "dcgm")
    assert (code, report["failed"], report["down"]) == (0, [], ["dgx-02"]) and report["nodes"][NODE].startswith("ok: ")
