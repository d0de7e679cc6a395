"""Does Slurm's configuration run prolog and epilog of the job map with every allocation?"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.slurm import patterns

# BCM's dispatcher -> the directory of what it runs.
DISPATCHERS = {
    "/cm/local/apps/cmd/scripts/prolog": "/cm/local/apps/slurm/var/prologs",
    "/cm/local/apps/cmd/scripts/epilog": "/cm/local/apps/slurm/var/epilogs",
}
_SETTING = re.compile(
    r"^(Prolog|Epilog|PrologFlags|GresTypes|SLURM_CONF)(?:\[\d+\])?\s*=[^\S\n]*(\S.*?)[^\S\n]*$", re.MULTILINE
)
_NUMBERED = re.compile(r"[0-9]{2}-")
# What several jobs may hold a part of at the same time.
_SHARING = ("shard", "mps")
_COUNTER = 'look whether dcgm_job_map_runs_total{script="%s"} grows with a job on a node'


@dataclass(frozen=True)
class Verdict:
    """Whether something is as it should be (None: that cannot be told here), and the sentence that says so."""

    fits: bool | None
    sentence: str


def check(
    configuration: str, prolog: str, epilog: str, gres: list[str] | None = None, runs: dict[str, float] | None = None
) -> dict[str, Any]:
    """
    Say whether Slurm's configuration makes slurmd run the links in time.

    :param configuration: what ``scontrol show config`` printed.
    :param prolog: path of the prolog's link.
    :param epilog: path of the epilog's link.
    :param gres: ``slurm:gres``; None where it is not known.
    :param runs: how often each of prolog and epilog ran on this node since it started; None on another machine.
    :return: ``fits`` (None: it cannot be told here), and ``report``: one sentence for the prolog, the epilog and the
        flags each, and one for gres types that several jobs share.
    """
    values = _settings(configuration)
    verdicts = [
        _script("Prolog", values, prolog, runs),
        _script("Epilog", values, epilog, runs),
        _flags(",".join(values["PrologFlags"])),
        *_sharing(",".join(values["GresTypes"]), gres),
    ]
    found = {verdict.fits for verdict in verdicts}
    fits = False if False in found else None if None in found else True
    return {"fits": fits, "report": [verdict.sentence for verdict in verdicts]}


def left_empty(configuration: str, link: str) -> list[str]:
    """
    Return the settings for which slurmd would find nothing on this machine without ``link``.

    It takes that for a failure, and drains the node.
    """
    values = _settings(configuration)
    pairs = [(name, _absolute(value, values)) for name in ("Prolog", "Epilog") for value in values[name]]
    return [f"{name}={value}" for name, value in pairs if patterns.only(value, link)]


def _settings(configuration: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {name: [] for name in ("Prolog", "Epilog", "PrologFlags", "GresTypes", "SLURM_CONF")}
    for name, value in _SETTING.findall(configuration):
        values[name] += [] if value == "(null)" else [value]
    return values


def _absolute(value: str, values: dict[str, list[str]]) -> str:
    """What is no absolute path lies beside slurm.conf."""
    return os.path.join(os.path.dirname(_slurm_conf(values)), value)


def _slurm_conf(values: dict[str, list[str]]) -> str:
    """The controller's; a node may have it elsewhere, or only a copy that slurmd fetched."""
    return (values["SLURM_CONF"] or ["/etc/slurm/slurm.conf"])[0]


def _script(name: str, values: dict[str, list[str]], link: str, runs: dict[str, float] | None) -> Verdict:
    configured = f"{name} in slurm.conf is {', '.join(values[name]) or 'not set'}"
    verdicts = [_runs(value, _absolute(value, values), link) for value in values[name]]
    if os.path.isdir(os.path.dirname(link)) and not os.path.exists(_slurm_conf(values)):
        elsewhere = Verdict(
            None, f"it is looked for beside slurmd's own slurm.conf, which is not {_slurm_conf(values)}"
        )
        verdicts = [
            verdict if value.startswith("/") else elsewhere
            for value, verdict in zip(values[name], verdicts, strict=True)
        ]
    if any(verdict.fits for verdict in verdicts):
        return Verdict(True, f"{configured}, which runs {link}.")
    unknown = [verdict.sentence for verdict in verdicts if verdict.fits is None]
    if not unknown:
        why = "".join(f" ({verdict.sentence})" for verdict in verdicts if verdict.sentence)
        return Verdict(False, f"{configured}, which does not run {link}{why}.")
    kind = name.lower()
    if runs and runs.get(kind):
        return Verdict(True, f"{configured}. It ran {link} {runs[kind]:.0f} times since this node started.")
    return Verdict(None, f"{configured}. Whether that runs {link} cannot be told: {unknown[0]}; {_COUNTER % kind}.")


def _runs(value: str, path: str, link: str) -> Verdict:
    """Judge one value: ``path`` is its absolute form."""
    directory, name = os.path.split(link)
    if path in DISPATCHERS:
        if os.path.realpath(DISPATCHERS[path]) != os.path.realpath(directory):
            return Verdict(False, f"BCM's dispatcher runs what is in {DISPATCHERS[path]}")
        numbered = bool(_NUMBERED.match(name))
        return Verdict(numbered or None, "" if numbered else "BCM's dispatcher runs names such as 60-NAME")
    if patterns.finds(path, link):
        return Verdict(True, "")
    if "{" in value:
        return Verdict(False, "Slurm's patterns have no braces")
    if patterns.is_pattern(value):
        return _other_pattern(path, link)
    if path.rstrip("/") == directory or os.path.isdir(path):
        return Verdict(
            False, f"{value} is a directory, which slurmd cannot run; {value.rstrip('/')}/* runs what is in it"
        )
    if os.path.lexists(link) and os.path.realpath(path) == os.path.realpath(link):
        return Verdict(True, "")
    return Verdict(None, f"{value} may be a program that runs what is in other directories")


def _other_pattern(path: str, link: str) -> Verdict:
    """Judge a pattern that does not match the link by what this machine knows."""
    folders, last = os.path.split(path)
    directory, name = os.path.split(link)
    if not patterns.fits(last, name) or patterns.fits(folders, directory):
        return Verdict(False, "")
    # A directory is never another name of one above it.
    above = not patterns.is_pattern(folders) and directory.startswith(f"{folders}/")
    if above or os.path.isdir(directory):
        return Verdict(False, "")
    return Verdict(None, f"{directory} is not on this machine, where a node may have another name for it")


def _flags(flags: str) -> Verdict:
    if {"alloc", "contain"} & set(re.split(r"[,\s]+", flags.lower())):
        return Verdict(True, f"PrologFlags in slurm.conf is {flags}: every allocation runs the prolog when it starts.")
    return Verdict(
        False, "PrologFlags in slurm.conf lacks Alloc and Contain: an allocation without steps is never mapped."
    )


def _sharing(types: str, gres: list[str] | None) -> list[Verdict]:
    """Jobs that share a GPU take each other's label where the pillar does not know of it."""
    there = [kind for kind in _SHARING if kind in re.split(r"[,\s]+", types.lower())]
    if not there:
        return []
    words = f"GresTypes in slurm.conf is {types}"
    if gres is None:
        return [Verdict(None, f"{words}. Whether slurm:gres has {' and '.join(there)} is not known on this machine.")]
    missing = [kind for kind in there if kind not in gres and not (kind == "mps" and "shard" in gres)]
    if not missing:
        return [Verdict(True, f"{words}, and slurm:gres knows that jobs can share a GPU.")]
    wanted = ", ".join(dict.fromkeys(("gpu", *gres, *missing)))
    return [
        Verdict(
            False,
            f"{words}, and slurm:gres has no {' and '.join(missing)}: a job takes the label of another one that shares "
            f"its GPU. Set slurm:gres to [{wanted}].",
        )
    ]
