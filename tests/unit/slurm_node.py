"""A node as slurmd sees it, in a temporary directory: the real script under both names, settings, job map, syslog."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = REPOSITORY / "salt/dcgm/slurm/files/job-map.sh"
SETTINGS = "settings=/etc/dcgm-exporter/job-map.conf"
RUNTIME = "runtime=/run/superpod-dcgm"
SEARCH_PATH = "PATH=/usr/bin:/usr/sbin:/bin:/sbin "
LOGGER = '#!/bin/sh\nprintf "%s\\n" "$*" >>"{log}"\n'
# What dcgm-exporter takes for a map file.
MAP_NAME = re.compile(r"^\d+(\.\d+)?$")


class Node:
    """Runs the real script with only its constants changed: where its settings, tables and helpers are."""

    def __init__(self, root: Path) -> None:
        self.root, self.directory, self.runtime = root, root / "map", root / "runtime"
        self.log_file, self.helpers = root / "log", root / "helpers"
        self.helpers.mkdir(parents=True)
        self.directory.mkdir()
        self.runtime.mkdir()
        self.helper("logger", LOGGER.format(log=self.log_file))
        self.settings(directory=self.directory, idle="empty", time_limit=30000, shared="no")
        self.install(f"PATH={self.helpers}:{SEARCH_PATH.removeprefix('PATH=').strip()}")

    def install(self, search_path: str, **changes: str) -> None:
        """Write both scripts; ``changes`` are further words of the script and what to put there."""
        text = SCRIPT.read_text()
        ours = {SETTINGS: f"settings={self.root}/job-map.conf", RUNTIME: f"runtime={self.runtime}"}
        for old, new in {**ours, SEARCH_PATH: f"{search_path} "}.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        for old, new in changes.items():
            assert old in text
            text = text.replace(old, new)
        for name in ("60-prolog-dcgm.sh", "60-epilog-dcgm.sh"):
            (self.root / name).write_text(text)
            (self.root / name).chmod(0o755)

    def helper(self, name: str, text: str) -> None:
        (self.helpers / name).write_text(text)
        (self.helpers / name).chmod(0o755)

    def settings(self, **values: object) -> None:
        lines = [f"{key}={value}\n" for key, value in values.items()]
        (self.root / "job-map.conf").write_text("# settings\n" + "".join(lines))

    def table(self, text: str | None) -> None:
        """Put the device table in place, as ``dcgm-devices.service`` would."""
        path = self.runtime / "devices"
        path.unlink(missing_ok=True) if text is None else path.write_text(text)

    def start(self, kind: str, prefix: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start a script as slurmd does: an environment from nothing, one pipe, its own process group."""
        return subprocess.Popen(
            [*prefix, str(self.root / f"60-{kind}-dcgm.sh")],
            env=environment,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, kind: str, prefix: tuple[str, ...] = (), **environment: str) -> int:
        process = self.start(kind, prefix, **environment)
        output, _ = process.communicate(timeout=20)
        assert output == b""
        return process.returncode

    def prolog(self, job: object, gpus: str | None = None, prefix: tuple[str, ...] = ()) -> None:
        assert self.run("prolog", prefix, **_environment(job, gpus)) == 0

    def epilog(self, job: object, gpus: str | None = None, prefix: tuple[str, ...] = ()) -> None:
        assert self.run("epilog", prefix, **_environment(job, gpus)) == 0

    def map(self) -> dict[str, list[str]]:
        """Read the map as dcgm-exporter does; an error here would be HTTP 500 there."""
        names = [name for name in sorted(os.listdir(self.directory)) if MAP_NAME.match(name)]
        files = [self.directory / name for name in names if not (self.directory / name).is_dir()]
        return {path.name: path.read_text().splitlines() for path in files}

    def put(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def mode(self, name: str) -> int:
        return stat.S_IMODE((self.directory / name).stat().st_mode)

    def record(self, job: object) -> list[str] | None:
        """Return the fields of a job's record; None: there is none."""
        path = self.directory / f".job-{job}"
        if not path.is_file():
            return None
        fields = path.read_text(errors="surrogateescape").split("\0")
        assert fields.pop() == ""
        return fields

    def spool(self) -> list[tuple[str, str]]:
        """Return what each run said of itself: its kind and how it went."""
        path = self.runtime / "spool"
        lines = path.read_text().splitlines() if path.exists() else []
        runs = [line.split(" ") for line in lines]
        assert all(len(run) == 3 and 0 <= int(run[1]) < 60_000_000 for run in runs)
        return [(kind, outcome) for kind, _, outcome in runs]

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def stray(self) -> list[str]:
        """Return the temporary files that are left."""
        return sorted(os.listdir(self.directory / ".new"))


def _environment(job: object, gpus: str | None) -> dict[str, str]:
    return {"SLURM_JOB_ID": str(job), **({} if gpus is None else {"SLURM_JOB_GPUS": gpus})}
