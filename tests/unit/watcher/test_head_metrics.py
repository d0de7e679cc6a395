"""The watcher's own metrics: what a poll leaves on the head for Prometheus, and by what target it is found."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from superpod_dcgm.base import names, own_code
from superpod_dcgm.watcher import cmdaemon, poll, sources, targets
from superpod_dcgm.watcher.device_list import Unknown
from superpod_dcgm.watcher.snapshot import changing

MEMBERS = {"dgx-01": "dgx-01", "dgx-02": "dgx-02.cluster", "dgx-03": "dgx-03"}
ON, OFF = ["slurmclient"], []


class Head:
    """The settings of a watcher, and what its polls leave."""

    def __init__(self, root: Path) -> None:
        self.file = root / "metrics/superpod-dcgm-head.prom"
        self.targets = root / "targets"
        self.targets.mkdir()
        self.settings: dict[str, Any] = {
            "cluster": "test",
            "hosts": {"nodes": "*"},
            "roles": {"source": "bcm", "run_on": ["slurmclient"], "static": {}},
            "watcher": {"interval": 30, "minimum_share": 0.5, "confirm": 3, "batch": "20%"},
            "targets": {"enabled": True, "directory": str(self.targets), "labels": {"site": "north"}},
            "exporter": {"enabled": True, "port": 9400, "release": "4.5.3-4.8.2"},
            "metrics": {"served": True, "port": 9401},
            "head_metrics": {"enabled": True, "served": True, "port": 9402, "file": str(self.file)},
            "snapshot": str(root / "snapshot.json"),
        }
        self.roles: dict[str, list[str]] | None = {"dgx-01": ON, "dgx-02": ON, "dgx-03": OFF}

    def ask(self, *_: object) -> Any:
        if self.roles is None:
            raise Unknown("no answer")
        listed = {"head": ["headnode"], **self.roles}
        return cmdaemon.parse(json.dumps([{"hostname": name, "roles": given} for name, given in listed.items()]), "m")

    def poll(self, members: dict[str, str] | None = MEMBERS) -> list[str]:
        return poll.poll(self.settings, members).lines

    def metrics(self) -> dict[str, float]:
        families = text_string_to_metric_families(self.file.read_text())
        samples = [one for family in families for one in family.samples]
        return {" ".join([one.name, *one.labels.get("kind", "").split()]): one.value for one in samples}

    def target(self) -> dict[str, Any]:
        (path,) = (self.targets / targets.HEAD).glob("[!_]*.json")
        (entry,) = json.loads(path.read_text())
        return {"file": path.stem, "targets": entry["targets"], **entry["labels"]}


@pytest.fixture
def head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    found = Head(tmp_path)
    monkeypatch.setattr(sources, "ask", found.ask)
    return found


def test_a_poll_tells_how_old_all_is_and_how_many_nodes_there_are(head) -> None:
    head.poll()
    found = head.metrics()
    counts = {name.removeprefix("superpod_dcgm_"): value for name, value in found.items() if "timestamp" not in name}
    assert counts == {
        "head_info": 1,
        "watcher_interval_seconds": 30,
        "watcher_ok": 1,
        "watcher_failures": 0,
        "nodes_members": 3,
        "nodes_wanted": 2,
        "nodes_unknown": 0,
        "nodes_owed": 3,
        "nodes_with_target dcgm-exporter": 2,
        "nodes_with_target superpod-dcgm": 2,
        "target_problems": 0,
    }
    for name in ("watcher_poll", "watcher_answer", "targets"):
        assert found[f"superpod_dcgm_{name}_timestamp_seconds"] == pytest.approx(time.time(), abs=60)
    assert head.file.stat().st_mode & 0o777 == 0o644
    code = own_code.digest(own_code.AGENT_PARTS)[:12]
    assert f'superpod_dcgm_head_info{{release="4.5.3-4.8.2",code="{code}",source="bcm"}} 1' in head.file.read_text()


def test_without_an_answer_the_files_get_old_and_the_poll_does_not(head, monkeypatch) -> None:
    head.poll()
    first = head.metrics()
    later = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: later)
    head.roles = None
    for _ in range(2):
        head.poll()
    found = head.metrics()
    assert (found["superpod_dcgm_watcher_ok"], found["superpod_dcgm_watcher_failures"]) == (0, 2)
    assert found["superpod_dcgm_watcher_poll_timestamp_seconds"] == pytest.approx(later, abs=1)
    for name in ("superpod_dcgm_watcher_answer_timestamp_seconds", "superpod_dcgm_targets_timestamp_seconds"):
        assert found[name] == first[name]
    head.roles = {"dgx-01": ON, "dgx-02": ON, "dgx-03": OFF}
    head.poll()
    assert head.metrics()["superpod_dcgm_targets_timestamp_seconds"] == pytest.approx(later, abs=1)


def test_target_files_that_cannot_be_written_are_told_and_old(head, monkeypatch) -> None:
    head.poll()
    first = head.metrics()
    (head.targets / "dgx-02.json").unlink()
    (head.targets / "dgx-02.json").mkdir()
    later = time.time() + 1000
    monkeypatch.setattr(time, "time", lambda: later)
    monkeypatch.setattr(os, "rename", lambda *_: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    head.poll()
    found = head.metrics()
    assert found["superpod_dcgm_target_problems"] == 1
    assert found["superpod_dcgm_targets_timestamp_seconds"] == first["superpod_dcgm_targets_timestamp_seconds"]


def test_nodes_whose_roles_nobody_knows_are_counted(head) -> None:
    del head.roles["dgx-03"]
    head.poll()
    found = head.metrics()
    assert (found["superpod_dcgm_nodes_unknown"], found["superpod_dcgm_nodes_wanted"]) == (1, 2)


def test_who_is_owed_a_role_call_is_counted_until_it_is_made(head) -> None:
    head.poll()
    with changing(head.settings["snapshot"]) as snapshot:
        for name in ("dgx-01", "dgx-03"):
            snapshot["nodes"][name]["delivered"] = snapshot["nodes"][name]["seq"]
    head.poll()
    assert head.metrics()["superpod_dcgm_nodes_owed"] == 1


@pytest.mark.parametrize("members", [None, {}])
def test_before_there_is_any_node_the_head_tells_that(head, members) -> None:
    head.roles = None
    head.poll(members)
    found = head.metrics()
    assert (found["superpod_dcgm_nodes_members"], found["superpod_dcgm_watcher_ok"]) == (0, 0)
    assert "superpod_dcgm_watcher_answer_timestamp_seconds" not in found
    assert "superpod_dcgm_targets_timestamp_seconds" not in found
    assert head.target()["targets"]


def test_the_head_has_a_target_of_its_own_under_a_job_of_its_own(head) -> None:
    assert any(line.endswith("target file for superpod-dcgm-head written") for line in head.poll())
    host = names.short(os.uname().nodename)
    expected = {"file": host, "targets": [f"{host}:9402"], "job": "superpod-dcgm-head", "cluster": "test", "host": host}
    assert head.target() == {**expected, "category": "", "site": "north", "__managed_by__": "superpod-dcgm-watcher"}
    assert head.poll() == []


def test_the_target_of_a_head_that_was_active_before_goes(head) -> None:
    head.poll()
    other = targets.content(head.settings, targets.HEAD, "bcm-02", None)
    (head.targets / targets.HEAD / "bcm-02.json").write_text(other)
    assert head.poll() == ["bcm-02: target file for superpod-dcgm-head removed"]
    assert head.target()["file"] != "bcm-02"


def test_a_head_that_is_a_device_of_bcm_has_its_address_where_the_site_wants_addresses(head) -> None:
    head.poll()
    host = names.short(os.uname().nodename)
    with changing(head.settings["snapshot"]) as snapshot:
        snapshot["nodes"][host] = {**snapshot["nodes"]["head"], "ip": "10.1.1.1"}
    head.settings["targets"]["address"] = "ip"
    head.roles[host] = OFF
    targets.write(head.settings, {**snapshot}, MEMBERS, True)
    assert head.target()["targets"] == ["10.1.1.1:9402"]


@pytest.mark.parametrize("change", [{"served": False}, None])
def test_where_nobody_of_ours_serves_them_there_is_no_target(head, change) -> None:
    head.poll()
    if change is None:
        # The settings of an earlier release.
        del head.settings["head_metrics"]
    else:
        head.settings["head_metrics"].update(change)
    host = names.short(os.uname().nodename)
    assert head.poll() == [f"{host}: target file for superpod-dcgm-head removed"]
    assert [path.name for path in (head.targets / targets.HEAD).iterdir()] == [targets.PLACEHOLDER]


def test_metrics_that_are_switched_off_are_not_written(head) -> None:
    head.settings["head_metrics"].update(enabled=False, served=False)
    head.poll()
    assert not head.file.parent.exists()
    assert not (head.targets / targets.HEAD).exists()


def test_a_file_that_cannot_be_written_is_a_line_and_no_end(head) -> None:
    head.file.parent.write_text("no directory")
    assert [line for line in head.poll() if re.search(r"superpod-dcgm-head\.prom cannot be written", line)]


def test_without_target_files_nothing_is_said_of_them(head) -> None:
    head.settings["targets"]["enabled"] = False
    head.poll()
    assert not [name for name in head.metrics() if "target" in name]
