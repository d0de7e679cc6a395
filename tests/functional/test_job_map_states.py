"""The states of the job map through Salt's loader: links and scripts, with test=True and for real."""

from __future__ import annotations

from pathlib import Path

import pytest

SCRIPT = "#!/bin/bash\nexit 0\n"
SOURCE = "salt://dcgm/slurm/files/job-map.sh"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "shared" / "prolog-dcgm.sh"
    path.parent.mkdir()
    path.write_text(SCRIPT)
    path.chmod(0o755)
    return path


@pytest.fixture
def link(tmp_path: Path) -> Path:
    path = tmp_path / "prologs" / "60-prolog-dcgm.sh"
    path.parent.mkdir()
    return path


def _apply(state, name: Path, **arguments):
    """Run with test=True, then for real, then again: the first foretells the second, the third changes nothing."""
    foretold = state(name=str(name), test=True, **arguments)
    done = state(name=str(name), **arguments)
    assert foretold.changes == done.changes
    if done.result:
        assert foretold.result is (None if done.changes else True)
        again = state(name=str(name), **arguments)
        assert (again.result, again.changes) == (True, {})
    else:
        assert foretold.result is False
        assert done.changes == {}
    return done


def test_a_link_is_made_once(states, link, target) -> None:
    done = _apply(states.job_map.linked, link, target=str(target))
    assert done.result is True
    assert done.changes == {"link": {"old": None, "new": str(target)}}
    assert link.readlink() == target
    assert [path.name for path in link.parent.iterdir()] == [link.name]


def test_with_test_true_nothing_is_made(states, link, target) -> None:
    assert states.job_map.linked(name=str(link), target=str(target), test=True).result is None
    assert list(link.parent.iterdir()) == []


@pytest.mark.parametrize("old", ["elsewhere/prolog-dcgm.sh", "/nonexistent/prolog-dcgm.sh"])
def test_a_link_of_ours_is_moved(states, link, target, old) -> None:
    link.symlink_to(old)
    done = _apply(states.job_map.linked, link, target=str(target))
    assert done.changes == {"link": {"old": old, "new": str(target)}}
    assert link.readlink() == target


def _missing(target: Path) -> None:
    target.unlink()


def _directory(target: Path) -> None:
    target.unlink()
    target.mkdir()


def _not_executable(target: Path) -> None:
    target.chmod(0o644)


def _for_root_alone(target: Path) -> None:
    target.chmod(0o700)


def _no_bash(target: Path) -> None:
    target.write_text("#!/bin/bash\nif true; then\n")


def _empty(target: Path) -> None:
    target.write_text("")


def _dangling(target: Path) -> None:
    target.unlink()
    target.symlink_to("nowhere")


BROKEN = {
    "is not there": _missing,
    "is no regular file": _directory,
    "mode 0644": _not_executable,
    "mode 0700": _for_root_alone,
    "is no valid script": _no_bash,
    "names no interpreter": _empty,
    "not there (No such file": _dangling,
}


@pytest.mark.parametrize(("message", "damage"), BROKEN.items(), ids=[damage.__name__ for damage in BROKEN.values()])
def test_no_link_is_made_to_what_slurmd_cannot_run(states, link, target, message, damage) -> None:
    damage(target)
    done = _apply(states.job_map.linked, link, target=str(target))
    assert done.result is False
    assert message in done.comment
    assert list(link.parent.iterdir()) == []


def _foreign_file(link: Path) -> None:
    link.write_text(SCRIPT)


def _foreign_link(link: Path) -> None:
    link.symlink_to("/cm/shared/apps/jobstats/prolog.sh")


def _foreign_directory(link: Path) -> None:
    link.mkdir()


@pytest.mark.parametrize("make", [_foreign_file, _foreign_link, _foreign_directory])
def test_what_belongs_to_somebody_else_is_never_touched(states, link, target, make) -> None:
    make(link)
    before = (link.lstat().st_ino, link.lstat().st_mtime_ns)
    done = _apply(states.job_map.linked, link, target=str(target))
    assert done.result is False
    assert "left as it is" in done.comment
    assert _apply(states.job_map.unlinked, link, target=str(target)).result is True
    assert (link.lstat().st_ino, link.lstat().st_mtime_ns) == before


def test_a_missing_directory_is_said_and_not_made(states, link, target) -> None:
    link.parent.rmdir()
    done = _apply(states.job_map.linked, link, target=str(target))
    assert f"{link.parent} is not there" in done.comment
    assert not link.parent.exists()
    assert _apply(states.job_map.unlinked, link, target=str(target)).result is True


def test_a_script_that_comes_in_the_same_run_is_only_expected_with_test_true(states, link, target) -> None:
    target.unlink()
    foretold = states.job_map.linked(name=str(link), target=str(target), coming=True, test=True)
    assert (foretold.result, foretold.changes) == (None, {"link": {"old": None, "new": str(target)}})
    assert states.job_map.linked(name=str(link), target=str(target), coming=True).result is False


@pytest.mark.parametrize("remaining", [True, False], ids=["target there", "target gone"])
def test_our_link_is_removed_and_its_target_stays(states, link, target, remaining) -> None:
    link.symlink_to(target)
    if not remaining:
        target.unlink()
    done = _apply(states.job_map.unlinked, link, target=str(target))
    assert done.changes == {"link": {"old": str(target), "new": None}}
    assert not link.is_symlink()
    assert target.exists() is remaining


def test_a_script_is_written_from_the_file_server(states, repository, tmp_path) -> None:
    script = tmp_path / "epilog-dcgm.sh"
    done = _apply(states.job_map.script, script, source=SOURCE)
    assert done.changes.keys() == {"sha256", "mode"}
    assert script.read_text() == (repository / "salt/dcgm/slurm/files/job-map.sh").read_text()
    assert script.stat().st_mode & 0o7777 == 0o755
    assert [path.name for path in tmp_path.iterdir()] == [script.name]


@pytest.mark.parametrize("old", ["text", "mode", "link"])
def test_a_script_that_differs_is_replaced(states, repository, tmp_path, old) -> None:
    script, elsewhere = tmp_path / "epilog-dcgm.sh", tmp_path / "elsewhere"
    text = (repository / "salt/dcgm/slurm/files/job-map.sh").read_text()
    elsewhere.write_text(SCRIPT)
    if old == "link":
        script.symlink_to(elsewhere)
    else:
        script.write_text(SCRIPT if old == "text" else text)
        script.chmod(0o755 if old == "text" else 0o644)
    done = _apply(states.job_map.script, script, source=SOURCE)
    assert done.result is True
    assert (script.read_text(), script.is_symlink()) == (text, False)
    assert elsewhere.read_text() == SCRIPT


def test_a_source_that_is_no_script_replaces_nothing(states, tmp_path) -> None:
    script = tmp_path / "epilog-dcgm.sh"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    for source, message in (
        ("salt://dcgm/nothing.sh", "not on the file server"),
        ("salt://dcgm/schema.yaml", "no valid script"),
    ):
        done = _apply(states.job_map.script, script, source=source)
        assert (done.result, script.read_text()) == (False, SCRIPT)
        assert message in done.comment


def test_a_script_that_cannot_be_written_fails(states, tmp_path) -> None:
    done = states.job_map.script(name=str(tmp_path / "missing" / "epilog-dcgm.sh"), source=SOURCE)
    assert done.result is False
    assert "cannot be written" in done.comment


def test_a_former_map_moves_once_and_a_dry_run_moves_nothing(states, tmp_path) -> None:
    former, directory = tmp_path / "former-dcgm", tmp_path / "map-dcgm"
    for folder in (former, directory):
        folder.mkdir()
    (former / "0").write_text("12\n")
    dry = states.job_map.moved(str(directory), former=str(former), test=True)
    assert (dry.result, former.is_dir()) == (None, True)
    done = states.job_map.moved(str(directory), former=str(former))
    assert (done.result, done.changes) == (True, dry.changes)
    assert (directory / "0").read_text() == "12\n" and not former.exists()
    again = states.job_map.moved(str(directory), former=str(former))
    assert (again.result, again.changes) == (True, {})
