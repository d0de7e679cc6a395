"""The GPUs of a node: what nvidia-smi says of each, and what is kept of one that it cannot read."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from superpod_dcgm.agent import nvidia
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.nvidia import Known, Limit, Trouble
from superpod_dcgm.base import complaint
from superpod_dcgm.base.process import Answer

_QUERY = ["nvidia-smi", "--query-gpu=index,uuid,pci.bus_id,mig.mode.current", "--format=csv,noheader"]
_COLUMNS = 4
# What a GPU without MIG says of its mode.
_NO_MIG = ("Disabled", "[N/A]", "N/A", "[Not Supported]", "Not Supported")
_UNLISTED = "the driver has it, nvidia-smi does not list it"
_MOST = 1024


@dataclass(frozen=True)
class Gpu:
    """A GPU as NVML and DCGM count it; its UUID is ``""`` where nobody knows it."""

    index: int
    uuid: str
    minor: int | None
    bus: str
    divided: bool


@dataclass(frozen=True)
class Bad:
    """A GPU that could not be read, or of which something is wrong: DCGM id and bus, as far as known, and why."""

    gpu: str
    bus: str
    why: str


@dataclass
class Seen:
    """The GPUs in NVML's order, those of which something is wrong, and what else nvidia-smi said."""

    gpus: list[Gpu] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass
class _Row:
    """A row of nvidia-smi; what it does not say is None or ``""``, and ``why`` is what it says instead."""

    index: int | None
    uuid: str
    bus: str
    mode: str
    why: str


def see(files: dict[str, list[str]], limit: Limit, last: Table | None = None) -> Seen:
    """
    Ask nvidia-smi for the GPUs. One that it cannot read costs that one: the good rows count whatever the exit code.

    :param files: what ``nvidia.tree`` found.
    :param last: the last table, which may know what a bad GPU does not tell.
    :raises Trouble: nvidia-smi does not answer, or names no GPU at all.
    """
    answer = nvidia.ask(_QUERY, limit)
    rows, told, remarks = _read(answer)
    driver = {one.bus: one for one in nvidia.known(files)}
    if not rows and not told:
        raise Trouble(nvidia.said(_QUERY, answer) if answer.code or remarks else "nvidia-smi knows no GPU")
    if not rows:
        seen = of_driver(files, last)
        named = set(told)
        bad = [Bad(_index_at(seen.gpus, place), place, why) for place, why in told.items()]
        if not seen.gpus or not {gpu.bus for gpu in seen.gpus} - named:
            raise Trouble(nvidia.said(_QUERY, answer))
        return Seen(seen.gpus, bad, [*remarks, f"nvidia-smi lists no GPU: the others are taken from {nvidia.PROC}"])
    seen = _merged(rows, told, driver, last)
    if answer.code and not seen.bad:
        remarks = [*remarks, nvidia.said(_QUERY, answer)]
    seen.remarks = remarks
    return seen


def of_driver(files: dict[str, list[str]], last: Table | None = None) -> Seen:
    """Return the GPUs that /proc knows, counted by their buses as NVML does, with what the last table knows of them."""
    found = Seen()
    for index, one in enumerate(nvidia.known(files)):
        uuid = one.uuid or _last(last, one.bus)[1]
        found.gpus.append(Gpu(index, uuid, one.minor, one.bus, _was_divided(last, uuid)))
    return found


def _read(answer: Answer) -> tuple[list[_Row], dict[str, str], list[str]]:
    """Rows, what is said of a GPU by its bus, and what else is said."""
    rows: list[_Row] = []
    told: dict[str, str] = {}
    remarks: list[str] = []
    for line in complaint.clean(f"{answer.output}\n{answer.error}"):
        if row := _row(line):
            rows.append(row)
        elif place := nvidia.bus_in(line):
            told.setdefault(place, line[:200])
        elif line not in remarks:
            remarks.append(line[:200])
    # Rows come in the order of indexes: one that does not say its own is known by its place.
    if all(row.index in (None, index) for index, row in enumerate(rows)):
        for index, row in enumerate(rows):
            row.index = index
    return rows, told, remarks[:3]


def _row(line: str) -> _Row | None:
    words = [word.strip() for word in line.split(",")]
    if len(words) != _COLUMNS:
        return None
    index, uuid, place, mode = words
    plain = index.isdecimal() and index.isascii() and (index == "0" or index[0] != "0") and int(index) < _MOST
    where = nvidia.bus_in(place)
    if not plain and not where and not nvidia.is_uuid(uuid):
        return None
    wrong = [] if plain else [index]
    wrong += [] if nvidia.is_uuid(uuid) else [uuid]
    wrong += [] if where else [place]
    wrong += [] if mode in ("Enabled", *_NO_MIG) else [mode]
    return _Row(int(index) if plain else None, uuid if nvidia.is_uuid(uuid) else "", where, mode, " ".join(wrong)[:200])


def _merged(rows: list[_Row], told: dict[str, str], driver: dict[str, Known], last: Table | None) -> Seen:
    found = Seen()
    by_uuid = {one.uuid: one for one in driver.values() if one.uuid}
    for row in rows:
        there = driver.get(row.bus) or by_uuid.get(row.uuid)
        place = row.bus or (there.bus if there else "")
        kept_index, kept_uuid = _last(last, place)
        uuid = row.uuid or (there.uuid if there else "") or kept_uuid
        index = row.index if row.index is not None else kept_index
        why = "; ".join(dict.fromkeys(word for word in (row.why, told.pop(place, "")) if word))
        if why:
            found.bad.append(Bad("" if index is None else str(index), place, why))
        if index is None or index in {gpu.index for gpu in found.gpus}:
            continue
        divided = row.mode == "Enabled" or (row.mode not in _NO_MIG and _was_divided(last, uuid))
        minor = there.minor if there else None
        found.gpus.append(Gpu(index, uuid, minor, place or "-", divided))
    _add_unlisted(found, told, driver, last)
    found.gpus.sort(key=lambda gpu: gpu.index)
    return found


def _add_unlisted(found: Seen, told: dict[str, str], driver: dict[str, Known], last: Table | None) -> None:
    """What the driver has and nvidia-smi does not list keeps its place where the last table knows it."""
    listed = {gpu.bus for gpu in found.gpus} | {one.bus for one in found.bad}
    minors = {gpu.minor for gpu in found.gpus}
    for one in driver.values():
        if one.bus in listed or (one.minor is not None and one.minor in minors):
            continue
        index, uuid = _last(last, one.bus)
        free = index is not None and index not in {gpu.index for gpu in found.gpus}
        found.bad.append(Bad(str(index) if free else "", one.bus, told.pop(one.bus, _UNLISTED)))
        if free and index is not None:
            uuid = one.uuid or uuid
            found.gpus.append(Gpu(index, uuid, one.minor, one.bus, _was_divided(last, uuid)))
    found.bad += [Bad(_index_at(found.gpus, place), place, why) for place, why in told.items()]


def _index_at(gpus: list[Gpu], place: str) -> str:
    return next((str(gpu.index) for gpu in gpus if gpu.bus == place), "")


def _last(last: Table | None, place: str) -> tuple[int | None, str]:
    """DCGM id and UUID of the GPU that was in a place."""
    for gpu, (_, where) in last.places.items() if last and place else ():
        if where == place and gpu.isdecimal():
            uuid = last.gpus.get(gpu, "") if last else ""
            return int(gpu), uuid if nvidia.is_uuid(uuid) else ""
    return None, ""


def _was_divided(last: Table | None, uuid: str) -> bool:
    return bool(last and uuid and any(parent == uuid for parent, _ in last.instances.values()))


def described(bad: list[Bad]) -> list[dict[str, str]]:
    """Return bad GPUs as JSON can hold them."""
    return [dataclasses.asdict(one) for one in bad]
