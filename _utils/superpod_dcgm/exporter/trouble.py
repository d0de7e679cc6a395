"""Why the exporter does not answer, in its own words, and how the host engine is that it asks."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

from superpod_dcgm.base import complaint, paths, process, systemd
from superpod_dcgm.exporter import environment

_SECONDS = 20
_LINES = 200
_CONNECT_SECONDS = 2
_LOCAL = ("localhost", "127.0.0.1", "::1")
# What the exporter's log puts before the words.
_STAMP = re.compile(r'^(?:time="[^"]*"|time=\S+|\d{4}[/-]\d\d[/-]\d\d[T ]\S+)\s+')


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
    text = "\n".join(_STAMP.sub("", _text(entry.get("MESSAGE"))) for entry in own or entries)
    return complaint.reason(text, last=True)


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
    address = environment.read().get(environment.ENGINE, "")
    host, _, port = address.rpartition(":")
    if host.strip("[]") not in _LOCAL or not port.isdigit() or _answers(host.strip("[]"), int(port)):
        return ""
    known = [(unit, state) for unit in _units() if (state := systemd.show(unit)).get("LoadState") == "loaded"]
    if not known:
        return f"No host engine listens on {address} and none is installed: set dcgm:exporter:engine: embedded"
    return _state(*next(((unit, state) for unit, state in known if systemd.is_up(state)), known[0]), address)


def _state(unit: str, state: dict[str, str], address: str) -> str:
    name = unit.removesuffix(".service")
    if state.get("ActiveState") == "active":
        return f"{unit} runs, but nothing listens on {address}: compare dcgm:exporter:engine_address with its port"
    if state.get("UnitFileState") != "enabled" and state.get("ActiveState") == "inactive":
        return (
            f"{unit} is installed but neither enabled nor running: `systemctl enable --now {name}`, "
            "or set dcgm:exporter:engine: embedded"
        )
    return (
        f"{unit} does not run ({state.get('ActiveState')}, result {state.get('Result')}): see `journalctl -u {name}`, "
        f"then `systemctl restart {name}`"
    )


def _units() -> list[str]:
    """The engines that the pillar names stand in our unit, which starts after them."""
    with contextlib.suppress(OSError), open(paths.UNIT_FILE, encoding="utf-8") as stream:
        words = " ".join(re.findall(r"^After=(.*)$", stream.read(), re.MULTILINE)).split()
        return [word for word in words if word.endswith(".service") and not word.startswith("systemd-")]
    return []


def _answers(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), _CONNECT_SECONDS):
        return True
    return False
