"""Who waits for a roll-out: by the configuration that was last applied, and by the code that a node runs."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from superpod_dcgm.base import own_code
from superpod_dcgm.config import applied, resolve
from superpod_dcgm.fleet import judge, pending
from superpod_dcgm.watcher import last_seen
from superpod_dcgm.watcher.snapshot import Snapshot, empty_snapshot

ROOT = Path(__file__).parents[3]
TREE = {name: yaml.safe_load((ROOT / f"salt/dcgm/{name}.yaml").read_text()) for name in pending._FILES}
MEMBERS = {"a": "a.cluster", "b": "b", "c": "c"}


def digest(pillar: dict[str, Any]) -> str:
    found = resolve.configuration(TREE["defaults"], TREE["schema"], TREE["compatibility"], pillar)
    return str(applied.record(found, TREE["defaults"])["digest"])


@pytest.fixture
def snapshot() -> Snapshot:
    """Nodes to which the defaults were applied, with the code of this tree."""
    found = empty_snapshot()
    found["applied"] = dict.fromkeys(MEMBERS, digest({}))
    found["seen"] = {name: {**last_seen.NEVER, "code": own_code.digest()} for name in MEMBERS}
    return found


@pytest.fixture
def pillars(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The present pillars by minion id."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(judge, "served", lambda opts, names: TREE)
    monkeypatch.setattr(judge, "pillar", lambda opts, minion: found.get(minion, {"dcgm": {}}))
    return found


def waiting(snapshot: Snapshot) -> dict[str, str]:
    return pending.rollouts({}, snapshot, MEMBERS)


def test_nobody_waits_for_what_was_applied(snapshot: Snapshot, pillars: dict[str, Any]) -> None:
    assert waiting(snapshot) == {}


def test_an_edited_pillar_is_pending_for_all_that_had_the_one_before(
    snapshot: Snapshot, pillars: dict[str, Any]
) -> None:
    edited = {"job_map": {"grace": 7}}
    pillars.update({minion: {"dcgm": edited} for minion in MEMBERS.values()})
    snapshot["applied"]["c"] = digest(edited)
    assert sorted(waiting(snapshot)) == ["a", "b"]
    assert all("the pillar, or the tree's defaults" in why for why in waiting(snapshot).values())


def test_what_no_node_reads_is_not_pending(snapshot: Snapshot, pillars: dict[str, Any]) -> None:
    pillars.update({minion: {"dcgm": {"prometheus": {"retention": "7d"}}} for minion in MEMBERS.values()})
    assert waiting(snapshot) == {}


@pytest.mark.parametrize("pillar", [{"_errors": ["x"]}, {"dcgm": {"nonsense": 1}}])
def test_a_pillar_that_is_broken_now_is_told(snapshot: Snapshot, pillars: dict[str, Any], pillar: Any) -> None:
    pillars["a.cluster"] = pillar
    assert all("dcgm.check" in why for why in waiting(snapshot).values()) and len(waiting(snapshot)) == 3


def test_a_node_with_other_code_waits_and_one_that_did_not_say_does_not(
    snapshot: Snapshot, pillars: dict[str, Any]
) -> None:
    snapshot["seen"]["a"]["code"] = "0" * 64
    snapshot["seen"]["b"]["code"] = None
    assert waiting(snapshot) == {"a": "roll-out pending: it runs other code of this project than the head"}


def test_the_digest_of_the_code_is_the_same_wherever_the_package_lies(tmp_path: Path, monkeypatch: Any) -> None:
    before = own_code.digest()
    copied = tmp_path / "superpod_dcgm"
    shutil.copytree(own_code._ROOT, copied, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(own_code, "_ROOT", str(copied))
    assert own_code.digest() == before
    (copied / "base/names.py").write_text("# other\n")
    assert own_code.digest() != before
