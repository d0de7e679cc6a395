"""What Slurm's configuration says about prolog and epilog: one table."""

from __future__ import annotations

from pathlib import Path

import pytest
from superpod_dcgm.slurm import wiring

BCM = ("/cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh", "/cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh")
PLAIN = ("/etc/slurm/prolog.d/60-prolog-dcgm.sh", "/etc/slurm/epilog.d/60-epilog-dcgm.sh")
DISPATCHERS = ("/cm/local/apps/cmd/scripts/prolog", "/cm/local/apps/cmd/scripts/epilog")
GLOBS = ("/etc/slurm/prolog.d/*", "/etc/slurm/epilog.d/*")

# name: (links, Prolog and Epilog of slurm.conf, PrologFlags, what does not fit)
CASES = {
    "BCM": (BCM, DISPATCHERS, "Alloc", []),
    "BCM with Contain alone": (BCM, DISPATCHERS, "Contain,NoHold", []),
    "plain Slurm with a glob": (PLAIN, GLOBS, "alloc", []),
    "plain Slurm with the script itself": (PLAIN, PLAIN, "Alloc", []),
    "nothing set": (BCM, ("(null)", "(null)"), "(null)", ["not set", "not set", "lacks Alloc"]),
    "dispatcher, but links elsewhere": (PLAIN, DISPATCHERS, "Alloc", ["does not run", "does not run"]),
    "braces, which glob(3) does not know": (
        PLAIN,
        ("/etc/slurm/{prolog,epilog}.d/*", GLOBS[1]),
        "Alloc",
        ["does not run"],
    ),
    "a class in a glob": (PLAIN, ("/etc/slurm/prolog.d/[0-9][0-9]-*", GLOBS[1]), "Alloc", []),
    "a glob in the directory": (PLAIN, ("/etc/slurm/*.d/*", GLOBS[1]), "Alloc", []),
    "a directory": (PLAIN, ("/etc/slurm/prolog.d", GLOBS[1]), "Alloc", ["does not run"]),
    "relative, beside slurm.conf": (PLAIN, ("prolog.d/*", "epilog.d/*"), "Alloc", []),
    "flags that bring Alloc": (BCM, DISPATCHERS, "Alloc,DeferBatch,NoHold,ForceRequeueOnFail", []),
    "flags that bring Contain": (BCM, DISPATCHERS, "Alloc,Contain,RunInJob,X11", []),
    "glob that does not match": (PLAIN, ("/etc/slurm/prolog.d/5*", GLOBS[1]), "Alloc", ["does not run"]),
    "a glob does not cross directories": (PLAIN, ("/etc/*", GLOBS[1]), "Alloc", ["does not run"]),
    "flags without Alloc": (BCM, DISPATCHERS, "NoHold,Serial", ["lacks Alloc"]),
}


def _configuration(prolog: str, epilog: str, flags: str) -> str:
    lines = f"Prolog         = {prolog}\nPrologSlurmctld = (null)\nEpilog = {epilog}\nPrologFlags  = {flags}\n"
    return f"{lines}SLURM_CONF              = /etc/slurm/slurm.conf\n"


@pytest.mark.parametrize(("links", "scripts", "flags", "problems"), CASES.values(), ids=CASES.keys())
def test_wiring_says_what_fits_and_what_does_not(links, scripts, flags, problems) -> None:
    answer = wiring.check(_configuration(*scripts, flags), *links)
    assert answer["fits"] is not bool(problems)
    assert len(answer["report"]) == 3
    bad = [line for line in answer["report"] if "does not run" in line or "lacks" in line]
    assert [word in line for word, line in zip(problems, bad, strict=True)] == [True] * len(problems)


def test_several_scripts_are_read_from_numbered_lines() -> None:
    scripts = "Prolog[0] = /etc/slurm/a.sh\nProlog[1] = /etc/slurm/prolog.d/*\nEpilog[0] = /etc/slurm/epilog.d/*\n"
    assert wiring.check(f"{scripts}PrologFlags = Alloc\n", *PLAIN)["fits"] is True


def _nodes_directories(root: Path) -> tuple[str, str]:
    """Make directories of which each has another name, and return the links in them."""
    for kind in ("prolog", "epilog"):
        (root / f"sched/{kind}.d").mkdir(parents=True)
        (root / f"{kind}.d").symlink_to(f"sched/{kind}.d")
    return f"{root}/prolog.d/60-prolog-dcgm.sh", f"{root}/epilog.d/60-epilog-dcgm.sh"


def test_a_directory_by_another_of_its_names_runs_the_links(tmp_path) -> None:
    links = _nodes_directories(tmp_path)
    through = (f"{tmp_path}/sched/prolog.d/*", f"{tmp_path}/s*/epilog.d/[0-9]*")
    assert wiring.check(_configuration(*through, "Alloc"), *links)["fits"] is True


def test_another_directory_of_this_machine_does_not_run_them(tmp_path) -> None:
    links = _nodes_directories(tmp_path)
    (tmp_path / "other").mkdir()
    answer = wiring.check(_configuration(f"{tmp_path}/other/*", f"{tmp_path}/sched/epilog.d/*", "Alloc"), *links)
    assert answer["fits"] is False
    assert "does not run" in answer["report"][0] and "which runs" in answer["report"][1]


def test_a_relative_path_means_nothing_where_slurmd_fetched_its_configuration(tmp_path) -> None:
    links = _nodes_directories(tmp_path)
    configuration = _configuration("prolog.d/*", "epilog.d/*", "Alloc").replace(
        "/etc/slurm/slurm.conf", f"{tmp_path}/slurm.conf"
    )
    answer = wiring.check(configuration, *links)
    assert answer["fits"] is None and "slurmd's own slurm.conf" in answer["report"][0]
    (tmp_path / "slurm.conf").touch()
    assert wiring.check(configuration, *links)["fits"] is True


SITES = ("/opt/site/slurm_prolog", "/opt/site/slurm_epilog")
# name: (links, Prolog and Epilog of slurm.conf)
UNKNOWN = {
    "a dispatcher of the site": (PLAIN, SITES),
    "directories that are on the nodes only": (("/nodes/p/60-prolog.sh", "/nodes/e/60-epilog.sh"), GLOBS),
    "a name that BCM's dispatcher may not run": (tuple(link.replace("60-", "x60-") for link in BCM), DISPATCHERS),
}


@pytest.mark.parametrize(("links", "scripts"), UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_cannot_be_told_here_is_not_called_wrong(links, scripts) -> None:
    answer = wiring.check(_configuration(*scripts, "Alloc"), *links)
    assert answer["fits"] is None
    for kind, sentence in zip(("prolog", "epilog"), answer["report"], strict=False):
        assert "cannot be told" in sentence and "does not run" not in sentence
        assert f'dcgm_job_map_runs_total{{script="{kind}"}}' in sentence


def test_what_is_wrong_outweighs_what_cannot_be_told() -> None:
    assert wiring.check(_configuration(*SITES, "(null)"), *PLAIN)["fits"] is False


def test_a_node_whose_scripts_have_run_knows_better() -> None:
    configuration = _configuration(*SITES, "Alloc")
    assert wiring.check(configuration, *PLAIN, runs={"prolog": 3, "epilog": 2})["fits"] is True
    half = wiring.check(configuration, *PLAIN, runs={"prolog": 3, "epilog": 0})
    assert half["fits"] is None
    assert "3 times" in half["report"][0]
    assert (
        wiring.check(_configuration("(null)", "(null)", "Alloc"), *PLAIN, runs={"prolog": 3, "epilog": 2})["fits"]
        is False
    )


# name: (GresTypes, slurm:gres, fits, words)
SHARING = {
    "whole GPUs": ("gpu", ["gpu"], True, ""),
    "other types": ("gpu,nic,license:shards", ["gpu"], True, ""),
    "shards that the pillar does not know": ("gpu,shard", ["gpu"], False, "Set slurm:gres to [gpu, shard]."),
    "MPS that the pillar does not know": ("gpu,MPS", ["gpu"], False, "Set slurm:gres to [gpu, mps]."),
    "one of both": ("gpu,mps,shard", ["gpu", "mps"], False, "Set slurm:gres to [gpu, mps, shard]."),
    "with shards MPS is known too": ("gpu,mps,shard", ["gpu", "shard"], True, "slurm:gres knows"),
    "known": ("gpu,shard", ["gpu", "shard"], True, "slurm:gres knows"),
    "a machine without the pillar": ("gpu,shard", None, None, "is not known on this machine"),
}


@pytest.mark.parametrize(("types", "gres", "fits", "words"), SHARING.values(), ids=SHARING.keys())
def test_gpus_that_jobs_share_have_to_be_known_to_the_pillar(types, gres, fits, words) -> None:
    answer = wiring.check(f"{_configuration(*DISPATCHERS, 'Alloc')}GresTypes = {types}\n", *BCM, gres=gres)
    assert answer["fits"] is fits
    assert words in "".join(answer["report"][3:]) and bool(answer["report"][3:]) is bool(words)


def test_what_slurmd_would_find_nothing_for_without_the_link(tmp_path) -> None:
    links = _nodes_directories(tmp_path)
    for link in links:
        Path(link).symlink_to("/anywhere")
    patterns = (f"{tmp_path}/sched/prolog.d/*", f"{tmp_path}/epilog.d/*")
    configuration = _configuration(*patterns, "Alloc")
    assert wiring.left_empty(configuration, links[0]) == [f"Prolog={patterns[0]}"]
    (tmp_path / "sched/prolog.d/10-site").touch()
    assert wiring.left_empty(configuration, links[0]) == []
    assert wiring.left_empty(_configuration(*DISPATCHERS, "Alloc"), BCM[0]) == []
