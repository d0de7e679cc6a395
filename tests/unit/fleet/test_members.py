"""Who is a node, and what it is called: Salt's own matcher on a master's files, and minions of a test that answer."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import salt.cache
import salt.config
from superpod_dcgm.fleet import matching, members

KEY = "-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n"


class Master:
    """The files of a master with accepted keys, and minions that say whether a match means them."""

    def __init__(self, root: Path) -> None:
        self.opts = salt.config.master_config(None)
        paths = {"pki_dir": f"{root}/pki", "cachedir": f"{root}/cache", "sock_dir": str(root), "conf_file": "none"}
        self.opts.update({**paths, "__role": "master", "nodegroups": {"gpus": "G@gpu:h100 or L@dgx-09"}})
        self.keys = root / "pki/minions"
        self.keys.mkdir(parents=True)
        self.settings = {"snapshot": f"{root}/snapshot.json", "roles": {"source": "bcm"}}
        self.says: dict[str, bool] = {}
        self.asked: list[list[str]] = []

    def accept(self, *minions: str) -> None:
        for name in minions:
            (self.keys / name).write_text(KEY)

    def cached(self, minion: str, **grains: str) -> None:
        cache = salt.cache.factory(self.opts)
        cache.store("grains", minion, grains)
        cache.store(f"minions/{minion}", "data", {"grains": grains, "pillar": {}})

    def lists(self, *devices: str) -> None:
        """Let the watcher's snapshot have these devices."""
        Path(self.settings["snapshot"]).write_text(json.dumps({"version": 1, "nodes": {name: {} for name in devices}}))

    def ask(self, minions, match: str) -> dict[str, bool]:
        self.asked.append(sorted(minions))
        return {name: self.says[name] for name in minions if name in self.says}

    def find(self, match: str) -> members.Members:
        return members.find(self.opts, match, self.settings, self.ask)


@pytest.fixture
def master(tmp_path):
    found = Master(tmp_path)
    found.accept("dgx-01", "dgx-02.cluster", "login-01")
    return found


BY_ID = {
    "dgx-*": ["dgx-01", "dgx-02"],
    "L@dgx-01,login-01": ["dgx-01", "login-01"],
    r"E@dgx-\d+$": ["dgx-01"],
    "* and not login-*": ["dgx-01", "dgx-02"],
    "not ( login-* or dgx-01 )": ["dgx-02"],
    "nobody-*": [],
    "": [],
}


@pytest.mark.parametrize("data_cache", [True, False])
@pytest.mark.parametrize("match", BY_ID)
def test_ids_are_matched_without_a_question_whatever_the_master_caches(master, match, data_cache) -> None:
    """Salt 3008 gives nobody for any compound match of a master without a data cache."""
    master.opts["minion_data_cache"] = data_cache
    assert sorted(master.find(match).nodes) == BY_ID[match]
    assert master.asked == []


NEEDS_MORE = ["G@gpu:h100", "not G@gpu:none", "P@gpu:h.*", "I@gpu:h100", "S@10.0.0.0/8", "N@gpus", "( G@gpu:h100 )"]


@pytest.mark.parametrize("data_cache", [True, False])
@pytest.mark.parametrize("match", NEEDS_MORE)
def test_what_the_cache_does_not_know_is_asked_and_who_says_no_is_no_node(master, match, data_cache) -> None:
    master.opts["minion_data_cache"] = data_cache
    master.says = {"dgx-01": True, "login-01": False}
    found = master.find(match)
    assert found.nodes == {"dgx-01": "dgx-01"} and found.unconfirmed == ["dgx-02.cluster"]
    assert "did not say so yet: dgx-02.cluster" in found.remarks[0] and "dgx-02" in found.uncertain
    assert master.asked == [["dgx-01", "dgx-02.cluster", "login-01"]]


def test_only_those_are_asked_whom_their_id_does_not_rule_out_and_whom_the_cache_does_not_know(master) -> None:
    master.cached("dgx-01", gpu="h100")
    master.says = {"dgx-02.cluster": True, "login-01": True}
    assert sorted(master.find("dgx-* and G@gpu:h100").nodes) == ["dgx-01", "dgx-02"]
    assert master.asked == [["dgx-02.cluster"]]


def test_a_cache_that_knows_all_is_enough(master) -> None:
    for name, gpu in (("dgx-01", "h100"), ("dgx-02.cluster", "h100"), ("login-01", "none")):
        master.cached(name, gpu=gpu)
    assert sorted(master.find("G@gpu:h100").nodes) == ["dgx-01", "dgx-02"]
    assert master.asked == []


def moved(monkeypatch, seconds: float) -> None:
    """Set the clock."""
    now = time.time()
    monkeypatch.setattr(matching.time, "time", lambda: now + seconds)


def test_a_word_is_remembered_and_a_node_that_goes_down_stays_one(master, monkeypatch) -> None:
    master.opts["minion_data_cache"] = False
    master.says = {"dgx-01": True, "dgx-02.cluster": True, "login-01": False}
    for _ in range(3):
        assert sorted(master.find("G@gpu:h100").nodes) == ["dgx-01", "dgx-02"]
    assert len(master.asked) == 1, "not at every poll"
    master.says = {"dgx-02.cluster": False}
    moved(monkeypatch, 2 * 3600)
    assert list(master.find("G@gpu:h100").nodes) == ["dgx-01"], "one is down, one is no node any more"
    moved(monkeypatch, 40 * 86400)
    assert master.find("G@gpu:h100").nodes == {}, "nor is one that was silent for long"


def test_another_match_is_another_question_and_a_new_minion_is_asked_alone(master) -> None:
    master.opts["minion_data_cache"] = False
    master.says = dict.fromkeys(["dgx-01", "dgx-02.cluster", "login-01", "dgx-03"], True)
    master.find("G@gpu:h100")
    master.accept("dgx-03")
    master.find("G@gpu:h100")
    master.find("G@gpu:b200")
    assert [len(asked) for asked in master.asked] == [3, 1, 4]


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_clock_that_is_set_delays_no_question(master, monkeypatch, hours) -> None:
    master.opts["minion_data_cache"] = False
    master.find("G@gpu:h100")
    master.says = {"dgx-01": True}
    moved(monkeypatch, hours * 3600)
    assert list(master.find("G@gpu:h100").nodes) == ["dgx-01"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"G@gpu:h100": 7}', '{"G@gpu:h100": {"dgx-01": {"matches": "yes"}}}'])
def test_a_damaged_memory_is_asked_for_again(master, text) -> None:
    Path(matching.file(master.settings["snapshot"])).write_text(text)
    master.opts["minion_data_cache"] = False
    master.says = {"dgx-01": True}
    assert list(master.find("G@gpu:h100").nodes) == ["dgx-01"]


SAME = {
    "one is silent": ({"dgx-01": True}, {"dgx-01": "dgx-01"}),
    "the other is silent": ({"dgx-01.cluster": True}, {"dgx-01": "dgx-01.cluster"}),
    "both answer": ({"dgx-01": True, "dgx-01.cluster": True}, {}),
    "none answers": ({}, {}),
}


@pytest.mark.parametrize(("says", "expected"), SAME.values(), ids=SAME.keys())
@pytest.mark.parametrize("listed", [(), ("dgx-01",)])
def test_two_keys_of_one_node_are_told_and_only_the_one_that_answers_is_served(master, says, expected, listed) -> None:
    master.accept("dgx-01.cluster")
    master.lists(*listed)
    master.says = says
    found = master.find("dgx-01*")
    assert found.nodes == expected and "dgx-01" in found.uncertain
    (told,) = found.problems.values()
    assert "dgx-01 and dgx-01.cluster" in told and "salt-key -d" in told
    assert ("is not served" in told) == (not expected)
    master.find("dgx-01*")
    assert len(master.asked) == 1


def test_case_makes_no_second_node(master) -> None:
    master.accept("DGX-01")
    assert master.find("*").rivals == {"dgx-01": ["DGX-01", "dgx-01"]}


def test_ids_with_dots_are_nodes_of_their_own(master) -> None:
    master.accept("prod.dgx-11", "prod.dgx-12")
    assert master.find("prod.*").nodes == {name: name for name in ("prod.dgx-11", "prod.dgx-12")}
    # As BCM calls them, where it lists them.
    master.lists("dgx-11", "dgx-12")
    assert master.find("prod.*").nodes == {"dgx-11": "prod.dgx-11", "dgx-12": "prod.dgx-12"}
    master.lists("prod.dgx-11", "dgx-12")
    assert sorted(master.find("prod.*").nodes) == ["dgx-12", "prod.dgx-11"]


def test_an_id_that_says_nothing_is_called_by_the_host_name_that_its_grains_have(master) -> None:
    master.accept("serial-7", "serial-8.dgx-12")
    master.lists("dgx-11", "dgx-12")
    master.cached("serial-7", host="DGX-11")
    master.cached("serial-8.dgx-12", host="elsewhere")
    assert master.find("serial-*").nodes == {"dgx-11": "serial-7", "serial-8": "serial-8.dgx-12"}


def test_an_id_that_can_be_no_name_is_told(master) -> None:
    master.accept("dgx 01")
    found = master.find("E@dgx.01$ or dgx-02*")
    assert list(found.nodes) == ["dgx-01", "dgx-02"] and found.unusable == ["dgx 01"]
    assert "'dgx 01'" in found.remarks[0]


def test_an_event_is_of_the_node_whose_minion_sent_it(master) -> None:
    found = members.Members({"dgx-11": "prod.dgx-11", "dgx-12": "dgx-12.cluster"})
    assert [found.name_of(name) for name in ("prod.dgx-11", "dgx-12.cluster", "dgx-12", "DGX-12", "other.x")] == [
        *("dgx-11", "dgx-12", "dgx-12", "dgx-12", "other"),
    ]
