"""The job map, the links through which slurmd runs its writers, and whether Slurm's configuration fits them."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import subprocess
from dataclasses import dataclass

# BCM's dispatcher -> the directory of what it runs.
DISPATCHERS = {
    "/cm/local/apps/cmd/scripts/prolog": "/cm/local/apps/slurm/var/prologs",
    "/cm/local/apps/cmd/scripts/epilog": "/cm/local/apps/slurm/var/epilogs",
}
# What dcgm-exporter takes for a map file.
_MAP_NAME = re.compile(r"\d+(\.\d+)?", re.ASCII)
_SETTING = re.compile(r"^(Prolog|Epilog|PrologFlags)(?:\[\d+\])?\s*=\s*(\S.*?)\s*$", re.MULTILINE)
_CHECK_SECONDS = 10


@dataclass(frozen=True)
class Link:
    """What there is in the place of a link: what it points to, and why it may not be touched (empty: it may)."""

    target: str | None
    obstacle: str


def read_settings(path: str) -> dict[str, str]:
    """
    Return the settings of prolog and epilog on this node.

    :raises OSError: there are none.
    """
    with open(path, encoding="utf-8") as stream:
        pairs = (line.rstrip("\n").partition("=") for line in stream if not line.startswith("#"))
        return {key: value for key, separator, value in pairs if separator}


def read_map(directory: str) -> dict[str, list[str]]:
    """
    Return the job ids per map file, read as dcgm-exporter reads them.

    :raises OSError: the directory or a file in it cannot be read; the exporter would fail alike.
    """
    names = [entry.name for entry in os.scandir(directory) if _MAP_NAME.fullmatch(entry.name) and not entry.is_dir()]
    found = {}
    for name in sorted(names, key=lambda text: [int(part) for part in text.split(".")]):
        with open(os.path.join(directory, name), encoding="utf-8", errors="replace") as stream:
            found[name] = stream.read().splitlines()
    return found


def script_problem(path: str) -> str:
    """Return why slurmd must not be made to run ``path``, or ``""``: a script that fails drains the node."""
    try:
        mode = os.stat(path).st_mode
    except OSError as exc:
        return f"{path} is not there ({exc.strerror})"
    if not stat.S_ISREG(mode):
        return f"{path} is no regular file"
    if mode & 0o555 != 0o555:
        return f"{path} is not readable and executable for everybody: mode {stat.S_IMODE(mode):04o}"
    return _syntax_problem(path)


def _syntax_problem(path: str) -> str:
    try:
        answer = subprocess.run(
            ["bash", "-n", path], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_CHECK_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return f"{path} cannot be checked: {exc}"
    if answer.returncode or os.path.getsize(path) == 0:
        return f"{path} is no valid script: {answer.stderr.strip() or 'it is empty'}"
    return ""


def inspect_link(link: str, target: str) -> Link:
    """
    Return what there is at ``link``.

    Ours is a symbolic link to a script of the same name as ``target``, wherever that lies: it may be moved and
    removed. Everything else belongs to somebody else.
    """
    directory = os.path.dirname(link)
    if not os.path.isdir(directory):
        return Link(None, f"{directory} is not there: Slurm is missing, or finds its scripts elsewhere")
    if not os.path.lexists(link):
        return Link(None, "")
    if not os.path.islink(link):
        return Link(None, f"{link} is not a link of ours; it is left as it is")
    found = os.readlink(link)
    if os.path.basename(found) != os.path.basename(target):
        return Link(found, f"{link} points to {found}, which is not ours; it is left as it is")
    return Link(found, "")


def wiring(configuration: str, prolog: str, epilog: str) -> list[str]:
    """
    Return one sentence for everything in ``scontrol show config`` that keeps the links from being run in time.

    :param configuration: what ``scontrol show config`` printed.
    :param prolog: path of the prolog's link.
    :param epilog: path of the epilog's link.
    """
    values: dict[str, list[str]] = {}
    for name, value in _SETTING.findall(configuration):
        values.setdefault(name, []).append(value)
    found = []
    for name, link in (("Prolog", prolog), ("Epilog", epilog)):
        configured = [value for value in values.get(name, []) if value != "(null)"]
        if not any(_runs(value, link) for value in configured):
            found.append(f"{name} in slurm.conf is {', '.join(configured) or 'not set'}, which does not run {link}.")
    flags = re.split(r"[,\s]+", ",".join(values.get("PrologFlags", [])).lower())
    if not {"alloc", "contain"} & set(flags):
        found.append("PrologFlags in slurm.conf lacks Alloc and Contain: an allocation without steps is never mapped.")
    return found


def _runs(value: str, link: str) -> bool:
    if value in DISPATCHERS:
        return os.path.dirname(link) == DISPATCHERS[value]
    # slurmd runs what the glob matches; `*` in it does not cross directories.
    return os.path.dirname(value) == os.path.dirname(link) and fnmatch.fnmatchcase(link, value)
