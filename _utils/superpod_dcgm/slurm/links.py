"""The links through which slurmd runs prolog and epilog: whose they are, where they may be, how they go."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import files, state
from superpod_dcgm.slurm import runnable, running, scripts
from superpod_dcgm.slurm.scripts import Storage

_MODE = 0o755
_STAND_IN = """\
#!/bin/sh
# Stand-in of superpod-dcgm-exporter, which does nothing. slurm.conf has slurmd run this path, or a pattern that nothing
# else matches: without this file every job would drain the node. Take the path out of slurm.conf, then apply again the
# Salt state that left this file here (dcgm.clean), or remove it by hand.
exit 0
"""


@dataclass(frozen=True)
class Link:
    """
    What there is in the place of a link.

    ``target`` is what it points to, ``obstacle`` why it may not be touched (empty: it may), and ``stand_in`` whether it
    is the file that ``retire`` leaves.
    """

    target: str | None
    obstacle: str
    stand_in: bool = False


def inspect_link(link: str, target: str, known: list[str] | None = None) -> Link:
    """
    Return what there is at ``link``.

    Ours is a symbolic link to a place of ours, or to a script of ours of the same name, wherever that lies: it may be
    moved and removed. So is one to such a name where nothing is, since it fails every job. Everything else belongs to
    somebody else.

    :param target: the place where the script is to be.
    :param known: further places of ours, whatever is there now.
    """
    directory = os.path.dirname(link)
    if not os.path.isdir(directory):
        leads = f", a link to {os.readlink(directory)}," if os.path.islink(directory) else ""
        return Link(None, f"{directory}{leads} is not there: Slurm is missing, or finds its scripts elsewhere")
    if not os.path.lexists(link):
        return Link(None, "")
    if not os.path.islink(link):
        if _is_stand_in(link):
            return Link(None, "", stand_in=True)
        return Link(None, f"{link} is not a link of ours; it is left as it is")
    found = os.readlink(link)
    places_of_ours = {os.path.realpath(place) for place in (target, *(known or ()))}
    ours = os.path.basename(found) == os.path.basename(target) and (
        os.path.realpath(link) in places_of_ours or not os.path.exists(link) or scripts.is_ours(link)
    )
    return Link(found, "" if ours else f"{link} points to {found}, which is not ours; it is left as it is")


def _is_stand_in(path: str) -> bool:
    try:
        if not stat.S_ISREG(os.lstat(path).st_mode):
            return False
        with open(path, "rb") as stream:
            return stream.read(len(_STAND_IN) + 1) == _STAND_IN.encode()
    except OSError:
        return False


def misplaced(link: str, target: str, local: bool, shared: Storage) -> str:
    """
    Return why a link at ``link`` to ``target`` would be wrong for other nodes, or ``""``.

    :param local: whether each node has scripts of its own.
    """
    directory, script = os.path.dirname(link), os.path.dirname(target)
    link_shared, target_shared = shared.why(directory), shared.why(script)
    if local and target_shared:
        return (
            f"{script} is shared with other nodes ({target_shared}), where each node would write and remove its own "
            "scripts: choose another slurm:local_directory, or slurm:scripts: shared"
        )
    if local and link_shared:
        return (
            f"{directory} is shared with other nodes ({link_shared}), and {target} is this node's own: the link would "
            "lead to nowhere on the others, and Slurm would drain them. slurm:scripts: shared serves all as a whole"
        )
    if not local and link_shared and not target_shared:
        return (
            f"{directory} is shared with other nodes ({link_shared}), and nothing says that {script} is: give them one "
            "slurm:shared_directory, or name what is shared in slurm:shared_places"
        )
    return ""


def is_alone(link: str, local: bool, shared: Storage) -> bool:
    """Return whether other nodes see a link that leads to a file of this node's own: it fails every job there."""
    return local and bool(shared.why(os.path.dirname(link))) and not shared.why(os.path.realpath(link))


def problem(link: str, target: str, local: bool, shared: Storage, root: str, expected: bool) -> str:
    """
    Return why slurmd must not be made to run ``target`` through ``link``, or ``""``.

    :param root: the root directory of slurmd.
    :param expected: the target is not there yet, and need not be.
    """
    found = misplaced(link, target, local, shared) or link_problem(link, root)
    if found or expected:
        return found
    found = runnable.script_problem(target, root)
    hint = "choose another slurm:local_directory" if local else "mount it exec, or set slurm:scripts: local"
    return f"{found}: {hint}" if "noexec" in found else found


def link_problem(link: str, root: str) -> str:
    """
    Return why slurmd must not be made to run what is at ``link``, wherever that leads, or ``""``.

    :param root: the root directory of slurmd.
    """
    directory = os.path.dirname(link)
    try:
        real, ways = runnable.walk(directory, root)
        if root and not os.path.samefile(directory, f"{root}{real}"):
            return f"slurmd has mounts of its own, and another {directory} than this minion"
    except OSError as exc:
        return f"{directory} is not there for slurmd, which has mounts of its own ({exc.strerror})"
    return runnable.writers_problem(directory, ways, root, groups=False)


def retire(link: str, needed: bool) -> None:
    """
    Take a link away.

    :param needed: slurmd would find nothing without it: then it is replaced by a script that does nothing.
    :raises OSError: it cannot be done; the link is as it was.
    """
    if needed:
        files.write_atomic(link, _STAND_IN, _MODE)
    else:
        os.unlink(link)


@dataclass(frozen=True)
class Removal:
    """How a link is to go: see ``report``."""

    name: str
    found: Link
    test: bool
    # Returns why slurmd would, or might, find nothing without the link, or "".
    needed: Callable[[str], str]

    def report(self, reason: str, good: bool, patience: float) -> dict[str, Any]:
        """
        Take the link away, or put what does nothing in its place, and return what a state returns.

        :param reason: why it goes, where that needs to be said.
        :param good: whether the state is content with that.
        :param patience: seconds in which a prolog or epilog that runs may end; with 0 it is not waited for.
        """
        why = self.needed(self.name)
        needed, words = bool(why), f"{reason}. " if reason else ""
        if needed and self.found.stand_in:
            return {**state.result(self.name, good, f"{words}{self.name} has to stay: {why}"), "warnings": [why]}
        words += f"{why}: " if needed else ""
        done = "replaced by a script that does nothing" if needed else "removed"
        changes = {"link": {"old": self._old(), "new": "stand-in" if needed else None}}
        if self.test:
            return state.result(self.name, None if good else False, f"{words}{self.name} would be {done}", changes)
        if problem := self._problem(needed, good, patience):
            return state.result(self.name, False, f"{words}{self.name} {problem}")
        result = state.result(self.name, good, f"{words}{self.name} is {done}", changes)
        return {**result, "warnings": [why]} if needed else result

    def refuse(self, problem: str, alone: bool) -> dict[str, Any]:
        """
        Report why no link is made; one that is there already stays only if slurmd can run it wherever it is seen.

        :param alone: other nodes see it and not what it leads to.
        """
        if self.found.target is None:
            return state.result(self.name, False, problem)
        led = self.found.target
        if not alone and not runnable.script_problem(self.name, runnable.slurmd_root()):
            return state.result(self.name, False, f"{problem}. {self.name} still leads to {led}, which slurmd can run")
        return self.report(f"{problem}. The link that was there led to {led}, which no job may meet", False, 0)

    def _old(self) -> str | None:
        return "stand-in" if self.found.stand_in else self.found.target

    def _problem(self, needed: bool, good: bool, patience: float) -> str:
        """Remove it, and return why that did not go, or ``""``."""
        if not needed and patience and (left := running.wait_for_none(patience)):
            return (
                f"is not removed: a prolog or epilog (process {left[0]}) has run for {patience:g} s, and may be about "
                "to run it; apply again"
            )
        try:
            retire(self.name, needed)
        except OSError as exc:
            return f"cannot be removed{'' if good else ', and the next job may drain this node'}: {exc}"
        return ""
