"""Does Slurm's configuration run prolog and epilog of the job map with every allocation?"""

from __future__ import annotations

import fnmatch
import os
import re
from typing import Any

# BCM's dispatcher -> the directory of what it runs.
DISPATCHERS = {
    "/cm/local/apps/cmd/scripts/prolog": "/cm/local/apps/slurm/var/prologs",
    "/cm/local/apps/cmd/scripts/epilog": "/cm/local/apps/slurm/var/epilogs",
}
_SETTING = re.compile(r"^(Prolog|Epilog|PrologFlags)(?:\[\d+\])?\s*=\s*(\S.*?)\s*$", re.MULTILINE)


def check(configuration: str, prolog: str, epilog: str) -> dict[str, Any]:
    """
    Say whether Slurm's configuration makes slurmd run the links in time.

    :param configuration: what ``scontrol show config`` printed.
    :param prolog: path of the prolog's link.
    :param epilog: path of the epilog's link.
    :return: ``fits``, and ``report``: one sentence for the prolog, the epilog and the flags each.
    """
    values: dict[str, list[str]] = {"Prolog": [], "Epilog": [], "PrologFlags": []}
    for name, value in _SETTING.findall(configuration):
        values[name] += [] if value == "(null)" else [value]
    fits, report = True, []
    for name, link in (("Prolog", prolog), ("Epilog", epilog)):
        runs = any(_runs(value, link) for value in values[name])
        configured = ", ".join(values[name]) or "not set"
        report.append(f"{name} in slurm.conf is {configured}, which {'runs' if runs else 'does not run'} {link}.")
        fits = fits and runs
    flags = ",".join(values["PrologFlags"])
    if {"alloc", "contain"} & set(re.split(r"[,\s]+", flags.lower())):
        report.append(f"PrologFlags in slurm.conf is {flags}: every allocation runs the prolog when it starts.")
        return {"fits": fits, "report": report}
    report.append("PrologFlags in slurm.conf lacks Alloc and Contain: an allocation without steps is never mapped.")
    return {"fits": False, "report": report}


def _runs(value: str, link: str) -> bool:
    if value in DISPATCHERS:
        return os.path.dirname(link) == DISPATCHERS[value]
    # slurmd runs what the glob matches; `*` in it does not cross directories.
    return os.path.dirname(value) == os.path.dirname(link) and fnmatch.fnmatchcase(link, value)
