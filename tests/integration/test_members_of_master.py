"""Who is a node on a real master without a data cache: the minions that match themselves, and nobody by default."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

MATCH = "G@gputype:h100"


class Site:
    """A master whose settings match a grain, and what it says."""

    def __init__(self, master: Any, root: Path) -> None:
        self._master, self.root = master, root
        settings = {
            "hosts": {"nodes": MATCH, "head": ""},
            "roles": {"source": "bcm", "run_on": ["slurmclient"]},
            "exporter": {"enabled": True, "release": "1"},
            "watcher": {"deadline": 20, "batch": "50%"},
            "snapshot": str(root / "snapshot.json"),
        }
        (root / "watcher.json").write_text(json.dumps(settings))

    def run(self, *argv: str) -> Any:
        return self._master.salt_run_cli(timeout=60).run(*argv).data

    def key(self, name: str) -> Path:
        (found,) = Path(self._master.config["pki_dir"]).glob(f"**/minions/{name}")
        return found


@pytest.fixture(scope="module")
def site(salt_factories, repository, tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    options = {
        "module_dirs": [str(repository)],
        "minion_data_cache": False,
        "superpod_dcgm_settings": str(root / "watcher.json"),
        "log_level_logfile": "warning",
        "worker_threads": 3,
        "gather_job_timeout": 8,
        "timeout": 5,
    }
    master = salt_factories.salt_master_daemon("head-01", overrides=options)
    common = {"acceptance_wait_time": 1, "enable_fqdns_grains": False, "log_level_logfile": "warning"}
    node = master.salt_minion_daemon("dgx-01", overrides={**common, "grains": {"gputype": "h100"}})
    other = master.salt_minion_daemon("login-01", overrides={**common, "grains": {"gputype": "none"}})
    with master.started(), node.started(), other.started():
        yield Site(master, root)


def test_only_who_matches_itself_is_a_node_and_it_is_not_asked_again(site) -> None:
    assert site.run("bcm.members") == {"dgx-01": "dgx-01"}
    remembered = (site.root / "members.json").read_text()
    assert json.loads(remembered)[MATCH]["login-01"]["matches"] is False
    assert site.run("bcm.members") == {"dgx-01": "dgx-01"}
    assert (site.root / "members.json").read_text() == remembered
    assert site.run("bcm.members", "login-*") == {"login-01": "login-01"}
    assert site.run("bcm.members", f"not {MATCH}") == {"login-01": "login-01"}


def test_of_two_keys_for_one_node_the_one_that_answers_is_served_and_both_are_named(site) -> None:
    stale = site.key("dgx-01").with_name("dgx-01.cm.cluster")
    shutil.copy(site.key("dgx-01"), stale)
    try:
        # A key whose minion never said that the grain is its own makes no node of it, and none the less is told.
        found = site.run("bcm.status", "--out=json")
        assert found["nodes"]["dgx-01"]["minion"] == "dgx-01" and found["nodes"]["dgx-01"]["problem"] is not None
        assert "did not say so yet: dgx-01.cm.cluster" in found["list_problems"][0]
        # By its id it is one.
        line = site.run("bcm.status", "tgt=dgx-*", "--out=json")["nodes"]["dgx-01"]
        assert line["minion"] == "dgx-01" and "salt-key -d dgx-01.cm.cluster" in line["problem"]
        assert list(site.run("bcm.disputed", "dgx-*")) == ["dgx-01"]
    finally:
        stale.unlink()
