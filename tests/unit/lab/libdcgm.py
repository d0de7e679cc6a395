"""The lab's libdcgm as dcgm-exporter calls it: structures by their sizes and places, as the compiler checked them."""

from __future__ import annotations

import ctypes
import shutil
import struct
from itertools import count
from pathlib import Path
from typing import NamedTuple

GPU, GPU_INSTANCE, COMPUTE_INSTANCE, LINK = 1, 4, 5, 6
OK, VERSION_MISMATCH, UNKNOWN_FIELD, NOT_WATCHED, CONNECTION_NOT_VALID = 0, -12, -13, -16, -21
BLANK = 0x7FFFFFFFFFFFFFF0
VALUE, ENTRY = 4120, 164
ALL_GPUS = 0x7FFFFFFF
TAKE = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)
_numbers = count()

Entity = tuple[int, int]


class Value(NamedTuple):
    """A sample: `raw` begins with its eight bytes or its text."""

    field: int
    kind: str
    status: int
    when: int
    raw: bytes

    @property
    def integer(self) -> int:
        """The value of an integer field."""
        return int.from_bytes(self.raw[:8], "little", signed=True)

    @property
    def number(self) -> float:
        """The value of a floating-point field."""
        return float(struct.unpack("<d", self.raw[:8])[0])

    @property
    def text(self) -> str:
        """The value of a text field."""
        return self.raw.split(b"\0")[0].decode()


def versioned(size: int, number: int) -> ctypes.Array[ctypes.c_char]:
    """A structure with its version filled in."""
    return ctypes.create_string_buffer(struct.pack("<I", size | number << 24), size)


def words(structure: ctypes.Array[ctypes.c_char], place: int, many: int) -> tuple[int, ...]:
    """Some 32-bit numbers of a structure."""
    return struct.unpack_from(f"<{many}I", structure.raw, place)


class Library:
    """A copy of the library, which shares no state with another one, and its one handle."""

    def __init__(self, compiled: Path, scratch: Path) -> None:
        own = shutil.copyfile(compiled / "libdcgm.so.4", scratch / f"libdcgm-{next(_numbers)}.so")
        self.dll = ctypes.CDLL(str(own))
        self.dll.dcgmInit()
        self.handle = ctypes.c_size_t()

    def ask(self, name: str, *arguments: object) -> int:
        """Call a function with the handle first."""
        return int(getattr(self.dll, name)(self.handle, *arguments))

    def embedded(self) -> Library:
        """Start an engine within this process."""
        assert self.dll.dcgmStartEmbedded(1, ctypes.byref(self.handle)) == OK
        return self

    def connect(self, address: str, is_unix: bool = False) -> int:
        """What releases with go-dcgm before unix:// do for a remote engine."""
        how = versioned(16, 2)
        ctypes.c_uint.from_buffer(how, 12).value = is_unix
        return int(self.dll.dcgmConnect_v2(address.encode(), how, ctypes.byref(self.handle)))

    def connect_by_scheme(self, address: str) -> int:
        """What newer ones do."""
        return int(self.dll.dcgmConnect_v3(address.encode(), versioned(12, 1), ctypes.byref(self.handle)))

    def gpus(self) -> list[int]:
        """All GPUs by their numbers."""
        ids, found = (ctypes.c_uint * 32)(), ctypes.c_int()
        assert self.ask("dcgmGetAllDevices", ids, ctypes.byref(found)) == OK
        return list(ids[: found.value])

    def hierarchy(self) -> list[tuple[Entity, Entity, int]]:
        """Each instance with its parent and NVML's number of its GPU instance."""
        into = versioned(73480, 2)
        assert self.ask("dcgmGetGpuInstanceHierarchy", into) == OK
        entries = [words(into, 8 + place * ENTRY, 41) for place in range(words(into, 4, 1)[0])]
        return [((entry[0], entry[1]), (entry[2], entry[3]), entry[37]) for entry in entries]

    def group(self, entities: list[Entity]) -> ctypes.c_size_t:
        """Make a group."""
        group = ctypes.c_size_t()
        assert self.ask("dcgmGroupCreate", 1, b"group", ctypes.byref(group)) == OK
        for kind, entity in entities:
            assert self.ask("dcgmGroupAddEntity", group, kind, entity) == OK, (kind, entity)
        return group

    def fields(self, ids: list[int]) -> ctypes.c_size_t:
        """Make a group of fields."""
        fields = ctypes.c_size_t()
        given = (ctypes.c_ushort * len(ids))(*ids)
        assert self.ask("dcgmFieldGroupCreate", len(ids), given, b"fields", ctypes.byref(fields)) == OK
        return fields

    def watch(self, entities: list[Entity], ids: list[int], every: int = 1_000_000) -> tuple[object, object]:
        """Watch fields of entities; microseconds between samples. The group and the fields."""
        group, fields = self.group(entities), self.fields(ids)
        assert self.ask("dcgmWatchFields", group, fields, ctypes.c_longlong(every), ctypes.c_double(600), 0) == OK
        assert self.ask("dcgmUpdateAllFields", 1) == OK
        return group, fields

    def latest(self, kind: int, entity: int, ids: list[int]) -> tuple[int, list[Value]]:
        """The result, and the newest value of each field."""
        given, room = (ctypes.c_ushort * len(ids))(*ids), ctypes.create_string_buffer(VALUE * len(ids))
        result = self.ask("dcgmEntityGetLatestValues", kind, entity, given, len(ids), room)
        return result, [value(room.raw[place : place + VALUE]) for place in range(0, VALUE * len(ids), VALUE)]

    def version(self) -> str:
        """What the library says of itself."""
        into = versioned(516, 2)
        assert self.dll.dcgmVersionInfo(into) == OK
        return into.raw[4:].split(b"\0")[0].decode()


def value(raw: bytes) -> Value:
    """One sample of the newest values."""
    _, field, kind, status, when = struct.unpack_from("<IHHi4xq", raw)
    return Value(field, chr(kind), status, when, raw[24:280])
