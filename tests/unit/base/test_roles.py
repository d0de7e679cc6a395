"""What a node keeps of its roles, what they mean, and the module and grain over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import paths, roles
from superpod_dcgm.exporter import installed, page, role_call

NODES = {"dgx-01.cluster": {"roles": ["slurmclient"], "category": "dgx"}, "dgx-02": {"roles": [], "category": None}}


def test_since_changes_with_the_roles_and_updated_with_every_delivery(tmp_path) -> None:
    path = str(tmp_path / "state/roles.json")
    assert roles.store(path, {"roles": ["b", "a"], "category": "dgx"}, 1, "t1")
    assert not roles.store(path, {"roles": ["a", "b"], "category": "dgx"}, 2, "t2")
    expected = {"roles": ["a", "b"], "category": "dgx", "since": "t1", "updated": "t2", "seq": 2}
    assert roles.read(path) == expected
    assert roles.store(path, {"roles": ["a", "b"], "category": "cpu"}, 3, "t3")
    assert roles.read(path)["since"] == "t3"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"roles": "slurmclient"}', '{"roles": [1]}', '{"since": "t"}']
)
def test_a_damaged_record_counts_as_none(tmp_path, text) -> None:
    (tmp_path / "roles.json").write_text(text)
    assert roles.read(str(tmp_path / "roles.json")) is None


class Bus(list):
    """The minion's own, which keeps what was fired."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def fire_event(self, data, tag):
        self.append((tag, data))


@pytest.fixture
def minion(load, monkeypatch):
    """Return a function that gives the module bcm of a minion; with it what was fired and what runs there."""
    refreshed, running = Bus(), []
    monkeypatch.setattr("salt.utils.event.get_event", lambda *_, **__: refreshed)
    monkeypatch.setattr("salt.utils.minion.running", lambda opts: running)

    def of(state, **grains):
        opts = {"superpod_dcgm_state": str(state), "sock_dir": "/run/salt"}
        return load("_modules/bcm.py", __opts__=opts, __grains__=grains, refreshed=refreshed, running=running)

    return of


@pytest.fixture
def module(minion, tmp_path):
    return minion(tmp_path, id="x99", host="DGX-01")


def test_a_node_takes_its_own_entry_whatever_form_its_name_has(module) -> None:
    said = module.role_call(1, NODES, 7)
    assert (said["changed"], said["roles"], said["state"]) == (True, ["slurmclient"], "idle")
    assert module.role_call(1, NODES, 8)["changed"] is False
    assert module.roles()["seq"] == 8
    assert module.refreshed == [("module_refresh", {"force_refresh": False}), ("matchers_refresh", {})]


def test_a_minion_that_caches_its_grains_asks_for_them_again(module) -> None:
    module.__opts__["grains_cache"] = True
    module.role_call(1, NODES, 7)
    assert module.refreshed[0] == ("module_refresh", {"force_refresh": True})


def test_nodes_whose_ids_begin_alike_get_their_own_roles_each(minion, tmp_path) -> None:
    nodes = {"prod.dgx-01": {"roles": ["slurmclient"]}, "prod.dgx-02": {"roles": []}}
    taken = {}
    for number in ("01", "02"):
        module = minion(tmp_path / number, id=f"prod.dgx-{number}", host=f"dgx-{number}")
        taken[number] = module.role_call(1, nodes, 1)["roles"]
    assert taken == {"01": ["slurmclient"], "02": []}


def test_a_node_that_is_not_meant_refuses(module) -> None:
    with pytest.raises(CommandExecutionError, match="called x99 or dgx-01"):
        module.role_call(1, {"dgx-02": NODES["dgx-02"]}, 1)
    with pytest.raises(CommandExecutionError, match="cannot be stored"):
        module.role_call(1, {"dgx-01": {"roles": None}}, 1)
    assert module.roles() == {}


def test_a_call_of_another_version_changes_nothing(module) -> None:
    assert module.role_call(2, {"whatever": 5}, 1)["state"] == "version"
    assert module.roles() == {} and module.refreshed == []


def test_a_state_run_on_the_node_is_busy(module, tmp_path) -> None:
    role_call.remember("x.service", "http://127.0.0.1:1/metrics", 1, (), {"source": "bcm", "run_on": []}, str(tmp_path))
    module.running += [{"fun": "test.sleep", "jid": "6"}, {"fun": "state.apply", "jid": "7"}]
    said = module.role_call(1, NODES, 7)
    assert (said["state"], said["text"]) == ("busy", "state.apply runs here (job 7)")
    assert module.roles()["roles"] == ["slurmclient"]


def test_calls_and_health_hold_the_page_against_the_metric_schema_of_the_last_apply(
    module, tmp_path, monkeypatch
) -> None:
    rules, units = {"source": "bcm", "run_on": []}, []
    role_call.remember("x.service", "http://127.0.0.1:1/metrics", 1, (), rules, str(tmp_path), ("4.9.0", 2))
    monkeypatch.setattr(installed, "linked_release", lambda: "4.9.0")
    monkeypatch.setattr(page, "oddities", lambda state, make: units.append(make("x", "", 1)) or page.NONE)
    monkeypatch.setattr(role_call, "answer", lambda *given: units.append(given[-1]("x", "", 1)) or {"changed": False})
    module._page(True)
    module.role_call(1, NODES, 7)
    old_names = {"DCGM_FI_DEV_FB_USED": 9.0, "DCGM_FI_DEV_POWER_USAGE": 90.5}
    assert ["it shows metric schema 1, and the release has 2" in unit.judge(old_names) for unit in units] == [True] * 2


RECORD = {"digest": "d1", "configuration": {"cluster": "x"}, "secrets": [], "places": ["/x"]}


def test_a_node_sends_its_last_configuration_only_to_who_does_not_know_it(module, tmp_path) -> None:
    assert module.applied() == {}
    (tmp_path / paths.APPLIED_RECORD).write_text(json.dumps(RECORD))
    assert module.applied() == {"digest": "d1", "configuration": {"cluster": "x"}, "secrets": []}
    assert module.applied(["d1"]) == {"digest": "d1", "secrets": []}


@pytest.mark.parametrize("known", [False, True])
def test_the_grain_tells_what_was_delivered(load, tmp_path, known) -> None:
    path = tmp_path / "roles.json"
    record = {"roles": ["slurmclient"], "category": "dgx", "since": "t1", "updated": "t2"}
    if known:
        path.write_text(json.dumps({**record, "seq": 1}))
    nothing = {"roles": [], "category": None, "since": None, "updated": None}
    grain = load("_grains/bcm.py", __opts__={"superpod_dcgm_state": str(tmp_path)}).bcm()
    assert grain == {"bcm": {"known": known, **(record if known else nothing)}}


@pytest.mark.parametrize(
    "text", ["", "{", "[]", pytest.param("[" * 9999, id="nested"), "null", '{"roles": "slurmclient"}', '{"roles": [1]}']
)
def test_the_grain_takes_a_damaged_record_for_none(load, tmp_path, text) -> None:
    path = tmp_path / "roles.json"
    path.write_text(text)
    assert load("_grains/bcm.py", __opts__={"superpod_dcgm_state": str(tmp_path)}).bcm()["bcm"]["known"] is False


def test_the_grain_does_not_wait_for_a_fifo(load, tmp_path) -> None:
    os.mkfifo(tmp_path / "roles.json")
    grain = load("_grains/bcm.py", __opts__={"superpod_dcgm_state": str(tmp_path)}).bcm()
    assert grain["bcm"]["known"] is False


def test_the_grain_leaves_no_module_of_ours_in_the_minion_whose_jobs_would_inherit_it(repository, load) -> None:
    program = (
        "import runpy, sys; sys.path.insert(0, '_utils')\n"
        "runpy.run_path('_grains/bcm.py', {'__opts__': {'superpod_dcgm_state': '/nowhere'}})['bcm']()\n"
        "print([name for name in sys.modules if name.startswith('superpod')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert load("_grains/bcm.py")._NODE_STATE == paths.NODE_STATE


@pytest.mark.parametrize("test", [False, True])
def test_a_node_tells_the_watcher_that_it_is_deployed_or_removed(load, tmp_path, test) -> None:
    sent = []
    options = {"superpod_dcgm_state": str(tmp_path), "test": test}
    states = load("_states/bcm_node.py", __opts__=options, __salt__={"event.send": lambda *event: sent.append(event)})
    for result in (states.deployed("x"), states.removed("x")):
        assert (result["result"], result["changes"]) == (True, {})
    told = [("superpod/dcgm/deployed", {"roles_known": False}), ("superpod/dcgm/removed", {})]
    assert sent == ([] if test else told)


@pytest.fixture
def node(load, tmp_path):
    """The states of a node whose run applied RECORD; ``running`` has what the run did before."""
    sent, running = [], {}
    state = load(
        "_states/bcm_node.py",
        __opts__={"superpod_dcgm_state": str(tmp_path), "test": False},
        __salt__={"event.send": lambda *event: sent.append(event), "dcgm_config.applied": lambda: dict(state.record)},
        __running__=running,
        sent=sent,
        record=RECORD,
    )
    return state


def test_the_configuration_of_a_good_apply_is_kept_and_told(node, tmp_path) -> None:
    first = node.applied("x")
    assert (first["result"], first["changes"]) == (True, {"configuration": {"old": None, "new": "d1"}})
    assert json.loads((tmp_path / paths.APPLIED_RECORD).read_text()) == RECORD
    assert node.applied("x")["changes"] == {}
    assert node.sent == [("superpod/dcgm/applied", {"digest": "d1"})] * 2


def test_a_run_that_failed_keeps_the_former_record(node, tmp_path) -> None:
    node.applied("x")
    node.record = {**RECORD, "digest": "d2"}
    node.__running__["a state"] = {"result": False}
    assert "stays" in node.applied("x")["comment"]
    assert json.loads((tmp_path / paths.APPLIED_RECORD).read_text()) == RECORD and len(node.sent) == 1


def test_a_repair_writes_the_record_again_and_is_no_apply_of_the_administrator(node, tmp_path) -> None:
    node.record = {**RECORD, "repair": True}
    assert node.applied("x")["result"] is True
    assert json.loads((tmp_path / paths.APPLIED_RECORD).read_text()) == RECORD and node.sent == []


def test_a_preview_keeps_and_tells_nothing(node, tmp_path) -> None:
    node.__opts__["test"] = True
    found = node.applied("x")
    assert (found["result"], list(found["changes"])) == (None, ["configuration"])
    assert not (tmp_path / paths.APPLIED_RECORD).exists() and node.sent == []
