"""A node with releases of dcgm-exporter in a temporary folder, and a systemd that runs nothing, for unit and states."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import files, paths, systemd
from superpod_dcgm.exporter import artifacts, gate, installed, last_good, rows, service

OLD, NEW = "4.5.2-4.8.1", "4.5.3-4.8.2"
URL = "http://127.0.0.1:9400/metrics"
SECONDS = 7
COUNTERS = "DCGM_FI_DEV_GPU_UTIL, gauge, Utilisation\nDCGM_FI_PROF_GR_ENGINE_ACTIVE, gauge, Engine\n"
_PATHS = {
    "NODE_STATE": "var",
    "RUNNING_FILE": "var/running.json",
    "OWNED_FILE": "var/owned.json",
    "EXPORTER_LINK": "usr/dcgm-exporter",
    "ROLES_FILE": "var/roles.json",
    "ENABLED_FLAG": "var/enabled",
    "NODE_RUNTIME": "run",
    "MAY_START": "run/may-start",
    "SERVICE_LOCK": "run/service.lock",
    "STARTED_RECORD": "run/started.json",
    "SHOWN_RECORD": "run/shown.json",
    "DEVICES": "run/devices",
    "GPUS_FREED": "run/gpus-freed.json",
    "EXPORTER_ROOT": "opt",
    "EXPORTER_CURRENT": "opt/current",
    "UNIT_FILE": "etc/dcgm-exporter.service",
    "EXPORTER_ENVIRONMENT": "etc/exporter.env",
    "EXPORTER_COUNTERS": "etc/default-counters.csv",
}
GPU_A, GPU_B = "GPU-aaaaaaaa", "GPU-bbbbbbbb"
_FILES = ("UNIT_FILE", "EXPORTER_ENVIRONMENT", "EXPORTER_COUNTERS")


class Clock:
    """A clock that goes on when somebody sleeps, and a little when he looks."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        self.now += 0.01
        return self.now

    def clock_gettime(self, kind: int) -> float:
        return self.monotonic()

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class ExporterNode:
    """
    What the code finds on a node: files, and a unit that is up or not, enabled or not.

    A restart takes release and environment as they are. The exporter answers unless one of them is in ``silent``. What
    it shows is ``pages`` of one of them, else ``page``; ``reloaded`` since its start, it shows no profiling rows.
    """

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for name, place in _PATHS.items():
            monkeypatch.setattr(paths, name, str(root / place))
        monkeypatch.setattr(last_good, "_GOOD", str(root / "var/good"))
        monkeypatch.setattr(last_good, "_FILES", tuple(str(root / _PATHS[name]) for name in _FILES))
        # Nobody looks at what a power failure would leave, and a busy disk makes these tests slow.
        monkeypatch.setattr(files.os, "fsync", lambda descriptor: None)
        for folder in ("var", "run", "opt", "etc", "usr"):
            (root / folder).mkdir(parents=True)
        self.up = self.enabled = self.failed = False
        self.calls: list[str] = []
        self.silent: set[str] = set()
        both = frozenset({GPU_A, GPU_B})
        self.page, self.pages = rows.Shown(both, both), dict[str, rows.Shown]()
        self.reloaded, self.since, self.clock = False, time.monotonic(), Clock()
        monkeypatch.setattr(gate, "time", self.clock)
        self.refused = self.words = self.in_the_way = ""
        # Addresses at which the exporter was asked, and where it was looked whether it could listen.
        self.asked: list[tuple[str, float]] = []
        self.listens: list[str] = []
        self.loaded: tuple[str | None, str] = (None, "")
        self.unit_file, self.environment = root / _PATHS["UNIT_FILE"], root / _PATHS["EXPORTER_ENVIRONMENT"]
        self.counters, self.flag = root / _PATHS["EXPORTER_COUNTERS"], root / _PATHS["ENABLED_FLAG"]
        self.current = root / _PATHS["EXPORTER_CURRENT"]
        self.configure("first")

    def install(self, release: str, content: str = "") -> Path:
        folder = self.root / "opt" / release
        folder.mkdir(exist_ok=True)
        (folder / artifacts.BINARY).write_text(content or release)
        (folder / artifacts.COUNTERS).write_text(f"# {release}\n{COUNTERS}")
        return folder

    def link(self, release: str | None) -> None:
        self.current.unlink(missing_ok=True)
        if release:
            self.current.symlink_to(release)

    def configure(self, environment: str) -> None:
        self.unit_file.write_text("[Service]\n")
        self.environment.write_text(environment)
        self.counters.unlink(missing_ok=True)
        self.counters.symlink_to(self.current / artifacts.COUNTERS)

    def runs(self, release: str, enabled: bool = True) -> dict[str, Any]:
        """Be a node on which a release runs, answered once and starts at boot; return its fingerprint."""
        self.install(release)
        self.link(release)
        self.up, self.enabled = True, enabled
        if enabled:
            self.flag.write_text("")
        good = last_good.fingerprint(release)
        last_good.remember(good)
        self._load()
        return good

    def _load(self) -> None:
        self.reloaded, self.since = False, time.monotonic()
        self.loaded = (installed.linked_release(), self.environment.read_text())

    def unit(self) -> service.Unit:
        return service.Unit(paths.UNIT, URL, SECONDS, **self.reached())

    def reached(self) -> dict[str, Any]:
        """Return how systemd, the exporter, its journal and its port are reached."""
        return {
            **{"systemctl": self.systemctl, "show": self.show, "await_metrics": self.await_metrics},
            **{"explain": self.explain, "obstacle": self.obstacle, "look": self.look},
        }

    def explain(self, unit: str, since: float) -> str:
        assert (unit, since <= time.monotonic()) == (paths.UNIT, True)
        return self.words

    def obstacle(self, listen: str, unit: str) -> str:
        self.listens.append(listen)
        return self.in_the_way

    def systemctl(self, *arguments: str) -> str:
        self.calls.append(" ".join(argument for argument in arguments if argument != paths.UNIT))
        if self.refused in self.calls[-1:]:
            raise systemd.UnitError(f"systemctl {self.refused}: refused")
        if arguments[0] == "restart":
            self.up = True
            self._load()
        elif arguments[0] == "enable":
            self.enabled = True
        elif arguments[:2] == ("disable", "--now"):
            self.up = self.enabled = False
        elif arguments[0] == "reset-failed":
            self.failed = False
        return ""

    def show(self, unit: str) -> dict[str, str]:
        assert unit == paths.UNIT
        if self.refused == "show":
            raise systemd.UnitError("systemctl show: refused")
        return {
            "ActiveState": "active" if self.up else "failed" if self.failed else "inactive",
            "UnitFileState": "enabled" if self.enabled else "disabled",
            "ActiveEnterTimestampMonotonic": str(int(self.since * 1e6)),
        }

    def look(self, url: str, patience: float = rows.PATIENCE) -> rows.Shown:
        if not self.up or self.silent.intersection(self.loaded):
            return rows.Shown(fault="down")
        shown = next((self.pages[key] for key in map(str, self.loaded) if key in self.pages), self.page)
        return replace(shown, profiled=frozenset()) if self.reloaded else shown

    def await_metrics(self, unit: str, url: str, seconds: float, patience: float) -> str:
        assert unit == paths.UNIT
        self.asked.append((url, seconds))
        silent = self.silent.intersection(self.loaded)
        return f"{' and '.join(sorted(map(str, silent)))}: no answer" if silent else ""

    def picture(self) -> dict[str, tuple[int, int, int, str]]:
        """Return all files and links with mode, owner and content; equal pictures mean that nothing was touched."""
        found = {}
        for path in sorted(self.root.rglob("*")):
            state = path.lstat()
            content = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
            found[str(path.relative_to(self.root))] = (state.st_mode, state.st_uid, state.st_mtime_ns, content)
        return {**found, "unit": (self.up, self.enabled, len(self.calls), "")}
