"""Why the exporter does not answer, in its own words, and how the host engine is that it asks."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import paths, process, systemd
from superpod_dcgm.exporter import environment, log_lines

_SECONDS = 20
_LINES = 200
_CONNECT_SECONDS = 2
_SOCKET = "unix://"
# After which our unit starts as well.
_NO_ENGINES = ("systemd-", "nvidia-persistenced.")


def explain(unit: str, since: float) -> str:
    """
    Return what the exporter said last before it gave up, and what is wrong with its host engine; ``""`` if neither.

    :param since: moment of ``time.monotonic``: what was said before it is another start's.
    """
    said = own_words(unit, since)
    return ". ".join(part for part in (f"It says: {said.rstrip('.')}" if said else "", engine()) if part)


def own_words(unit: str, since: float) -> str:
    """Return the line of the unit's journal since a moment of this boot that tells best why it does not run."""
    arguments = ["--boot", f"--unit={unit}", f"--lines={_LINES}", "--output=json", "--no-pager", "--quiet"]
    entries = list(_entries(process.run(["journalctl", *arguments], _SECONDS).output, since))
    own = [entry for entry in entries if entry.get("_SYSTEMD_UNIT") == unit]
    # Where not even the program could be started, systemd says why.
    return log_lines.cause(_text(entry.get("MESSAGE")) for entry in own or entries)


def _entries(output: str, since: float) -> Iterator[dict[str, Any]]:
    for line in output.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):
            entry = json.loads(line)
            if int(entry["__MONOTONIC_TIMESTAMP"]) >= since * 1e6:
                yield entry


def _text(message: Any) -> str:
    """The journal gives what is not UTF-8 as a list of bytes."""
    with contextlib.suppress(ValueError, TypeError):
        return bytes(message).decode("utf-8", "replace") if isinstance(message, list) else str(message or "")
    return ""


def engine() -> str:
    """Return what is wrong with the host engine on this node that the exporter asks, with what to do; else ``""``."""
    return of_engine(environment.read().get(environment.ENGINE, ""), _units()).text


@dataclass(frozen=True)
class Engine:
    """What is wrong with a host engine, in a sentence; ``waits`` where it runs and may listen in a moment."""

    text: str = ""
    waits: bool = False


def of_engine(address: str, units: Iterable[str]) -> Engine:
    """
    Return what is wrong with the host engine at an address of this node, with what to do.

    :param address: as the exporter gets it; of one elsewhere, or of its own (empty), nothing is told.
    :param units: units of host engines that may be installed.
    """
    if not address or not environment.is_local(address) or _answers(address):
        return Engine()
    known = [(unit, state) for unit in units if (state := systemd.show(unit)).get("LoadState") == "loaded"]
    if not known:
        return Engine(f"No host engine listens on {address} and none is installed: set dcgm:exporter:engine: embedded")
    return _state(*next(((unit, state) for unit, state in known if systemd.is_up(state)), known[0]), address)


def _state(unit: str, state: dict[str, str], address: str) -> Engine:
    name = unit.removesuffix(".service")
    if state.get("ActiveState") == "active":
        what = f"{unit} runs, but nothing listens on {address}: compare dcgm:exporter:engine_address with its port"
        return Engine(what, True)
    if state.get("UnitFileState") != "enabled" and state.get("ActiveState") == "inactive":
        return Engine(
            f"{unit} is installed but neither enabled nor running: `systemctl enable --now {name}`, "
            "or set dcgm:exporter:engine: embedded"
        )
    return Engine(
        f"{unit} does not run ({state.get('ActiveState')}, result {state.get('Result')}): see `journalctl -u {name}`, "
        f"then `systemctl restart {name}`",
        state.get("ActiveState") == "activating",
    )


def _units() -> list[str]:
    """The engines that the pillar names stand in our unit, which starts after them."""
    with contextlib.suppress(OSError), open(paths.UNIT_FILE, encoding="utf-8") as stream:
        words = " ".join(re.findall(r"^After=(.*)$", stream.read(), re.MULTILINE)).split()
        return [word for word in words if word.endswith(".service") and not word.startswith(_NO_ENGINES)]
    return []


def _answers(address: str) -> bool:
    """Return whether somebody listens there; what is no such address is for the exporter to refuse."""
    with contextlib.suppress(OSError):
        if address.startswith(_SOCKET):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_CONNECT_SECONDS)
                connection.connect(address.removeprefix(_SOCKET))
            return True
        host, _, port = address.rpartition(":")
        if not port.isdigit():
            return True
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS):
            return True
    return False
