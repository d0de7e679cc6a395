"""The DCGM of a lab node: which libdcgm the loader finds, and what it answers."""

from __future__ import annotations

import argparse
import json
import platform
import re
import shutil
from pathlib import Path
from typing import Any

SETTINGS = Path("/etc/lab/dcgm.json")
# As the image has it installed (lab/libdcgm/Makefile).
VERSION = "4.7.0"
STORE = Path("/usr/lib/lab/libdcgm")
PLACE = Path(f"/usr/lib/{platform.machine()}-linux-gnu")
OFF = "off"


def settings(path: Path = SETTINGS) -> dict[str, Any]:
    """Return version and profiling; without a file as the image has them."""
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return {"version": VERSION, "profiling": True, **found}


def change(path: Path = SETTINGS, **changes: object) -> None:
    """Put changes of the settings in force."""
    text = json.dumps({**settings(path), **changes}) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def checked(word: str) -> str:
    """Return the version that a word means: `on` is the image's; an error for what no libdcgm here can be."""
    version = VERSION if word == "on" else word
    if version != OFF and not re.fullmatch(r"[34]\.\d{1,3}\.\d{1,3}", version):
        raise argparse.ArgumentTypeError(f"{word!r} is no DCGM of the lab; there are on, {OFF}, 3.x.y and 4.x.y")
    return version


def install(version: str, store: Path = STORE, place: Path = PLACE) -> None:
    """Put the libdcgm of a version where its package puts it, or none; ldconfig makes libdcgm.so.4 of it."""
    for old in place.glob("libdcgm.so*"):
        old.unlink()
    if version != OFF:
        shutil.copyfile(store / f"libdcgm.so.{version[0]}", place / f"libdcgm.so.{version}")
