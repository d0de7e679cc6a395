"""Our dashboards, drawn with Grafana's UI library: npm builds the page, once and outside the checkout; it is served."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import cgroups, image
from superpod.lab.lab import Lab
from superpod.lab.layout import CHECKOUT, HEAD, LAB, addresses_of, cache_dir

SOURCES = LAB / "boards"
STAMP = ".superpod-lab-boards"
PORT = 3000
SECONDS = 900
HONEST = "drawn with Grafana's UI library, not by a Grafana server"
NPM = ["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
BUNDLE = (
    *("node_modules/.bin/esbuild", "page=src/main.jsx", "--bundle", "--minify", "--format=esm", "--splitting"),
    *("--outdir=built", "--jsx=automatic", '--define:process.env.NODE_ENV="production"'),
    *("--loader:.svg=dataurl", "--loader:.ttf=empty", "--log-level=error"),
)
# The letters that Grafana's style asks for: its own server has them, the library has not.
FONTS = {
    "inter/Inter-Regular.woff2": "inter/files/inter-latin-400-normal.woff2",
    "inter/Inter-Medium.woff2": "inter/files/inter-latin-500-normal.woff2",
    "inter/Inter-Italic.woff2": "inter/files/inter-latin-400-italic.woff2",
    "inter/Inter-MediumItalic.woff2": "inter/files/inter-latin-500-italic.woff2",
    "roboto/L0xTDF4xlVMF-BfR8bXMIhJHg45mwgGEFl0_3vrtSM1J-gEPT5Ese6hmHSh0mQ.woff2": (
        "roboto-mono/files/roboto-mono-latin-400-normal.woff2"
    ),
}


def key() -> str:
    """Twelve digits that change when anything changes from which the page is made."""
    digest = hashlib.sha256()
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(SOURCES)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def built() -> Path:
    """Where the page is or will be."""
    return cache_dir() / "boards" / key()


def ensure(log: Path, progress: image.Progress) -> Path:
    """
    Path of the page, built now if it has to be.

    :raises SuperpodError: it cannot be built; the sentence says why.
    """
    with image.locked(cache_dir() / "boards.lock"):
        if not (built() / STAMP).exists():
            _build(built(), log, progress)
    return built()


def _build(target: Path, log: Path, progress: image.Progress) -> None:
    if not shutil.which("npm"):
        raise SuperpodError("there is no npm on this machine (Debian's package npm)")
    draft = target.with_name(f".{target.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        shutil.copytree(SOURCES, draft)
        progress("Grafana's UI library by npm, for the dashboards (once; 400 packages, a minute or two)")
        _run([*NPM, f"--cache={draft / 'npm'}"], draft, log)
        _run(BUNDLE, draft, log)
        page = draft / "built"
        shutil.copy(draft / "index.html", page)
        shutil.copytree(draft / "node_modules/@grafana/ui/dist/public", page / "public/build")
        for name, file in FONTS.items():
            (page / "public/fonts" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(draft / "node_modules/@fontsource" / file, page / "public/fonts" / name)
        (page / STAMP).write_text(target.name + "\n")
        page.rename(target)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _run(command: Sequence[str], folder: Path, log: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise SuperpodError(f"{command[0]} did not end within {SECONDS} s") from None
    said = f"{done.stdout}{done.stderr}"
    with log.open("a") as output:
        output.write(said)
    if done.returncode:
        raise SuperpodError(f"{Path(command[0]).name} failed: {reason(said)} (all of it: {log})")


def reason(said: str) -> str:
    """The line of npm's or esbuild's output that says what is wrong."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() and "log of this run" not in line]
    return (errors or lines or ["it said nothing"])[0]


def arguments(prometheus: str, page: Path, record: Path, network: int = 0, port: int = PORT) -> list[str]:
    """
    Command line of the server of the page.

    :param prometheus: address of the Prometheus that it asks.
    :param record: file that gets its port.
    :param network: process in whose network that Prometheus is; 0: in ours.
    """
    server = ["env", f"PYTHONPATH={CHECKOUT}", sys.executable, "-B", "-m", "superpod.lab.drawn_server"]
    return [*server, prometheus, str(page), str(record), str(network), str(port)]


def serve(lab: Lab) -> str:
    """
    Address on this machine's loopback at which the dashboards are, with the lab's Prometheus; one server is started.

    :raises SuperpodError: it cannot be built, or does not start.
    """
    page = ensure(lab.log, lab.progress)
    # With another page, another server.
    group, record = lab.holder.group / f"boards-{page.name}", lab.layout.root / f"boards-{page.name}"
    if not cgroups.populated(group):
        record.unlink(missing_ok=True)
        group.mkdir(exist_ok=True)
        prometheus = f"http://{addresses_of(HEAD)[0]}:9090"
        cgroups.spawn(group, arguments(prometheus, page, record, lab.holder.pid or 0), lab.layout.root / "boards.log")
    return f"http://127.0.0.1:{wait_number(record)}"


def wait_number(record: Path, timeout: float = 20) -> int:
    """The port that a server wrote into its record."""
    deadline = time.monotonic() + timeout
    while not (number := record.read_text().strip() if record.exists() else ""):
        if time.monotonic() > deadline:
            raise SuperpodError("the server of the dashboards did not start")
        time.sleep(0.05)
    return int(number)
