"""Links where other nodes see them, links that have gone bad, and how links go: through Salt's loader."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from superpod_dcgm.slurm import runnable, running

SCRIPT = "#!/bin/bash -p\n# Tells dcgm-exporter which Slurm jobs hold which GPU: for tests.\nexit 0\n"
SOURCE = "salt://dcgm/slurm/files/job-map.sh"


def _script(path: Path, text: str = SCRIPT, mode: int = 0o755) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node: shared storage with prolog.d, which is a link in /etc/slurm, and scripts of its own."""
    _script(tmp_path / "local-dcgm/prolog-dcgm.sh")
    _script(tmp_path / "shared/scripts/prolog-dcgm.sh")
    (tmp_path / "shared/prolog.d").mkdir()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/prolog.d").symlink_to("../shared/prolog.d")
    (tmp_path / "own").mkdir()
    return tmp_path


def _storage(node: Path) -> dict[str, list[str]]:
    return {"places": [str(node / "shared")], "stores": []}


def _twice(state, name: Path, **arguments):
    """With test=True and for real: the same result in words and changes."""
    foretold = state(name=str(name), test=True, **arguments)
    done = state(name=str(name), **arguments)
    assert foretold.changes == done.changes
    assert (foretold.result is False) == (done.result is False)
    return done


def test_a_link_to_this_nodes_script_is_refused_where_other_nodes_see_it(states, node) -> None:
    link, target = node / "etc/prolog.d/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    done = _twice(states.job_map.linked, link, target=str(target), local=True, storage=_storage(node))
    assert (done.result, done.changes) == (False, {})
    assert "is shared with other nodes" in done.comment and "slurm:scripts: shared" in done.comment
    assert list((node / "shared/prolog.d").iterdir()) == []


def test_one_that_an_earlier_release_made_there_is_removed(states, node) -> None:
    link, target = node / "etc/prolog.d/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    link.symlink_to(target)
    done = _twice(states.job_map.linked, link, target=str(target), local=True, storage=_storage(node))
    assert done.result is False and done.changes == {"link": {"old": str(target), "new": None}}
    assert not os.path.lexists(link)


def test_scripts_of_this_node_are_not_written_where_others_see_them(states, node) -> None:
    target = node / "shared/scripts/prolog-dcgm.sh"
    done = _twice(states.job_map.script, target, source=SOURCE, storage=_storage(node))
    assert done.result is False and "slurm:local_directory" in done.comment
    link = node / "own/60-prolog-dcgm.sh"
    done = _twice(states.job_map.linked, link, target=str(target), local=True, storage=_storage(node))
    assert done.result is False and "slurm:local_directory" in done.comment
    gone = _twice(states.job_map.removed, target.parent, own=True, storage=_storage(node))
    assert (gone.result, gone.changes) == (True, {}) and "stays, since other nodes" in gone.comment
    assert target.exists()


def test_a_place_that_nodes_share_is_served_as_a_whole(states, node) -> None:
    link, target = node / "etc/prolog.d/60-prolog-dcgm.sh", node / "shared/scripts/prolog-dcgm.sh"
    assert _twice(states.job_map.linked, link, target=str(target), storage=_storage(node)).result is True
    assert link.readlink() == target
    kept = _twice(states.job_map.unlinked, link, target=str(target), storage=_storage(node))
    assert (kept.result, kept.changes) == (True, {})
    assert "dcgm.slurm.shared_clean" in kept.comment and link.is_symlink()
    gone = _twice(states.job_map.unlinked, link, target=str(target), everywhere=True)
    assert gone.result is True and not os.path.lexists(link)


def test_shared_links_need_a_shared_script(states, node) -> None:
    link, target = node / "etc/prolog.d/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    done = _twice(states.job_map.linked, link, target=str(target), storage=_storage(node))
    assert done.result is False and "slurm:shared_places" in done.comment


def test_a_link_moves_from_the_shared_script_to_this_nodes_own(states, node) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    former = node / "shared/scripts/prolog-dcgm.sh"
    link.symlink_to(former)
    done = _twice(states.job_map.linked, link, target=str(target), local=True, storage=_storage(node))
    assert done.changes == {"link": {"old": str(former), "new": str(target)}}
    assert link.readlink() == target and former.exists()


def _gone(target: Path) -> None:
    target.unlink()


def _garbage(target: Path) -> None:
    target.write_text("if\n")


def _writable(target: Path) -> None:
    target.chmod(0o777)


@pytest.mark.parametrize("damage", [_gone, _garbage, _writable])
def test_a_link_that_has_gone_bad_is_removed_before_the_state_fails(states, node, damage) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    link.symlink_to(target)
    damage(target)
    done = _twice(states.job_map.linked, link, target=str(target), local=True)
    assert done.result is False and done.changes == {"link": {"old": str(target), "new": None}}
    assert "is removed" in done.comment and not os.path.lexists(link)


def test_a_link_that_still_runs_stays_when_its_successor_does_not(states, node) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    former = node / "shared/scripts/prolog-dcgm.sh"
    link.symlink_to(former)
    _garbage(target)
    done = _twice(states.job_map.linked, link, target=str(target), local=True)
    assert (done.result, done.changes) == (False, {}) and "still leads to" in done.comment
    assert link.readlink() == former


def test_only_a_link_that_cannot_be_followed_is_dead(states, node) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    assert states.job_map.alive(str(link), target=str(target)).changes == {}
    link.symlink_to(target)
    assert _twice(states.job_map.alive, link, target=str(target)).changes == {}
    target.unlink()
    assert states.job_map.alive(str(link), target=str(target), coming=True, test=True).changes == {}
    assert _twice(states.job_map.alive, link, target=str(target)).changes
    assert not os.path.lexists(link)


def test_a_script_of_somebody_else_with_our_name_is_his(states, node) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    foreign = _script(node / "site/prolog-dcgm.sh", "#!/bin/sh\nexit 0\n")
    link.symlink_to(foreign)
    done = _twice(states.job_map.linked, link, target=str(target), local=True)
    assert done.result is False and "not ours" in done.comment
    assert _twice(states.job_map.unlinked, link, target=str(target)).changes == {}
    assert _twice(states.job_map.script, foreign, source=SOURCE, guarded=True).result is False
    assert _twice(states.job_map.removed, foreign).changes == {}
    assert link.readlink() == foreign and foreign.read_text() == "#!/bin/sh\nexit 0\n"
    # Where our own script belongs, it may have become anything.
    known = _twice(states.job_map.linked, link, target=str(target), local=True, known=[str(foreign)])
    assert known.result is True and link.readlink() == target


def test_a_shared_script_of_ours_is_renewed_and_removed(states, node) -> None:
    shared = node / "shared/new/prolog-dcgm.sh"
    assert states.job_map.script(str(shared), source=SOURCE, guarded=True, makedirs=True).result is True
    assert shared.parent.stat().st_mode & 0o7777 == 0o755
    shared.write_text(SCRIPT)
    assert _twice(states.job_map.script, shared, source=SOURCE, guarded=True, makedirs=True).changes
    assert _twice(states.job_map.removed, shared, storage=_storage(node)).changes == {"removed": str(shared)}
    assert not shared.exists()


@pytest.fixture
def slurm_conf(tmp_path, monkeypatch):
    """Return a function that makes scontrol say which Prolog there is."""

    def say(value: str, code: int = 0) -> None:
        program = _script(tmp_path / "bin/scontrol", f"#!/bin/sh\necho 'Prolog[0] = {value}'\nexit {code}\n")
        monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")

    return say


def test_slurmd_never_finds_nothing_where_a_pattern_needs_the_link(states, node, slurm_conf) -> None:
    """glob(3) without a match is a failed prolog, which drains the node."""
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    link.symlink_to(target)
    slurm_conf(f"{node}/own/*")
    done = _twice(states.job_map.unlinked, link, target=str(target))
    assert done.changes == {"link": {"old": str(target), "new": "stand-in"}}
    assert f"Prolog={node}/own/*" in done.comment
    assert runnable.script_problem(str(link)) == "" and not link.is_symlink()
    again = _twice(states.job_map.unlinked, link, target=str(target))
    assert (again.result, again.changes) == (True, {}) and "has to stay" in again.comment
    linked = _twice(states.job_map.linked, link, target=str(target), local=True)
    assert linked.changes == {"link": {"old": "stand-in", "new": str(target)}}
    states.job_map.unlinked(str(link), target=str(target))
    _script(node / "own/10-site")
    gone = _twice(states.job_map.unlinked, link, target=str(target))
    assert gone.changes == {"link": {"old": "stand-in", "new": None}} and not os.path.lexists(link)


def test_a_controller_that_does_not_answer_is_no_reason_to_leave_nothing(states, node, slurm_conf) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    link.symlink_to(target)
    slurm_conf("", code=1)
    done = _twice(states.job_map.unlinked, link, target=str(target))
    assert done.changes["link"]["new"] == "stand-in" and "cannot be told" in done.comment


@pytest.mark.parametrize("function", ["unlinked", "removed"])
def test_nothing_is_taken_from_under_a_prolog_that_runs(states, node, monkeypatch, function) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    link.symlink_to(target)
    name, arguments = (link, {"target": str(target)}) if function == "unlinked" else (target, {})
    monkeypatch.setattr(running, "QUIET_SECONDS", 0.1)
    monkeypatch.setattr(running, "scripts", lambda processes="/proc": [4711])
    busy = getattr(states.job_map, function)(str(name), **arguments)
    assert busy.result is False and "process 4711" in busy.comment and os.path.lexists(name)
    monkeypatch.setattr(running, "scripts", lambda processes="/proc": [])
    assert getattr(states.job_map, function)(str(name), **arguments).result is True
    assert not os.path.lexists(name)


def test_a_dangling_directory_is_said_with_where_it_leads(states, node) -> None:
    (node / "etc/epilog.d").symlink_to("/nowhere/epilog.d")
    done = states.job_map.linked(str(node / "etc/epilog.d/60-epilog-dcgm.sh"), target=str(node / "x/epilog-dcgm.sh"))
    assert done.result is False and "a link to /nowhere/epilog.d, is not there" in done.comment


def test_a_directory_of_links_that_everybody_writes_gets_none(states, node) -> None:
    (node / "own").chmod(0o777)
    target = node / "local-dcgm/prolog-dcgm.sh"
    done = _twice(states.job_map.linked, node / "own/60-prolog-dcgm.sh", target=str(target), local=True)
    assert done.result is False and "can be written by everybody" in done.comment
    assert list((node / "own").iterdir()) == []


def test_a_link_of_ours_may_be_relative(states, node) -> None:
    link, target = node / "own/60-prolog-dcgm.sh", node / "local-dcgm/prolog-dcgm.sh"
    _script(target, "#!/bin/sh\n")
    link.symlink_to("../local-dcgm/prolog-dcgm.sh")
    done = _twice(states.job_map.linked, link, target=str(target), local=True)
    assert done.result is True and link.readlink() == target
