"""After a role call the master matches by the roles that a node has now, though no pillar was asked for."""

from __future__ import annotations

import pytest
import salt.cache
import salt.config
import salt.utils.minions
from salt.exceptions import SaltCacheError
from superpod_dcgm.fleet import cached_grain

MATCH = "G@bcm:roles:slurmclient"
NODES = {"dgx-01": {"roles": ["slurmclient"], "category": "dgx"}, "dgx-02": {"roles": [], "category": None}}
CALL = (list(NODES), "bcm.role_call", (), {"version": 1, "nodes": NODES, "seq": 2})
BEFORE = {"host": "x", "bcm": {"known": True, "roles": ["b"]}}


@pytest.fixture
def opts(tmp_path):
    found = salt.config.master_config(None)
    found.update(
        {"cachedir": str(tmp_path), "pki_dir": str(tmp_path / "pki"), "sock_dir": str(tmp_path), "__role": "master"}
    )
    keys = tmp_path / "pki/minions"
    keys.mkdir(parents=True)
    for name in NODES:
        (keys / name).write_text("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n")
    cache = salt.cache.factory(found)
    for name in NODES:
        cache.store("grains", name, BEFORE)
        cache.store(f"minions/{name}", "data", {"grains": BEFORE, "pillar": {"p": 1}})
    return found


def answers(**changed):
    returns = {name.replace("_", "-"): {"ret": {"changed": one}} for name, one in changed.items()}
    return lambda ids, fun, arg, kwarg: returns


def test_the_master_matches_a_node_by_the_roles_that_it_took_in(opts) -> None:
    matched = salt.utils.minions.CkMinions(opts).check_minions
    assert matched(MATCH, "compound")["minions"] == []
    run = answers(dgx_01=True, dgx_02=True)
    assert cached_grain.keeping(opts, run)(*CALL) == run(*CALL)
    assert matched(MATCH, "compound")["minions"] == ["dgx-01"]
    cache = salt.cache.factory(opts)
    data = cache.fetch("minions/dgx-01", "data")
    assert data["pillar"] == {"p": 1} and data["grains"]["host"] == "x"
    assert cache.fetch("grains", "dgx-01") == data["grains"]
    assert data["grains"]["bcm"].keys() == {"known", "roles", "category", "since", "updated"}
    assert cache.fetch("grains", "dgx-02")["bcm"]["roles"] == []


CASES = {
    "roles that it had": (answers(dgx_01=False), CALL),
    "an error": (lambda *call: {"dgx-01": {"ret": "Passed invalid arguments"}}, CALL),
    "another function": (answers(dgx_01=True), (["dgx-01"], "bcm.health", (), {})),
    "silence": (lambda *call: {}, CALL),
    "a minion that nobody called": (answers(dgx_03=True), CALL),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_else_is_noted(opts, case) -> None:
    run, call = CASES[case]
    cached_grain.keeping(opts, run)(*call)
    assert salt.cache.factory(opts).fetch("grains", "dgx-01") == BEFORE


def test_a_master_without_a_cache_gets_none(opts) -> None:
    cache = salt.cache.factory(opts)
    cache.flush("grains", "dgx-01")
    cached_grain.keeping(opts, answers(dgx_01=True))(*CALL)
    assert cache.fetch("grains", "dgx-01") == {}
    opts["minion_data_cache"] = False
    cached_grain.keeping(opts, answers(dgx_02=True))(*CALL)
    assert cache.fetch("grains", "dgx-02") == BEFORE


def test_a_cache_that_cannot_be_written_costs_no_role_call(opts, monkeypatch, caplog) -> None:
    class Broken:
        def fetch(self, bank, key):
            raise SaltCacheError("disk full")

    monkeypatch.setattr(salt.cache, "factory", lambda found: Broken())
    assert cached_grain.keeping(opts, answers(dgx_01=True))(*CALL)["dgx-01"]
    assert "keeps the roles before of dgx-01: disk full" in caplog.text
