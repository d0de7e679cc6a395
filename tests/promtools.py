"""The promtools that this machine has: those of the lab's image, Prometheus 2 and 3, and one in PATH."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from superpod.lab import image

# Major version of Prometheus: where its promtool lies in the lab's image.
PLACES = {"2": "usr/bin/promtool", "3": "opt/prometheus-3/bin/promtool"}
MAJORS = tuple(PLACES)


def promtool(major: str) -> str:
    """
    Return the promtool of Prometheus 2 or 3.

    Without one the test is skipped, but CI builds the image, or waits for the lab's tests that do.
    """
    path = _find(major)
    if not path and os.environ.get("CI") == "true" and os.geteuid() == 0:
        image.ensure_image(image.image_dir().parent.with_name("image.log"), lambda text: None)
        path = _find(major)
    if path:
        return path
    reason = f"there is no promtool {major}: it is in the lab's image, which ./setup.sh lab builds"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _find(major: str) -> str:
    """Return the promtool of this checkout's image, else of the newest image, else the one in PATH, else ``""``."""
    images = image.image_dir().parent
    there = sorted(images.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    paths = [str(one / PLACES[major]) for one in (image.image_dir(), *there)] + [shutil.which("promtool") or ""]
    return next((path for path in paths if os.path.isfile(path) and _version(path).startswith(f"{major}.")), "")


@cache
def _version(path: str) -> str:
    answer = subprocess.run([path, "--version"], capture_output=True, text=True)
    number = re.search(r"version (\d+\.\d+\.\d+)", answer.stdout + answer.stderr)
    return number[1] if number else ""


def check(major: str, *files: Path) -> str:
    """Return what ``promtool check rules`` finds in rule files, style included; ``""``: nothing."""
    return _complaint(promtool(major), "check", "rules", "--lint=all", "--lint-fatal", *map(str, files))


def run(major: str, file: Path) -> str:
    """Return what ``promtool test rules`` finds wrong with the cases of a file; ``""``: nothing."""
    return _complaint(promtool(major), "test", "rules", str(file))


def _complaint(*command: str) -> str:
    answer = subprocess.run(command, capture_output=True, text=True)
    return "" if answer.returncode == 0 else answer.stdout + answer.stderr or "it fails without a word"
