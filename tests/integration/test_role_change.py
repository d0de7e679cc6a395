"""From a role in BCM to the state of a node, through real Salt: engine, event, reactor, orchestration, minion."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from superpod_dcgm.base import files

from tests.fake_bcm import ok

NODE = "dgx-01"


ROLES = ["slurmclient", "storage"]


@pytest.fixture(autouse=True)
def running(cluster):
    """Every test begins with a node that has its roles and is owed nothing."""
    cluster.bcm(*ROLES)
    quiet = lambda: cluster.roles == ROLES and not cluster.snapshot["tries"]  # noqa: E731
    cluster.until("the node has its roles", quiet, timeout=120)
    return cluster


def test_the_first_poll_brings_roles_and_writes_the_target(cluster) -> None:
    record = json.loads(cluster.record.read_text())
    assert (record["roles"], record["category"]) == (["slurmclient", "storage"], "dgx")
    assert cluster.hosts == [NODE]
    assert cluster.call("bcm.roles")["roles"] == ["slurmclient", "storage"]
    assert cluster.call("grains.get", "bcm:roles") == ["slurmclient", "storage"]
    assert cluster.call("grains.get", "bcm:known") is True


def test_a_role_that_goes_and_comes_back_is_followed(cluster) -> None:
    cluster.bcm("storage")
    gone = cluster.until("gone", lambda: cluster.roles == ["storage"])
    assert cluster.hosts == []
    cluster.bcm(*ROLES)
    back = cluster.until("back", lambda: cluster.roles == ROLES)
    cluster.until("target", lambda: cluster.hosts == [NODE])
    print(f"role removed to the node's record {gone:.1f} s, added {back:.1f} s, polls every second")


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
    assert cluster.roles == ROLES and after["failures"] >= len(FAULTS)
    cluster.bcm("slurmclient", "storage")
    cluster.until("an answer", lambda: cluster.snapshot["failures"] == 0)


def test_an_event_that_a_minion_makes_up_changes_nothing(cluster) -> None:
    before = cluster.record.read_text()
    assert cluster.call("event.send", "superpod/bcm/roles/changed", '{"seq": 99}') is True
    cluster.polls(2)
    assert cluster.record.read_text() == before and cluster.snapshot["tries"] == {}


def provision(cluster) -> None:
    """Be a node that booted from an image without anything of ours but the modules."""
    for path in cluster.state.iterdir():
        path.unlink()
    with files.lock_local(f"{cluster.snapshot_file}.lock", 10):
        # The minion of the tests boots never.
        cluster.snapshot_file.write_text(json.dumps({**cluster.snapshot, "boots": {NODE: "another"}}))
    cluster.call("event.send", f"salt/minion/{NODE}/start")


def test_a_reconnect_rolls_nothing_out_and_a_node_that_lost_everything_gets_its_last_configuration(cluster) -> None:
    cluster.call("event.send", f"salt/minion/{NODE}/start")
    cluster.polls(3)
    assert cluster.applies == 0, "nobody deployed to it"
    cluster.call("state.apply", "dcgm")
    cluster.until("its configuration is kept", lambda: NODE in cluster.snapshot["applied"])
    assert (cluster.applies, cluster.last_cluster) == (1, "first")
    cluster.set_pillar("second")
    cluster.call("saltutil.refresh_pillar", "wait=True")
    cluster.call("event.send", f"salt/minion/{NODE}/start")
    cluster.bcm("storage")
    cluster.until("a role change", lambda: cluster.roles == ["storage"])
    cluster.polls(3)
    assert cluster.applies == 1, "a reconnect and a role change apply nothing"
    provision(cluster)
    cluster.until("repaired", lambda: NODE in cluster.snapshot["repaired"])
    assert (cluster.applies, cluster.last_cluster) == (2, "first")
    cluster.until("its roles", lambda: cluster.roles == ["storage"] and not cluster.snapshot["tries"])
    cluster.polls(3)
    assert cluster.applies == 2
    cluster.call("state.apply", "dcgm")
    digest = cluster.snapshot["applied"][NODE]
    cluster.until("the new configuration is kept", lambda: cluster.snapshot["applied"][NODE] != digest)
    assert cluster.last_cluster == "second"


def test_what_nobody_heard_is_found_by_asking(cluster) -> None:
    cluster.call("state.apply", "dcgm")
    cluster.until("told", lambda: NODE in cluster.snapshot["deployed"] and not cluster.snapshot["tries"])
    cluster.until("kept", lambda: cluster.snapshot["applied"].get(NODE))
    assert cluster.run("bcm.audit") == (0, {"deployed": [], "roleless": [], "strayed": [], "applied": []})
    (cluster.state / "applied.json").unlink()
    code, missed = cluster.run("bcm.audit")
    assert (code, missed["strayed"]) == (0, [NODE]), "it has nothing of the last apply"


def test_a_held_node_is_left_alone_until_it_is_let_go(cluster) -> None:
    code, held = cluster.run("dcgm.hold", NODE)
    assert code == 0 and "until it is let go" in held[NODE]
    cluster.bcm("storage")
    cluster.until("known", lambda: cluster.snapshot["nodes"][NODE]["roles"] == ["storage"])
    cluster.polls(3)
    before = cluster.applies
    code, report = cluster.run("dcgm.apply", "dcgm")
    assert (cluster.roles, cluster.applies, report["held"]) == (ROLES, before, [NODE])
    assert "held" in cluster.run("bcm.status")[1]["nodes"][NODE]["problem"]
    assert cluster.run("dcgm.unhold", NODE) == (0, {})
    cluster.until("followed", lambda: cluster.roles == ["storage"])
    assert cluster.run("dcgm.unhold", NODE)[0] == 1 and cluster.run("dcgm.hold", "dgx-77")[0] == 1


def test_an_administrators_run_comes_first_and_what_is_owed_comes_afterwards(cluster) -> None:
    """The roles are stored meanwhile; the service, of which the run may be in the middle, waits."""
    cluster.call("state.apply", "dcgm")
    cluster.until("kept", lambda: cluster.snapshot["applied"].get(NODE))
    record = {"unit": "x.service", "url": "http://127.0.0.1:1/metrics", "timeout": 1, "files": []}
    (cluster.state / "service.json").write_text(json.dumps({**record, "roles": {"source": "none", "run_on": []}}))
    job = cluster.master.salt_cli().run("--async", "state.single", "cmd.run", "name=sleep 15", minion_tgt=NODE)
    assert job.returncode == 0
    cluster.until("at work", lambda: cluster.call("saltutil.is_running", "state.*"))
    cluster.bcm("storage")
    cluster.until("owed", lambda: "state.single runs" in (attempt(cluster)["problem"] or ""))
    assert cluster.roles == ["storage"]
    (cluster.state / "service.json").unlink()
    cluster.until("done", lambda: not cluster.snapshot["tries"])


def attempt(cluster):
    return cluster.snapshot["tries"].get(NODE, {"problem": None, "count": 0})


def test_a_node_that_lost_its_roles_gets_them_again_when_it_is_deployed(cluster) -> None:
    cluster.record.unlink()
    cluster.call("state.apply", "dcgm")
    cluster.until("delivered", lambda: cluster.roles == ROLES and not cluster.snapshot["tries"])


def test_a_call_that_fails_has_its_reason_an_exit_code_and_is_tried_again(cluster) -> None:
    cluster.record.unlink()
    cluster.record.mkdir()
    (cluster.record / "x").touch()
    cluster.bcm("storage")
    cluster.until("tried", lambda: "cannot be stored" in (attempt(cluster)["problem"] or ""))
    cluster.until("tried again", lambda: attempt(cluster)["count"] >= 2)
    code, report = cluster.run("bcm.sync", NODE)
    assert code == 1 and report["failed"] == [NODE] and "cannot be stored" in report["nodes"][NODE]
    code, status = cluster.run("bcm.status")
    assert code == 0 and status["nodes"][NODE]["pending"] and "cannot be stored" in status["nodes"][NODE]["problem"]
    shutil.rmtree(cluster.record)


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
    cluster.bcm("slurmclient")
    cluster.until("followed", lambda: cluster.roles == ["slurmclient"])
    began = time.time()
    cluster.bcm("storage")
    # Events reach the listener by a way of their own, so the node may have followed before they are seen here.
    found = event_listener.wait_for_events(patterns, after_time=began, timeout=60)
    assert found.found_all_events, found.missed
    cluster.until("followed", lambda: cluster.roles == ["storage"])
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
    assert sorted(calls) == ["bcm.deliver_changes"] + ["dcgm.apply"] * 6 + ["dcgm.ready", "dcgm.report"]


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
