"""The text of the device table, which bash reads with ``while read -r kind key name flag``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_HEAD = (
    "# Device table of superpod-dcgm-exporter: what prolog and epilog look GPUs up in. Made by dcgm-devices.service."
)
_NAME = re.compile(r"(0|[1-9]\d{0,2})(\.\d{1,3})?", re.ASCII)
_FLAG = "shared"
_DIVIDED = "mig"
_SHARING = ("shard", "mps")
# The kinds of lines whose map name stands first.
_FIRST = ("gpu", "instance")


@dataclass(frozen=True)
class Table:
    """
    A node's GPUs.

    ``gpus``: UUID (or ``-``) per DCGM id. ``places``: minor number and bus (or ``-``) per DCGM id. ``divided``: DCGM
    ids of GPUs in MIG mode. ``instances``: UUID of the GPU and profile per map name. ``uuids``: map name per UUID of
    GPUs and MIG devices. ``positions``: map name per position in Slurm's list. ``shared``: map names of GPU instances
    that several compute instances use. ``sharing``: the kinds of gres (mps, shard) by which jobs share a GPU.
    """

    made: int = 0
    fingerprint: str = ""
    gpus: dict[str, str] = field(default_factory=dict)
    places: dict[str, tuple[str, str]] = field(default_factory=dict)
    instances: dict[str, tuple[str, str]] = field(default_factory=dict)
    uuids: dict[str, str] = field(default_factory=dict)
    positions: dict[int, str] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()
    divided: frozenset[str] = frozenset()
    sharing: tuple[str, ...] = ()

    @property
    def same_gpus(self) -> tuple[object, ...]:
        """What is the same in two tables of the same GPUs and MIG devices."""
        return self.uuids, self.places, self.instances, self.divided


def render(table: Table) -> str:
    """Return the text of a table."""
    lines = [_HEAD, f"made {table.made}", f"fingerprint {table.fingerprint}"]
    lines += [f"gres {kind}" for kind in table.sharing]
    for gpu, uuid in table.gpus.items():
        lines.append(" ".join(["gpu", gpu, uuid, *table.places[gpu], *([_DIVIDED] if gpu in table.divided else [])]))
    lines += [f"instance {name} {uuid} {profile}" for name, (uuid, profile) in table.instances.items()]
    named = [("uuid", *entry) for entry in table.uuids.items()]
    named += [("position", str(position), name) for position, name in table.positions.items()]
    lines += [" ".join((*words, _FLAG) if words[2] in table.shared else words) for words in named]
    return "".join(f"{line}\n" for line in lines)


def parse(text: str) -> Table:
    """Return the table that a text describes; lines that are not understood are skipped."""
    rows = [words for line in text.splitlines() if len(words := line.split()) >= 2]
    single = {kind: name for kind, name, *_ in rows if kind in ("made", "fingerprint")}
    # Kind, key, and a map name in its place.
    keyed = [words for words in rows if len(words) > 2 and _NAME.fullmatch(words[1 if words[0] in _FIRST else 2])]
    made = single.get("made", "")
    return Table(
        made=int(made) if made.isdecimal() else 0,
        fingerprint=single.get("fingerprint", ""),
        gpus={words[1]: words[2] for words in keyed if words[0] == "gpu"},
        places={words[1]: (words[3], words[4]) for words in keyed if words[0] == "gpu" and len(words) > 4},
        instances={words[1]: (words[2], words[3]) for words in keyed if words[0] == "instance" and len(words) > 3},
        uuids={words[1]: words[2] for words in keyed if words[0] == "uuid"},
        positions={int(words[1]): words[2] for words in keyed if words[0] == "position" and words[1].isdecimal()},
        shared=frozenset(words[2] for words in keyed if words[0] not in _FIRST and words[3:] == [_FLAG]),
        divided=frozenset(words[1] for words in keyed if words[0] == "gpu" and words[5:] == [_DIVIDED]),
        sharing=tuple(kind for kind in _SHARING[::-1] if ["gres", kind] in [words[:2] for words in rows]),
    )
