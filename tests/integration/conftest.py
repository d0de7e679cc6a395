"""A real master with engine, reactor and runner, a real minion, and a CMDaemon of the tests; all as this user."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fake_bcm import Authority, FakeBcm, devices

HERE = Path(__file__).parent
NODE = "dgx-01"


class Cluster:
    """The running whole: change roles in BCM, look at what arrives on the node."""

    def __init__(self, root: Path, fake: FakeBcm, authority: Authority) -> None:
        self.root, self.fake = root, fake
        self.targets = root / "targets"
        self.targets.mkdir()
        self.pillar = root / "pillar"
        self.pillar.mkdir()
        (self.pillar / "top.sls").write_text("base: {'*': [dcgm]}\n")
        self.set_pillar("first")
        self.state = root / "state"
        self.state.mkdir()
        self.record = self.state / "roles.json"
        self.snapshot_file = root / "snapshot.json"
        self.settings_file = root / "watcher.json"
        self.settings_file.write_text(json.dumps(self.settings(authority)))
        self.master: Any = None
        self.minion: Any = None

    def settings(self, authority: Authority) -> dict[str, Any]:
        """Return what the state ``dcgm.watcher`` would write."""
        certificate, key = authority.issue("watcher")
        return {
            "cluster": "test",
            "hosts": {"nodes": "dgx-*", "head": "bcm-01", "monitoring": "bcm-01", "builder": "dgx-01"},
            "roles": {"source": "bcm", "run_on": ["slurmclient"], "static": {}},
            "watcher": {
                **{"heads": ["localhost"], "port": self.fake.port, "timeout": 2, "verify_name": False},
                **{"ca": str(authority.file), "certificate": certificate, "key": key},
                **{"interval": 1, "minimum_share": 0.5, "confirm": 3, "batch": "50%"},
                **{"deadline": 60, "audit": 86400},
            },
            "targets": {"enabled": True, "directory": str(self.targets), "labels": {}},
            "exporter": {"enabled": True, "port": 9400},
            "longest_apply": 60,
            "metrics": {"served": True, "port": 9401},
            "snapshot": str(self.snapshot_file),
        }

    def set_pillar(self, cluster: str) -> None:
        """Edit the pillar: nothing of it may reach a node before the administrator applies it."""
        switched_off = "exporter: {enabled: false}, slurm: {enabled: false}"
        (self.pillar / "dcgm.sls").write_text(f"dcgm: {{cluster: {cluster}, {switched_off}}}\n")

    def bcm(self, *roles: str, **others: list[str]) -> None:
        """Give the node these roles in BCM."""
        self.fake.answer = lambda request: devices({NODE: list(roles), **others})

    @property
    def roles(self) -> list[str]:
        """The roles that the node has taken in."""
        return json.loads(self.record.read_text())["roles"] if self.record.exists() else []

    @property
    def applies(self) -> int:
        path = self.root / "applies"
        return len(path.read_text().splitlines()) if path.exists() else 0

    @property
    def last_cluster(self) -> str:
        """The key `cluster` of the configuration with which the last whole apply ran."""
        return (self.root / "applies").read_text().splitlines()[-1]

    @property
    def snapshot(self) -> dict[str, Any]:
        return json.loads(self.snapshot_file.read_text())

    @property
    def hosts(self) -> list[str]:
        return sorted(path.stem for path in self.targets.glob("[!_]*.json"))

    def run(self, *argv: str) -> tuple[int, Any]:
        """Run ``salt-run``; return exit code and answer."""
        done = self.master.salt_run_cli(timeout=60).run(*argv)
        return done.returncode, done.data

    def call(self, *argv: str) -> Any:
        """Run a function on the minion, through the master."""
        return self.master.salt_cli(timeout=60).run(*argv, minion_tgt=NODE).data

    @staticmethod
    def until(what: str, condition: Callable[[], Any], timeout: float = 90) -> float:
        """Wait; return the seconds it took."""
        began = time.monotonic()
        while not condition():
            assert time.monotonic() - began < timeout, f"waited in vain: {what}"
            time.sleep(0.05)
        return time.monotonic() - began

    def polls(self, count: int = 2) -> None:
        """Wait until BCM was asked again so many times."""
        asked = len(self.fake.requests)
        self.until("polls", lambda: len(self.fake.requests) >= asked + count)


@pytest.fixture(scope="module")
def cluster(salt_factories: Any, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    authority = Authority(tmp_path_factory.mktemp("pki"), "cluster")
    with FakeBcm(authority) as fake:
        found = Cluster(tmp_path_factory.mktemp("cluster"), fake, authority)
        found.bcm("slurmclient", "storage")
        master = salt_factories.salt_master_daemon("bcm-01", overrides=master_options(found, repository))
        options = {"superpod_dcgm_state": str(found.state), "acceptance_wait_time": 1, "enable_fqdns_grains": False}
        options["log_level_logfile"] = "warning"
        minion = master.salt_minion_daemon(NODE, overrides=options)
        found.master, found.minion = master, minion
        with master.started(), minion.started():
            # As an apply does: a node that does not know role calls is neither synced nor applied by the watcher.
            found.call("saltutil.sync_all")
            found.run("bcm.sync")
            yield found


def master_options(found: Cluster, repository: Path) -> dict[str, Any]:
    return {
        "pillar_roots": {"base": [str(found.pillar)]},
        "file_roots": {"base": [str(HERE / "states"), str(repository / "salt")]},
        "module_dirs": [str(repository)],
        "engines": [{"bcm_watcher": {}}],
        "reactor": [{"superpod/bcm/roles/changed": ["salt://dcgm/reactor/roles_changed.sls"]}],
        "superpod_dcgm_settings": str(found.settings_file),
        "log_level_logfile": "warning",
        "worker_threads": 3,
        # On a busy machine a minion is slow to say that a job still runs; it must not count as lost.
        "gather_job_timeout": 8,
        "timeout": 5,
    }
