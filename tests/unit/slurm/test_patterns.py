"""Prolog= and Epilog= as glob(3) reads them."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.slurm import patterns

LINK = "/etc/slurm/prolog.d/60-prolog-dcgm.sh"
# pattern: whether it matches the link
CASES = {
    "/etc/slurm/prolog.d/*": True,
    "/etc/slurm/prolog.d/*.sh": True,
    "/etc/slurm/prolog.d/[0-9][0-9]-*": True,
    "/etc/slurm/prolog.d/[[:digit:]]0-*": True,
    "/etc/slurm/prolog.d/[^0-5]*": True,
    "/etc/slurm/prolog.d/[!6]*": False,
    "/etc/slurm/prolog.d/6?-prolog-dcgm.sh": True,
    "/etc/slurm/*.d/*": True,
    "/etc/*/*.d/*": True,
    "/etc/*": False,
    "/etc/slurm/{prolog,epilog}.d/*": False,
    r"/etc/slurm/prolog\.d/*": True,
    r"/etc/slurm/prolog.d/\*": False,
    LINK: True,
    "/etc/slurm/prolog.d/50-*": False,
}


@pytest.mark.parametrize(("pattern", "expected"), CASES.items(), ids=list(CASES))
def test_a_pattern_matches_as_slurmd_matches(pattern: str, expected: bool) -> None:
    assert patterns.fits(pattern, LINK) is expected


def test_no_star_matches_a_hidden_name() -> None:
    assert not patterns.fits("/p/*", "/p/.60-prolog-dcgm.sh.superpod-1")
    assert patterns.fits("/p/.*", "/p/.hidden")


def test_a_directory_is_found_by_each_of_its_names(tmp_path: Path) -> None:
    (tmp_path / "sched/prolog.d").mkdir(parents=True)
    (tmp_path / "prolog.d").symlink_to("sched/prolog.d")
    link = f"{tmp_path}/prolog.d/60-prolog-dcgm.sh"
    for folder in ("sched/prolog.d", "s*/prolog.d", "prolog.d", "sched/../prolog.d"):
        assert patterns.finds(f"{tmp_path}/{folder}/*", link), folder
    assert not patterns.finds(f"{tmp_path}/sched/*", link)
    assert not patterns.finds(f"{tmp_path}/sched/prolog.d/5*", link)


def test_a_pattern_that_nothing_else_matches_is_known(tmp_path: Path) -> None:
    folder = tmp_path / "prolog.d"
    folder.mkdir()
    link = folder / "60-prolog-dcgm.sh"
    link.symlink_to("/anywhere")
    (folder / ".hidden").touch()
    assert patterns.only(f"{folder}/*", str(link))
    (folder / "10-site").touch()
    assert not patterns.only(f"{folder}/*", str(link))
    assert patterns.only(str(link), str(link))
    assert not patterns.only(f"{folder}/1*", str(link))
