"""Prometheus' promtool of the lab's image, or this machine's; both versions where the image has them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from superpod.lab import image

# Where the image has them, by the major version of Prometheus.
PLACES = {2: "usr/bin/promtool", 3: "opt/prometheus-3/bin/promtool"}
_LOADER, _LIBRARIES = "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"
_SECONDS = 300
_COMMENT = re.compile(r'# (.*)", time: ')


def command(version: int, work: Path) -> list[str]:
    """
    Return how promtool of a major version is started; a test that has none is left out, and fails with CI=true.

    :param work: where a log may be written.
    """
    if not image.is_built() and os.environ.get("CI") == "true" and os.geteuid() == 0:
        image.ensure_image(work / "image.log", lambda text: None)
    root = image.image_dir()
    program = root / PLACES[version]
    if image.is_built() and program.exists():
        loader = root / _LOADER
        # With its own libraries: it may be of a newer Debian than this machine.
        with_them = [str(loader), "--library-path", str(root / _LIBRARIES)] if loader.exists() else []
        return [*with_them, str(program)]
    found = shutil.which("promtool")
    if found and _major(found) == version:
        return [found]
    why = f"promtool {version}.x is neither in the lab's image ({root}) nor on this machine"
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def _major(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_SECONDS, check=False)
    found = re.search(r"version (\d+)\.", done.stdout + done.stderr)
    return int(found[1]) if found else 0


def run(program: list[str], *arguments: str) -> tuple[int, str]:
    """Return the exit status of promtool and all that it said."""
    done = subprocess.run([*program, *arguments], capture_output=True, text=True, timeout=_SECONDS, check=False)
    return done.returncode, done.stdout + done.stderr


def failures(program: list[str], work: Path, files: dict[str, tuple[str, list[dict[str, object]]]]) -> dict[str, str]:
    """
    Return what promtool says of each expression that is not as expected, by the comment behind it: promtool 2 names no
    test.

    :param files: texts of rule files with the tests of each, by a name.
    """
    written = []
    for name, (rules, tests) in files.items():
        (work / f"{name}.rules.yml").write_text(rules)
        path = work / f"{name}.tests.yml"
        path.write_text(yaml.safe_dump({"rule_files": [f"{name}.rules.yml"], "tests": tests}, width=10000))
        written.append(str(path))
    status, said = run(program, "test", "rules", *written)
    found: dict[str, str] = {}
    for part in re.split(r"\n(?=\s*(?:expr|name): )", said)[1:]:
        name = _COMMENT.search(part) or re.search(r"name: (.*),\n", part)
        assert name, part
        found[name[1]] = f"{found.get(name[1], '')}{part}\n"
    assert bool(found) == bool(status), said
    return found
