"""Which GPU stands at which position of Slurm's list, and whether that is known or guessed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from superpod_dcgm.agent import nvidia, slurmd, slurmd_process
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.nvidia import Limit, Trouble
from superpod_dcgm.agent.slurmd import Listing
from superpod_dcgm.agent.slurmd_process import NoSlurmd, Slurmd

_PENDING = "Slurm's configuration changed, and the slurmd that runs has not read it: positions stay until then"


@dataclass(frozen=True)
class Positions:
    """
    Map names by position, and what is known of them.

    ``source``: slurmd, last table, last boot, index or minor. ``guessed``: nobody who knows has said so. ``note``: why
    not, or what else is worth knowing. ``pending``: what slurmd will count otherwise once it reads its files.
    ``sharing``: the kinds of gres by which jobs share a GPU. ``mark``: what the answer depends on. ``ask_again``: the
    answer may come by itself. ``known``: slurmd's own answer, as a later run may need it.
    """

    names: dict[int, str]
    source: str
    guessed: bool = False
    note: str = ""
    pending: str = ""
    sharing: tuple[str, ...] = ()
    mark: dict[str, str] = field(default_factory=dict)
    ask_again: bool = False
    known: dict[str, Any] = field(default_factory=dict)


def mark(limit: Limit) -> dict[str, str]:
    """
    Return what slurmd's answer depends on: which process it is, and what its configuration says.

    :raises Trouble: it cannot be found out in time.
    """
    found = slurmd_process.running(limit)
    return _mark(found, limit)


def _mark(found: Slurmd | None, limit: Limit) -> dict[str, str]:
    return {"process": found.process, "files": slurmd_process.digest(found, limit)} if found else {}


def find(
    table: Table,
    files: dict[str, list[str]],
    wanted: str,
    status: dict[str, Any],
    lasts: dict[str, Table | None],
    limit: Limit,
) -> Positions:
    """
    Return the positions of a table's GPUs.

    :param files: what ``nvidia.tree`` found.
    :param wanted: ``auto``: slurmd is asked; ``index`` or ``minor``: the administrator has said so.
    :param status: how the last attempt went, with what slurmd said then.
    :param lasts: earlier tables by the word for them, the best one first.
    """
    if wanted in ("index", "minor"):
        return Positions(counted(table, files, wanted), wanted)
    marked: dict[str, str] = {}
    try:
        running = slurmd_process.running(limit)
        marked = _mark(running, limit)
        asked = running or slurmd_process.to_be_started(limit)
        listing = slurmd.ask(asked, limit)
        return _judge(table, files, listing, asked, marked, _known(status, marked), limit)
    except Trouble as exc:
        again = not isinstance(exc, NoSlurmd)
        return _without(table, files, str(exc), marked, _known(status, marked), lasts, again)


def _named(table: Table, files: dict[str, list[str]], order: list[list[str]]) -> dict[int, str]:
    """Map names of slurmd's device files; a GPU that nobody can name leaves its position free."""
    ids = {int(minor): int(gpu) for gpu, (minor, _) in table.places.items() if minor.isdecimal()}
    names = {gpu for gpu in table.gpus if gpu not in table.divided} | set(table.instances)
    capabilities = nvidia.capabilities(files)
    found = [slurmd.name(devices, ids, capabilities, names) for devices in order]
    return {position: name for position, name in enumerate(found) if name}


def _judge(
    table: Table,
    files: dict[str, list[str]],
    listing: Listing,
    asked: Slurmd,
    marked: dict[str, str],
    known: dict[str, Any],
    limit: Limit,
) -> Positions:
    """What slurmd says now, or what the one that runs is known to have said before its files were changed."""
    changed = known and known["devices"] != listing.devices
    if changed and not slurmd_process.reads_again_in_place(asked):
        names = _named(table, files, known["devices"])
        if names:
            return Positions(names, "slurmd", False, "", _PENDING, tuple(known["sharing"]), marked, known=known)
    names = _named(table, files, listing.devices)
    if not names:
        # What slurmd says will not change by itself: it is not asked again before it starts again.
        raise NoSlurmd("slurmd -G names no GPU of this node")
    doubt = "" if known else asked.doubt or _changed(asked, limit)
    note = doubt if asked.process else doubt or "asked about what slurmd's unit says, as slurmd does not run"
    stored = {"process": asked.process, "devices": listing.devices, "sharing": list(listing.sharing)}
    stored = stored if asked.process and not doubt else {}
    return Positions(names, "slurmd", bool(doubt), note, "", listing.sharing, marked, known=stored)


def _changed(asked: Slurmd, limit: Limit) -> str:
    """Why a slurmd that was never asked before may not have read what slurmd -G reads."""
    path = slurmd_process.changed_since_start(asked, limit)
    if not path or slurmd_process.reads_again_in_place(asked):
        return ""
    return f"{path} changed after slurmd started, and whether slurmd has read it cannot be told before it starts again"


def _known(status: dict[str, Any], marked: dict[str, str]) -> dict[str, Any]:
    """What the slurmd that runs has said before; empty if another one runs, or none."""
    stored = status.get("known") or {}
    process = marked.get("process")
    return stored if process and stored.get("process") == process and stored.get("devices") else {}


def _without(
    table: Table,
    files: dict[str, list[str]],
    note: str,
    marked: dict[str, str],
    known: dict[str, Any],
    lasts: dict[str, Table | None],
    ask_again: bool,
) -> Positions:
    """The best that can be had without an answer."""
    if known and (names := _named(table, files, known["devices"])):
        return Positions(names, "slurmd", False, note, "", tuple(known["sharing"]), marked, ask_again, known)
    for source, last in lasts.items():
        if last and last.positions and last.same_gpus == table.same_gpus:
            return Positions(last.positions, source, True, note, "", last.sharing, marked, ask_again)
    return Positions(counted(table, files, "index"), "index", True, note, "", (), marked, ask_again)


def counted(table: Table, files: dict[str, list[str]], by: str) -> dict[int, str]:
    """
    Return whole GPUs by index or minor number and then MIG devices, GPU by GPU.

    A GPU that the driver has and nobody can name keeps its place free, so that the others keep theirs.
    """
    gpus = sorted(table.gpus, key=int)
    if by == "minor":
        minors = {int(minor): gpu for gpu, (minor, _) in table.places.items() if minor.isdecimal()}
        there = {one.minor for one in nvidia.known(files) if one.minor is not None} | set(minors)
        whole: list[str | None] = [minors.get(minor) for minor in sorted(there)]
        whole += [gpu for gpu in gpus if gpu not in minors.values()]
    else:
        whole = [str(index) if str(index) in table.gpus else None for index in range(int(gpus[-1]) + 1 if gpus else 0)]
    names: list[str | None] = [gpu for gpu in whole if gpu is None or gpu not in table.divided]
    names += [name for name in table.uuids.values() if "." in name]
    return {position: name for position, name in enumerate(names) if name}
