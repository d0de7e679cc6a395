"""What a node keeps of its roles, what they mean, and the module and grain over it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from salt.exceptions import CommandExecutionError
from superpod_dcgm.base import paths, roles

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


@pytest.fixture
def module(load, tmp_path):
    refreshed = []
    return load(
        "_modules/bcm.py",
        __opts__={"superpod_dcgm_roles": str(tmp_path / "roles.json")},
        __grains__={"id": "x99", "host": "DGX-01"},
        __salt__={"saltutil.refresh_grains": lambda **how: refreshed.append(how)},
        refreshed=refreshed,
    )


def test_a_node_takes_its_own_entry_whatever_form_its_name_has(module) -> None:
    assert module.deliver(NODES, 7) == {"changed": True, "roles": ["slurmclient"]}
    assert module.deliver(NODES, 8) == {"changed": False, "roles": ["slurmclient"]}
    assert module.roles()["seq"] == 8 and module.refreshed == [{"refresh_pillar": False}]


def test_a_node_that_is_not_meant_refuses(module) -> None:
    with pytest.raises(CommandExecutionError, match="called x99 or dgx-01"):
        module.deliver({"dgx-02": NODES["dgx-02"]}, 1)
    with pytest.raises(CommandExecutionError, match="cannot be stored"):
        module.deliver({"dgx-01": {"roles": None}}, 1)
    assert module.roles() == {}


@pytest.mark.parametrize("known", [False, True])
def test_the_grain_tells_what_was_delivered(load, tmp_path, known) -> None:
    path = tmp_path / "roles.json"
    record = {"roles": ["slurmclient"], "category": "dgx", "since": "t1", "updated": "t2"}
    if known:
        path.write_text(json.dumps({**record, "seq": 1}))
    nothing = {"roles": [], "category": None, "since": None, "updated": None}
    grain = load("_grains/bcm.py", __opts__={"superpod_dcgm_roles": str(path)}).bcm()
    assert grain == {"bcm": {"known": known, **(record if known else nothing)}}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"roles": "slurmclient"}', '{"roles": [1]}'])
def test_the_grain_takes_a_damaged_record_for_none(load, tmp_path, text) -> None:
    path = tmp_path / "roles.json"
    path.write_text(text)
    assert load("_grains/bcm.py", __opts__={"superpod_dcgm_roles": str(path)}).bcm()["bcm"]["known"] is False


def test_the_grain_leaves_no_module_of_ours_in_the_minion_whose_jobs_would_inherit_it(repository, load) -> None:
    program = (
        "import runpy, sys; sys.path.insert(0, '_utils')\n"
        "runpy.run_path('_grains/bcm.py', {'__opts__': {'superpod_dcgm_roles': '/nowhere'}})['bcm']()\n"
        "print([name for name in sys.modules if name.startswith('superpod')])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert load("_grains/bcm.py")._ROLES_FILE == paths.ROLES_FILE


@pytest.mark.parametrize("test", [False, True])
def test_a_node_tells_the_watcher_that_it_is_deployed_or_removed(load, tmp_path, test) -> None:
    sent = []
    options = {"superpod_dcgm_roles": str(tmp_path / "roles.json"), "test": test}
    states = load("_states/bcm_node.py", __opts__=options, __salt__={"event.send": lambda *event: sent.append(event)})
    for result in (states.deployed("x"), states.removed("x")):
        assert (result["result"], result["changes"]) == (True, {})
    told = [("superpod/dcgm/deployed", {"roles_known": False}), ("superpod/dcgm/removed", {})]
    assert sent == ([] if test else told)
