"""The lab's libdcgm and libnvidia-ml, called in the order in which dcgm-exporter calls them."""

from __future__ import annotations

import argparse
import ctypes
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import labdcgm
import labgpus
import libdcgm
import pytest
from libdcgm import COMPUTE_INSTANCE, GPU, GPU_INSTANCE, LINK, OK, Library
from standins import NODE, PROJECT, free_port, program

SOURCE = PROJECT / "lab/libdcgm"
DRIVER_VERSION, NAME, SM_CLOCK = 1, 50, 100
UTILISATION = [203, 204, 206, 207]
DRIVER_NOT_LOADED, PROFILING_NOT_SUPPORTED, MODULE_NOT_LOADED, NOT_SUPPORTED = 9, -36, -33, -6


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The libraries as the image's build compiles them."""
    place = tmp_path_factory.mktemp("libdcgm")
    subprocess.run(["make", "--silent", "-C", str(SOURCE), f"OUT={place}"], check=True)
    return place


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose gpus.json and dcgm.json the libraries read; at first there is no driver."""
    monkeypatch.setenv("LAB_GPUS", str(tmp_path / "gpus.json"))
    monkeypatch.setenv("LAB_DCGM", str(tmp_path / "dcgm.json"))
    return tmp_path


@pytest.fixture
def load(compiled: Path, node: Path) -> Callable[[str], Library]:
    """Load a fresh library on a node of a profile."""

    def fresh(profile: str = "identity") -> Library:
        labgpus.save(labgpus.describe(profile, "dgx-01"), node / "gpus.json")
        return Library(compiled, node)

    return fresh


@contextmanager
def engine(
    family: int = socket.AF_INET, address: object = ("127.0.0.1", 0)
) -> Iterator[tuple[object, list[socket.socket]]]:
    """Something that takes connections and says nothing: its address, and the connections."""
    taken: list[socket.socket] = []
    with socket.socket(family) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(address)  # type: ignore[arg-type]
        server.listen()
        thread = threading.Thread(target=lambda: taken.append(server.accept()[0]), daemon=True)
        thread.start()
        yield server.getsockname(), taken
        thread.join(5)
        for connection in taken:
            connection.close()


def test_an_embedded_engine_shows_the_gpus_of_the_description(load: Callable[..., Library]) -> None:
    library = load("minor-order").embedded()
    assert library.gpus() == list(range(8))
    about = libdcgm.versioned(5220, 3)
    assert library.ask("dcgmGetDeviceAttributes", 3, about) == OK
    gpu = labgpus.describe("minor-order", "dgx-01")["gpus"][3]
    for word in (gpu["uuid"], gpu["bus"], gpu["model"], gpu["serial"], labgpus.DRIVER):
        assert f"{word}\0".encode() in about.raw
    assert library.hierarchy() == []


@pytest.mark.parametrize("call", ["dcgmGetDeviceAttributes", "dcgmGetDeviceTopology"])
def test_a_structure_of_another_version_is_refused(load: Callable[..., Library], call: str) -> None:
    assert load().embedded().ask(call, 0, libdcgm.versioned(5220, 9)) == libdcgm.VERSION_MISMATCH


# Fields of the second schema, which only the stand-in of 4.9.0 has.
NEWER = 1600


def test_fields_move_as_those_of_the_host_engine(load: Callable[..., Library]) -> None:
    """So a page of the true exporter has the values of the stand-in's."""
    stand_in = program(NODE / "usr/lib/lab/host-engine")
    fields = stand_in.json.loads((NODE / "usr/lib/lab/fields.json").read_text())
    waves = {name: wave for name, wave in fields.items() if wave["number"] < NEWER}
    library = load().embedded()
    numbers = [wave["number"] for wave in waves.values()]
    library.watch([(GPU, gpu) for gpu in range(8)], numbers)
    _, found = library.latest(GPU, 5, numbers)
    for value, (name, wave) in zip(found, waves.items(), strict=True):
        wanted = stand_in.value_of(wave, value.when / 1e6, 5, 0)
        assert (value.status, f"{value.number:.6f}" if value.kind == "d" else str(value.integer)) == (OK, wanted), name


def test_a_field_has_a_value_only_while_it_is_watched_and_then_at_its_pace(load: Callable[..., Library]) -> None:
    library = load().embedded()
    status, (value,) = library.latest(GPU, 0, [SM_CLOCK])
    assert (status, value.status, value.integer) == (OK, libdcgm.NOT_WATCHED, libdcgm.BLANK)
    group, fields = library.watch([(GPU, 0)], [SM_CLOCK], every=50_000)
    first = library.latest(GPU, 0, [SM_CLOCK])[1][0].when
    assert library.latest(GPU, 1, [SM_CLOCK])[1][0].status == libdcgm.NOT_WATCHED
    time.sleep(0.12)
    later = library.latest(GPU, 0, [SM_CLOCK])[1][0].when
    assert later > first and (later - first) % 50_000 == 0
    assert library.ask("dcgmUnwatchFields", group, fields) == OK
    assert library.latest(GPU, 0, [SM_CLOCK])[1][0].status == libdcgm.NOT_WATCHED


def test_new_values_are_handed_over_one_entity_at_a_time(load: Callable[..., Library]) -> None:
    library = load().embedded()
    group, fields = library.watch([(GPU, 2), (GPU, 3)], [SM_CLOCK, DRIVER_VERSION])
    seen, until = [], ctypes.c_longlong()
    take = libdcgm.TAKE(lambda kind, entity, values, many, user: seen.append((kind, entity, many)) or 0)
    since = ctypes.c_longlong(0)
    assert library.ask("dcgmGetValuesSince_v2", group, fields, since, ctypes.byref(until), take, None) == OK
    assert seen == [(GPU, 2, 2), (GPU, 3, 2)]
    assert library.ask("dcgmGetValuesSince_v2", group, fields, until, ctypes.byref(until), take, None) == OK
    assert len(seen) == 2


def test_a_field_that_there_is_not_is_refused(load: Callable[..., Library]) -> None:
    library = load().embedded()
    ids, found = (ctypes.c_ushort * 1)(60000), ctypes.c_size_t()
    assert library.ask("dcgmFieldGroupCreate", 1, ids, b"f", ctypes.byref(found)) == libdcgm.UNKNOWN_FIELD


def test_links_of_a_gpu_are_entities_with_values(load: Callable[..., Library]) -> None:
    library = load().embedded()
    link = GPU | 1 << 8 | 3 << 24
    library.watch([(LINK, link)], [DRIVER_VERSION])
    assert library.latest(LINK, link, [DRIVER_VERSION])[1][0].text == labgpus.DRIVER
    assert library.ask("dcgmGetCpuHierarchy", None) == MODULE_NOT_LOADED


def test_instances_are_counted_through_all_gpus_and_named_by_nvml_s_number(load: Callable[..., Library]) -> None:
    found = load("mig").embedded().hierarchy()
    instances = [(entity, parent, number) for entity, parent, number in found if entity[0] == GPU_INSTANCE]
    assert instances == [
        *(((GPU_INSTANCE, place), (GPU, 0), gi) for place, gi in enumerate((2, 5, 9))),
        *(((GPU_INSTANCE, 8 + place), (GPU, 1), gi) for place, gi in enumerate((3, 7, 11, 13))),
    ]
    computes = [(entity[1], parent[1], number) for entity, parent, number in found if entity[0] == COMPUTE_INSTANCE]
    assert computes == [(0, 0, 2), (1, 1, 5), (2, 2, 9), (8, 8, 3), (9, 8, 3), (10, 9, 7), (11, 10, 11), (12, 11, 13)]
    assert (
        found.index(((COMPUTE_INSTANCE, 9), (GPU_INSTANCE, 8), 3)) == found.index(((GPU_INSTANCE, 8), (GPU, 1), 3)) + 2
    )


def test_a_divided_gpu_has_no_utilisation(load: Callable[..., Library]) -> None:
    library = load("mig").embedded()
    library.watch([(GPU_INSTANCE, 9), (GPU, 1), (GPU, 2)], [NAME, SM_CLOCK, 1001, *UTILISATION])
    name, clock, active, *blank = library.latest(GPU_INSTANCE, 9, [NAME, SM_CLOCK, 1001, *UTILISATION])[1]
    assert name.text == "1g.10gb" and clock.integer < 3000 and 0 < active.number < 1
    assert {value.integer for value in blank} == {libdcgm.BLANK}
    assert {value.integer for value in library.latest(GPU, 1, UTILISATION)[1]} == {libdcgm.BLANK}
    assert libdcgm.BLANK not in {value.integer for value in library.latest(GPU, 2, UTILISATION)[1]}


def test_an_engine_that_is_gone_is_gone_for_ever(load: Callable[..., Library]) -> None:
    library = load()
    with engine() as ((_, port), taken):  # type: ignore[misc]
        assert library.connect(f"localhost:{port}") == OK
        library.watch([(GPU, 0)], [SM_CLOCK])
        assert library.latest(GPU, 0, [SM_CLOCK])[0] == OK
        while not taken:
            time.sleep(0.01)
        taken[0].close()
        assert library.latest(GPU, 0, [SM_CLOCK])[0] == libdcgm.CONNECTION_NOT_VALID
    with engine(address=("127.0.0.1", port)):
        assert library.latest(GPU, 0, [SM_CLOCK])[0] == libdcgm.CONNECTION_NOT_VALID
        assert library.connect(f"127.0.0.1:{port}") == OK
        assert library.gpus() == list(range(8))
    library.dll.errorString.restype = ctypes.c_char_p
    assert b"connection" in library.dll.errorString(libdcgm.CONNECTION_NOT_VALID)


def test_an_engine_that_does_not_listen_is_an_error_at_once(load: Callable[..., Library]) -> None:
    library, before = load(), time.monotonic()
    assert library.connect(f"localhost:{free_port()}") == libdcgm.CONNECTION_NOT_VALID
    assert time.monotonic() - before < 2


def test_an_engine_is_reached_by_ipv6_and_by_a_unix_socket(load: Callable[..., Library], tmp_path: Path) -> None:
    with engine(socket.AF_INET6, ("::1", 0)) as (address, _):
        assert load().connect(f"[::1]:{address[1]}") == OK  # type: ignore[index]
    path = str(tmp_path / "engine.sock")
    with engine(socket.AF_UNIX, path):
        assert load().connect(path, is_unix=True) == OK
    Path(path).unlink()
    with engine(socket.AF_UNIX, path):
        assert load().connect_by_scheme(f"unix://{path}") == OK
    with engine() as (address, _):
        assert load().connect_by_scheme(f"tcp://localhost:{address[1]}") == OK  # type: ignore[index]
    assert load().connect_by_scheme("vsock://1:5555") == NOT_SUPPORTED


def test_without_a_driver_there_are_no_gpus_and_nvml_does_not_start(compiled: Path, node: Path) -> None:
    nvml = ctypes.CDLL(str(compiled / "libnvidia-ml.so.1"))
    assert Library(compiled, node).embedded().gpus() == []
    assert nvml.nvmlInit_v2() == DRIVER_NOT_LOADED
    labgpus.save(labgpus.describe("identity", "dgx-01"), node / "gpus.json")
    version = ctypes.create_string_buffer(80)
    assert nvml.nvmlInit() == nvml.nvmlSystemGetDriverVersion(version, 80) == OK
    assert version.value.decode() == labgpus.DRIVER


def test_profiling_can_be_not_supported(load: Callable[..., Library], node: Path) -> None:
    into = libdcgm.versioned(1376, 3)
    assert load().embedded().ask("dcgmProfGetSupportedMetricGroups", into) == OK
    assert libdcgm.words(into, 12, 1) == (3,)
    labdcgm.change(node / "dcgm.json", profiling=False)
    assert load().embedded().ask("dcgmProfGetSupportedMetricGroups", into) == PROFILING_NOT_SUPPORTED


def test_the_library_says_the_version_that_it_is_told_to_be(load: Callable[..., Library], node: Path) -> None:
    assert load().version().startswith(f"version:{labdcgm.VERSION};")
    labdcgm.change(node / "dcgm.json", version="4.2.0")
    assert load().version().startswith("version:4.2.0;")
    assert labdcgm.settings(node / "dcgm.json") == {"version": "4.2.0", "profiling": True}


def test_the_image_has_the_versions_that_the_node_s_programs_name() -> None:
    given = dict(re.findall(r"^(DCGM|DRIVER)\s*:= (\S+)$", (SOURCE / "Makefile").read_text(), re.MULTILINE))
    assert given == {"DCGM": labdcgm.VERSION, "DRIVER": labgpus.DRIVER}


@pytest.mark.parametrize(
    ("word", "files"),
    [("on", ["libdcgm.so.4.7.0"]), ("4.2.3", ["libdcgm.so.4.2.3"]), ("3.3.9", ["libdcgm.so.3.3.9"]), ("off", [])],
)
def test_one_libdcgm_is_installed_under_its_version(
    compiled: Path, tmp_path: Path, word: str, files: list[str]
) -> None:
    (tmp_path / "libdcgm.so.4.9.9").touch()
    (tmp_path / "libdcgm.so.4").symlink_to("libdcgm.so.4.9.9")
    (tmp_path / "libother.so").touch()
    version = labdcgm.checked(word)
    labdcgm.install(version, compiled, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [*files, "libother.so"]
    for name in files:
        said = subprocess.run(["objdump", "-p", str(tmp_path / name)], capture_output=True, text=True, check=True)
        assert f"SONAME               libdcgm.so.{version[0]}\n" in said.stdout


@pytest.mark.parametrize("word", ["", "4", "5.0.0", "4.5.3-1", "../4.5.3"])
def test_what_is_no_version_of_dcgm_is_refused(word: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"there are on, off, 3\.x\.y and 4\.x\.y"):
        labdcgm.checked(word)
