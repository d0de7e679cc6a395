"""A slurmd for tests of the agent: a script that stands in for the program, and the kernel's word that it runs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from superpod_dcgm.agent import slurmd_process, slurmd_unit

# Stands in for what the true program is known by.
PROOF = "# stands in for slurmd"


class FakeSlurmd:
    """Programs and processes below a folder. Nothing of this machine's own Slurm is seen, or started."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.processes, self.program = root, root / "processes", root / "sbin/slurmd"
        self.conf, self.cache = root / "etc/slurm.conf", root / "spool/conf-cache/slurm.conf"
        self._pid = 70
        self.processes.mkdir(parents=True)
        self.program.parent.mkdir()
        monkeypatch.setattr(slurmd_process, "PROC", str(self.processes))
        monkeypatch.setattr(slurmd_process, "_ELF", b"#!")
        monkeypatch.setattr(slurmd_process, "_PROOF", (PROOF.encode(),))
        monkeypatch.setattr(slurmd_process, "_is_roots", lambda folder: not os.path.exists(f"{folder}/of-a-user"))
        monkeypatch.setattr(slurmd_process, "_is_roots_alone", lambda found: found.st_mode & 0o022 == 0)
        monkeypatch.setattr(slurmd_process, "_DEFAULTS", (str(self.conf),))
        monkeypatch.setattr(slurmd_process, "_CACHES", (str(self.cache),))
        monkeypatch.setattr(slurmd_unit, "PLACES", ())

    def script(self, body: str, path: Path | None = None, proof: str = PROOF) -> Path:
        """Write a program, by default the one that slurmd's process runs."""
        path = path or self.program
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!{shutil.which('sh')}\n{proof}\n{body}\n")
        path.chmod(0o755)
        return path

    def start(self, *words: str, program: Path | None = None, parent: int = 1, **environment: str) -> int:
        """Let a process run it beside those that run; the kernel gives each another number."""
        self._pid += 1
        program = program or self.program
        folder = self.processes / str(self._pid)
        folder.mkdir()
        (folder / "exe").symlink_to(program)
        (folder / "root").symlink_to("/")
        (folder / "cmdline").write_bytes(b"".join(os.fsencode(word) + b"\0" for word in (str(program), *words)))
        (folder / "environ").write_text("".join(f"{name}={value}\0" for name, value in environment.items()))
        start = " ".join(["0"] * 17)
        (folder / "stat").write_text(f"{self._pid} (slurmd (x) S) S {parent} {start} {self._pid * 100} 0 0\n")
        return self._pid

    def stop(self, pid: int = 0) -> None:
        """End one process, or all of them."""
        for folder in list(self.processes.iterdir()):
            if pid in (0, int(folder.name)):
                shutil.rmtree(folder)

    def restart(self, *words: str, **environment: str) -> int:
        """End all and start one."""
        self.stop()
        return self.start(*words, **environment)

    def configure(self, text: str, gres: str = "") -> None:
        """Write slurm.conf and gres.conf long ago, as far as their times tell."""
        self.conf.parent.mkdir(exist_ok=True)
        for path, content in ((self.conf, text), (self.conf.parent / "gres.conf", gres)):
            path.write_text(content)
            os.utime(path, (1, 1))
