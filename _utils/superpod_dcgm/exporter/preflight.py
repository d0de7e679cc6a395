"""What a release of the exporter needs of a node before it is made to run there, in one sentence per lack."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterable

from superpod_dcgm.base import process
from superpod_dcgm.exporter import trouble

_SECONDS = 20
# On Ubuntu /sbin/ldconfig is a script around it.
_LDCONFIG = ("/sbin/ldconfig.real", "/sbin/ldconfig")
_LINE = re.compile(r"^\s*(\S+)\s+\([^)]*\)\s+=>\s+(\S+)$", re.MULTILINE)
_NVML = "libnvidia-ml.so.1"
_DRIVER = "/proc/driver/nvidia/version"
# An engine counts as started before it listens.
_ENGINE_SECONDS = 10


def libraries() -> dict[str, list[str]] | None:
    """Return the libraries that the loader finds: name to files; None where that cannot be told."""
    program = next((path for path in _LDCONFIG if os.path.exists(path)), "ldconfig")
    answer = process.run([program, "-p"], _SECONDS)
    if answer.code != 0:
        return None
    found: dict[str, list[str]] = {}
    for name, path in _LINE.findall(answer.output):
        found.setdefault(name, []).append(path)
    return found


def dcgm(release: str, library: str, known: dict[str, list[str]]) -> str:
    """
    Return why ``release`` would end at once for want of DCGM's library, or ``""``.

    :param library: its name.
    :param known: what the loader finds (``libraries``).
    """
    needs = f"dcgm-exporter {release} needs {library} on this node, also where the host engine is elsewhere"
    if paths := known.get(library):
        if any(os.path.exists(path) for path in paths):
            return ""
        return f"{needs}, and {paths[0]}, which `ldconfig -p` lists, is gone: install DCGM again, then run `ldconfig`"
    others = sorted(name for name in known if name.startswith("libdcgm.so."))
    listed = f"lists only {', '.join(others)}" if others else "does not list it"
    return f"{needs}, and `ldconfig -p` {listed}: install DCGM {library.rpartition('.so.')[2]}".rstrip()


def older(release: str, library: str, made_for: str, known: dict[str, list[str]]) -> str:
    """
    Return that the DCGM of this node is older than the one that ``release`` was made for, or ``""``.

    That alone ends nothing: what the older one cannot do is missing.

    :param made_for: version of DCGM; empty where it is not known.
    """
    for path in known.get(library, []):
        version = os.path.realpath(path).rpartition(".so.")[2]
        if _numbers(version) and made_for and len(_numbers(version)) == len(_numbers(made_for)):
            if _numbers(version) >= _numbers(made_for):
                return ""
            return f"{library} is of DCGM {version} here, and dcgm-exporter {release} was made for {made_for}"
    return ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split("."))) if re.fullmatch(r"\d+(\.\d+)*", version) else ()


def nvml(release: str, known: dict[str, list[str]]) -> str:
    """Return why ``release`` could not ask NVML, which it does at every start, or ``""``."""
    needs = f"dcgm-exporter {release} needs NVML at every start"
    if not any(os.path.exists(path) for path in known.get(_NVML, [])):
        return f"{needs}, and `ldconfig -p` does not list {_NVML}: install the NVIDIA driver, or choose another release"
    if not os.path.exists(_DRIVER):
        return f"{needs}, and no NVIDIA driver is loaded: load it (`nvidia-smi` does), or choose another release"
    return ""


def engine(address: str, units: Iterable[str]) -> str:
    """
    Return what is wrong with the host engine on this node that the exporter is to ask, or ``""``.

    One that has just been started is waited for.

    :param address: as the exporter gets it; empty for one of its own.
    :param units: units of host engines that may be installed.
    """
    units, deadline = list(units), time.monotonic() + _ENGINE_SECONDS
    while True:
        problem = trouble.of_engine(address, units)
        if not problem.waits or time.monotonic() > deadline:
            return problem.text
        time.sleep(1)


def lacks(
    release: str,
    library: str,
    needs_nvml: bool,
    known: dict[str, list[str]] | None,
    address: str,
    units: Iterable[str],
) -> list[str]:
    """
    Return what keeps ``release`` from running on this node, one sentence each.

    :param library: DCGM's library that it opens.
    :param needs_nvml: whether it asks NVML at every start.
    :param known: what the loader finds; None where that is not asked or cannot be told.
    :param address: of the host engine; empty for one of its own.
    :param units: units of host engines that may be installed.
    """
    found = [engine(address, units)]
    if known is not None:
        found = [dcgm(release, library, known), nvml(release, known) if needs_nvml else "", *found]
    return [sentence for sentence in found if sentence]


def knows(binary: str, brought: Collection[str]) -> Callable[[str], bool] | None:
    """
    Return a function that says whether an installed binary may know a field by that name; None if it cannot be told.

    All names are constants in it. A name that another one begins with is there as well, so this refuses too little
    rather than too much.

    :param brought: names that it knows, of the counters file that comes with it.
    """
    try:
        with open(binary, "rb") as stream:
            content = stream.read()
    except OSError:
        return None

    def known(name: str) -> bool:
        return content.find(name.encode()) >= 0

    return known if brought and all(map(known, brought)) else None
