"""Programs of Prometheus 2 and 3 and of VictoriaMetrics, as they lie in the lab's image, for tests without a lab."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NoReturn

import pytest

from superpod.lab import image

# Major version of Prometheus: where its promtool lies in the lab's image.
PLACES = {"2": "usr/bin/promtool", "3": "opt/prometheus-3/bin/promtool"}
MAJORS = tuple(PLACES)


def promtool(major: str) -> str:
    """Return the promtool of Prometheus 2 or 3; without one the test is skipped. See ``program``."""
    return program(PLACES[major], lambda path: _version(path).startswith(f"{major}."))


def program(place: str, fits: Callable[[str], bool] = lambda path: True) -> str:
    """
    Return a program of the lab's image: of this checkout's, else of the newest, else the one in PATH.

    Without one the test is skipped, but CI builds the image, or waits for the lab's tests that do.

    :param place: where it lies in the image.
    :param fits: says whether it is one that will do.
    """
    path = _find(place, fits)
    if not path and os.environ.get("CI") == "true" and os.geteuid() == 0:
        image.ensure_image(image.image_dir().parent.with_name("image.log"), lambda text: None)
        path = _find(place, fits)
    if path:
        return path
    reason = f"there is no {place} as wanted: it is in the lab's image, which ./setup.sh lab builds"
    _cannot(reason)


def alone(words: list[str]) -> list[str]:
    """Return a command in a network namespace of its own, for a program that listens on a fixed port."""
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    inside = ["unshare", *user, "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        _cannot("this user cannot make a network namespace, which vmalert-tool needs for its port 8880")
    return [*inside, *words]


def _cannot(reason: str) -> NoReturn:
    """Leave a test out, with the reason, where this machine cannot run it; in CI that is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _find(place: str, fits: Callable[[str], bool]) -> str:
    images = image.image_dir().parent
    there = sorted(images.glob("[0-9a-f]*"), key=lambda path: path.stat().st_mtime, reverse=True)
    paths = [str(one / place) for one in (image.image_dir(), *there)] + [shutil.which(os.path.basename(place)) or ""]
    return next((path for path in paths if os.path.isfile(path) and fits(path)), "")


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
