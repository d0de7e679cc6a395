"""A headless Chromium that looks at a page: what it shows, as a picture, and what its console says is wrong."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from superpod.errors import SuperpodError
from superpod.lab import image, loopback
from superpod.lab.devtools import Page
from superpod.lab.layout import LAB, cache_dir

SCRIPTS = LAB / "browser"
PROGRAMS = ("chromium-headless-shell", "chromium", "google-chrome-stable", "google-chrome")
STAMP = ".superpod-lab-browser"
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-pings"),
    *("--user-data-dir=/tmp/profile", "--remote-debugging-pipe", "--font-render-hinting=none"),
)
COMPLETE = "document.readyState === 'complete'"
SECONDS = 60.0


@dataclass(frozen=True)
class Seen:
    """What there is to see of a page: a picture, what its console says is wrong, and the answer to what was asked."""

    picture: bytes
    errors: list[str]
    answer: Any


def key() -> str:
    """Twelve digits that change when anything changes from which the browser's tree is made."""
    digest = hashlib.sha256()
    for path in sorted(SCRIPTS.iterdir()):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def tree() -> Path:
    """Where the browser's tree is or will be: Debian's Chromium with all that it needs, and nothing of this machine."""
    return cache_dir() / "browser" / key()


def found() -> tuple[Path, str] | None:
    """The root in which there is a Chromium, and its program: in a tree of its own, else this machine's; or None."""
    if (tree() / STAMP).exists():
        return tree(), "/usr/bin/chromium-headless-shell"
    return next(((Path("/"), place) for name in PROGRAMS if (place := shutil.which(name))), None)


def ensure(log: Path, progress: image.Progress) -> None:
    """
    Make the browser's tree, unless there is one, or this machine has a Chromium.

    :raises SuperpodError: it cannot be made; the sentence says why.
    """
    with image.locked(cache_dir() / "browser.lock"):
        if found():
            return
        draft = tree().with_name(f".{tree().name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.parent.mkdir(parents=True, exist_ok=True)
        try:
            image.run_script([str(SCRIPTS / "build.sh"), str(draft)], log, progress, "The browser could not be made")
            (draft / STAMP).write_text(tree().name + "\n")
            draft.rename(tree())
        finally:
            shutil.rmtree(draft, ignore_errors=True)


def look(
    page: Path | str,
    dark: bool = False,
    width: int = 1280,
    height: int = 800,
    ready: str = COMPLETE,
    ask: str = "null",
    kind: str = "png",
    timeout: float = SECONDS,
) -> Seen:
    """
    Open a page and return all of it as a picture, from top to bottom.

    It reaches nothing but itself: of a file nothing else, of an address the port on 127.0.0.1 that it names.

    :param page: a file (one that needs no other), or an address on 127.0.0.1.
    :param height: at least; a longer page gives a longer picture.
    :param ready: JavaScript that is true when the page is as it shall be seen.
    :param ask: JavaScript whose value is wanted.
    :param kind: of the picture: ``png`` or ``webp``.
    :raises SuperpodError: there is no Chromium, or it does not come so far in time.
    """
    with _opened(page, timeout) as tab:
        tab.call("Emulation.setEmulatedMedia", features=[_scheme(dark)])
        _resize(tab, width, height)
        tab.call("Page.navigate", url="file:///tmp/page.html" if isinstance(page, Path) else page)
        tab.wait(f"location.protocol !== 'about:' && {COMPLETE} && ({ready})")
        _resize(tab, width, max(height, int(tab.evaluate("document.documentElement.scrollHeight"))))
        tab.wait(ready)
        quality = {"quality": 80} if kind == "webp" else {}
        answer = tab.evaluate(ask)
        picture = tab.call("Page.captureScreenshot", format=kind, **quality)["data"]
        return Seen(base64.b64decode(picture), tab.errors, answer)


def _scheme(dark: bool) -> dict[str, str]:
    return {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}


def _resize(tab: Page, width: int, height: int) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)


@contextlib.contextmanager
def _opened(page: Path | str, timeout: float) -> Iterator[Page]:
    file, port = (str(page.resolve()), None) if isinstance(page, Path) else ("", _port(page))
    program = found()
    if program is None:
        raise SuperpodError("There is no Chromium: ./setup.sh lab pictures makes one of its own.")
    root, name = program
    told, answers = os.pipe(), os.pipe()
    command = ["bash", str(SCRIPTS / "run.sh"), str(root), file, str(told[0]), str(answers[1]), name, *OPTIONS]
    process = loopback.start([*image.PRIVATE, "--", *command], port, (told[0], answers[1]))
    os.close(told[0])
    os.close(answers[1])
    try:
        yield _connected(process, answers[0], told[1], timeout)
    finally:
        process.kill()
        process.communicate()
        os.close(told[1])
        os.close(answers[0])


def _port(address: str) -> int:
    parts = urlsplit(address)
    if parts.scheme != "http" or parts.hostname != loopback.HERE:
        raise SuperpodError(f"The browser reaches nothing but http://127.0.0.1, and not {address}", 2)
    return parts.port or 80


def _connected(process: subprocess.Popen[str], reading: int, writing: int, timeout: float) -> Page:
    try:
        return Page(reading, writing, time.monotonic() + timeout)
    except (SuperpodError, BrokenPipeError) as error:
        process.kill()
        said = process.communicate()[1].strip().splitlines()
        raise SuperpodError(f"Chromium did not start: {said[-1] if said else error}") from error
