"""A lab of an earlier commit, run by that commit's own code: later changes of the lab do not reach it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from superpod.errors import SuperpodError
from superpod.lab import Lab
from superpod.lab.lab import Progress
from superpod.lab.layout import CHECKOUT, HEAD, go_cache, node_names

# The last one before the code moved into the package superpod_dcgm.
COMMIT = "5f23b603bd90dcdd9cd048cba0365073c83d2fa3"
# What the head was called then: machine, host name and minion.
FORMER_HEAD = "head"
# Its machines know no DCGM; a release is refused where the loader does not find this library. Nobody opens it there.
LIBDCGM = """echo 'int nothing;' | gcc -shared -fPIC -Wl,-soname,libdcgm.so.4 -o /usr/local/lib/libdcgm.so.4 -x c -
ldconfig"""
# Root may read a checkout that is somebody else's.
GIT = ("git", "-c", "safe.directory=*", "-C", str(CHECKOUT))


def why_not() -> str | None:
    """Why there is no earlier code to upgrade from, or None."""
    found = subprocess.run([*GIT, "cat-file", "-e", f"{COMMIT}^{{commit}}"], capture_output=True)
    return f"the git history here does not reach back to {COMMIT[:9]}" if found.returncode else None


def _output(command: Sequence[str]) -> bytes:
    return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def unpack(directory: Path) -> None:
    """Make a directory with the earlier commit's files."""
    directory.mkdir(mode=0o755)
    tree = _output([*GIT, "archive", COMMIT])
    subprocess.run(["tar", "--extract", "--directory", str(directory)], input=tree, check=True)


def replace(directory: Path) -> None:
    """Put the files under test in the place of all others, as `git pull` does; what is not committed yet as well."""
    for path in directory.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    names = _output([*GIT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]).decode().split("\0")
    for name in filter(None, names):
        source, target = CHECKOUT / name, directory / name
        # One that was removed and is not committed yet is in the list.
        if os.path.lexists(source):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target, follow_symlinks=False)


class FormerLab(Lab):
    """The earlier lab, through the earlier command line."""

    def __init__(self, name: str, place: Path, progress: Progress) -> None:
        super().__init__(name, progress)
        # Two of them: the head's file root gets the new code, while the command line stays the earlier one.
        self.served, self._program = place / "served", place / "program"
        for directory in (self.served, self._program):
            unpack(directory)
        self._warm()

    def _warm(self) -> None:
        """Give the build what other labs compiled of Go's own library; without it, that takes a minute more."""
        if go_cache().is_dir():
            shutil.copytree(go_cache(), self.layout.shared / "lab/go-build")
        pillar = self.served / "lab/config/pillar/dcgm.sls"
        text = pillar.read_text().replace("@build_environment@", "{GOCACHE: /cm/shared/lab/go-build}")
        # As often as Prometheus scrapes, which states of now insist on.
        pillar.write_text(text.replace("    interval: 1000\n", "    interval: 2000\n"))

    def up(self, nodes: int) -> None:
        """Start and deploy; the head's file root is the directory that can be upgraded."""
        self.progress(f"a lab of {COMMIT[:9]}")
        self._command("up", "--nodes", str(nodes), checkout=self.served, check=True)
        for node in node_names(nodes):
            self.exec(node, ["sh", "-ec", LIBDCGM], check=True)

    def down(self) -> None:
        self._command("down", check=True)

    def exec(
        self, node: str, argv: Sequence[str], check: bool = False, timeout: float = 600, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        machine = FORMER_HEAD if node == HEAD else node
        return self._command("exec", machine, "--", *argv, check=check, timeout=timeout, input=input)

    def roles(self, node: str, *changes: str) -> list[str]:
        return self._command("roles", node, *changes, check=True).stdout.split()

    def run_job(self, gpus: int = 2, seconds: int = 300, node: str | None = None) -> int:
        where = ["--node", node] if node else []
        options = ["--gpus", str(gpus), "--seconds", str(seconds), *where]
        return int(self._command("run-job", *options, check=True).stdout)

    def _command(
        self,
        *words: str,
        checkout: Path | None = None,
        check: bool = False,
        timeout: float = 600,
        input: str | None = None,
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "superpod", "lab", "--name", self.name, *words],
            cwd=checkout or self._program,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            # Without it a command in the lab would read what is typed to the tests.
            input=input or "",
        )
        if check and done.returncode:
            said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
            raise SuperpodError("\n".join([f"lab {' '.join(words[:6])} ended with {done.returncode}:", *said]))
        return done
