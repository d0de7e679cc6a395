"""What Slurm's configuration says about prolog and epilog: one table."""

from __future__ import annotations

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
    "glob, but links elsewhere": (BCM, GLOBS, "Alloc", ["does not run", "does not run"]),
    "glob that does not match": (PLAIN, ("/etc/slurm/prolog.d/5*", GLOBS[1]), "Alloc", ["does not run"]),
    "a glob does not cross directories": (PLAIN, ("/etc/*", GLOBS[1]), "Alloc", ["does not run"]),
    "flags without Alloc": (BCM, DISPATCHERS, "NoHold,Serial", ["lacks Alloc"]),
}


def _configuration(prolog: str, epilog: str, flags: str) -> str:
    return f"Prolog         = {prolog}\nPrologSlurmctld = (null)\nEpilog = {epilog}\nPrologFlags  = {flags}\n"


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
