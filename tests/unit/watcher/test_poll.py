"""One whole poll on real files: a fake CMDaemon's answers become snapshot, target files and claims."""

from __future__ import annotations

import copy
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from superpod_dcgm.base.files import lock_local
from superpod_dcgm.watcher import cmdaemon, owed, sources, targets
from superpod_dcgm.watcher import poll as watcher_poll
from superpod_dcgm.watcher.owed import News
from superpod_dcgm.watcher.snapshot import changing, read_snapshot

MEMBERS = {"dgx-01": "dgx-01", "dgx-02": "dgx-02.cluster", "dgx-03": "dgx-03"}


class World:
    """The settings of a watcher, and what the next poll is answered."""

    def __init__(self, root):
        self.targets = root / "targets"
        self.targets.mkdir()
        self.text = ""
        self.settings = {
            "cluster": "test",
            "hosts": {"nodes": "*"},
            "roles": {"source": "bcm", "run_on": ["slurmclient"], "static": {}},
            "watcher": {"interval": 30, "minimum_share": 0.5, "confirm": 3, "batch": "20%"},
            "targets": {"enabled": True, "directory": str(self.targets), "labels": {}},
            "exporter": {"port": 9400},
            "metrics": {"served": True, "port": 9401},
            "snapshot": str(root / "snapshot.json"),
        }

    def answer(self, **roles):
        names = {"head": ["headnode"], **{f"dgx-{number[1:]}": given for number, given in roles.items()}}
        self.text = json.dumps([{"hostname": name, "roles": given} for name, given in names.items()])

    def poll(self, news=None, accept=False, members=MEMBERS):
        return watcher_poll.poll(self.settings, members, news, accept)

    def files(self, folder="."):
        return sorted(path.stem for path in (self.targets / folder).glob("[!_]*.json"))

    def nodes(self):
        return read_snapshot(self.settings["snapshot"])["nodes"]


ON, OFF = ["slurmclient"], []
ALL = {"n01": ON, "n02": ON, "n03": ON}


def make_world(root, monkeypatch):
    world = World(root)
    monkeypatch.setattr(sources, "ask", lambda *_: cmdaemon.parse(world.text, "master"))
    world.answer(**ALL)
    return world


@pytest.fixture
def world(tmp_path, monkeypatch):
    return make_world(tmp_path, monkeypatch)


def test_the_first_poll_writes_files_and_claims_all_members(world) -> None:
    done = world.poll()
    assert done.believed and done.claimed == ["dgx-01", "dgx-02", "dgx-03"]
    assert world.files() == ["dgx-01", "dgx-02", "dgx-03"]


def test_our_own_metrics_have_files_in_a_folder_of_their_own_which_go_when_others_serve_them(world) -> None:
    world.poll()
    assert world.files("superpod-dcgm") == ["dgx-01", "dgx-02", "dgx-03"]
    world.settings["metrics"]["served"] = False
    world.poll()
    assert (world.files("superpod-dcgm"), len(world.files())) == ([], 3)


def test_a_role_that_goes_takes_its_file_along_at_once(world) -> None:
    world.poll()
    world.answer(**{**ALL, "n02": OFF})
    done = world.poll()
    assert world.files() == ["dgx-01", "dgx-03"] and "dgx-02" in done.claimed
    assert (
        "dgx-02: -slurmclient, category none" in done.lines
        and "dgx-02: target file for dcgm-exporter removed" in done.lines
    )


def test_a_missing_node_keeps_its_file_until_the_third_list(world) -> None:
    world.poll()
    world.answer(n01=ON, n02=ON)
    files = [world.poll() and world.files() for _ in range(3)]
    assert [len(names) for names in files] == [3, 3, 2]


def test_files_are_written_again_when_the_directory_is_back(world) -> None:
    shutil.rmtree(world.targets)
    first, second = world.poll(), world.poll()
    assert any("passive head" in line for line in first.lines), "told"
    assert not any("passive head" in line for line in second.lines), "once"
    assert read_snapshot(world.settings["snapshot"])["target_problems"]
    world.targets.mkdir()
    world.poll()
    assert len(world.files()) == 3
    assert read_snapshot(world.settings["snapshot"])["target_problems"] == []


def test_shared_storage_that_stalls_does_not_hold_the_snapshot(world, monkeypatch) -> None:
    def reconcile(*args, **options):
        with lock_local(f"{world.settings['snapshot']}.lock", 0):
            return targets.Result(problems=["stalled"])

    monkeypatch.setattr(targets, "reconcile", reconcile)
    assert world.poll().lines[-1] == "stalled"
    assert read_snapshot(world.settings["snapshot"])["target_problems"] == ["stalled"] * 2, "both kinds"


def test_files_are_made_good_also_while_bcm_is_down(world) -> None:
    world.poll()
    (world.targets / "dgx-01.json").unlink()
    world.text = "down"
    world.poll()
    assert len(world.files()) == 3


def test_nobody_is_claimed_while_an_orchestration_serves(world) -> None:
    with lock_local(owed.lock_file(world.settings["snapshot"]), 0):
        assert world.poll().claimed == []
    assert world.poll().claimed == ["dgx-01", "dgx-02", "dgx-03"]


def test_no_file_goes_when_the_master_cannot_tell_who_is_a_node(world) -> None:
    world.poll()
    assert world.poll(members=None).claimed == [] and len(world.files()) == 3


def test_a_removed_minion_loses_its_file(world) -> None:
    world.poll()
    world.poll(members={"dgx-01": "dgx-01"})
    assert world.files() == ["dgx-01"]


def test_a_restarted_master_goes_on_from_the_snapshot(world) -> None:
    world.poll()
    before = world.nodes()
    world.text = "[]"
    assert world.poll().snapshot["error"] == "the list of devices is empty"
    assert world.nodes() == before and len(world.files()) == 3


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 0}', '{"version": 99, "nodes": {"x": {}}}'])
def test_an_unusable_snapshot_counts_as_none(world, text) -> None:
    with open(world.settings["snapshot"], "w") as stream:
        stream.write(text)
    assert world.poll().believed and set(world.nodes()) == {"head", *MEMBERS}


def test_a_started_node_is_claimed_also_while_bcm_is_down(world) -> None:
    world.poll(News(deployed=set(MEMBERS)))
    with changing(world.settings["snapshot"]) as snapshot:
        work = owed.claimed(snapshot)
        owed.settle(snapshot, work, dict.fromkeys(work))
    world.text = "down"
    assert world.poll(News(started={"dgx-02"})).claimed == ["dgx-02"]


UNREADABLE = st.one_of(
    st.text(max_size=30),
    st.sampled_from(["[]", "{}", "null", '{"data": []}', '{"errormessage": "x"}', '[{"hostname": ""}]', '["dgx-01"]']),
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), st.lists, max_leaves=5).map(
        json.dumps
    ),
)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(UNREADABLE, min_size=1, max_size=5), st.booleans())
def test_no_unreadable_answer_stops_or_removes_anything(tmp_path_factory, texts, accept) -> None:
    with pytest.MonkeyPatch.context() as patch:
        world = make_world(tmp_path_factory.mktemp("world"), patch)
        world.poll()
        with changing(world.settings["snapshot"]) as snapshot:
            work = owed.claimed(snapshot)
            owed.settle(snapshot, work, dict.fromkeys(work))
        before = copy.deepcopy(world.nodes())
        for text in texts:
            world.text = text
            done = world.poll(accept=accept)
            assert not done.believed and done.claimed == [] and done.snapshot["error"]
        assert world.nodes() == before and len(world.files()) == 3
