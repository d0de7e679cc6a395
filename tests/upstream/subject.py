"""
An exporter that is asked questions, with a host engine and files of its own in a temporary folder.

Standard library only: the same questions are asked on a node of the lab, where NVIDIA's own program runs.
"""

from __future__ import annotations

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 15.0


@dataclass(frozen=True)
class Program:
    """An exporter of a release, and the lab's programs beside it."""

    exporter: str
    counters: str
    host_engine: str
    gpus: str  # a folder with PROFILE.json for each profile
    environment: dict[str, str] = field(default_factory=dict)
    # How it is started where libdcgm.so.4 is not among the loader's libraries.
    without_dcgm: list[str] = field(default_factory=list)

    @staticmethod
    def load(text: str) -> Program:
        """Return the program that a JSON text describes."""
        return Program(**json.loads(text))


@dataclass(frozen=True)
class Answer:
    """What came over HTTP; status 0 is a connection that was cut."""

    status: int
    text: str = ""
    headers: dict[str, str] = field(default_factory=dict)


# Below the ports that the kernel gives to outgoing connections, and other ones in each process that asks.
_PORTS = itertools.cycle(range(15000 + os.getpid() * 41 % 8000, 32000))


def free_port() -> int:
    """Return a port that nothing listens on, and another one each time."""
    for port in _PORTS:
        with socket.socket() as probe:
            # As servers do: a port on which a connection has just ended is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise AssertionError("there is always a next port")


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port of loopback."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait(condition: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Wait until a condition holds; False if it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


@contextmanager
def host_engine(program: Program, profile: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a host engine with the GPUs of a profile."""
    description = str(Path(program.gpus) / f"{profile}.json")
    command = [program.host_engine, "--port", str(port), "--description", description]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        assert wait(lambda: listens(port)), "the host engine does not listen"
        yield process
    finally:
        process.kill()
        process.wait()


class Subject:
    """One exporter in its folder. It asks a host engine shared with others, or one of its own that may be killed."""

    def __init__(self, program: Program, folder: Path, engines: dict[str, int]) -> None:
        self.program = program
        self.folder = folder
        self.engines = engines
        self.port, self.engine_port = free_port(), free_port()
        self.counters = folder / "counters.csv"
        self.counters.write_bytes(Path(program.counters).read_bytes())
        self.map = folder / "map"
        self.environment = {**os.environ, **program.environment}
        self.set_gpus("identity")
        self.own = ExitStack()
        self.engine: subprocess.Popen[bytes] | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def set_gpus(self, profile: str) -> None:
        """Choose the GPUs of the machine; an empty word is a machine without a driver."""
        self.environment["LAB_GPUS"] = str(Path(self.program.gpus) / f"{profile}.json") if profile else "/nonexistent"

    def use_engine(self, profile: str = "identity") -> None:
        """Ask the host engine that all share."""
        self.set_gpus(profile)
        self.engine_port = self.engines[profile]

    def start_engine(self) -> None:
        """Start a host engine of its own, always on the same port."""
        self.engine = self.own.enter_context(host_engine(self.program, "identity", self.engine_port))

    def stop_engine(self) -> None:
        """Kill the host engine."""
        if self.engine:
            self.engine.kill()
            self.engine.wait()

    def start(
        self, *options: str, remote: str | None = "localhost", prefix: list[str] | None = None, **more: str
    ) -> None:
        """Start the exporter; without `remote` its engine is its own. Who wants it to serve calls `serves`."""
        command = [*(prefix or []), self.program.exporter, "-f", str(self.counters), "-a", f"127.0.0.1:{self.port}"]
        command += ["-r", f"{remote}:{self.engine_port}"] if remote is not None else []
        with (self.folder / "log").open("wb") as log:
            environment = {**self.environment, **more}
            self.process = subprocess.Popen([*command, *options], env=environment, stdout=log, stderr=log)

    def serves(self) -> bool:
        """Wait until it takes connections; False if it ended before."""
        assert self.process is not None
        process = self.process
        wait(lambda: listens(self.port) or process.poll() is not None)
        return process.poll() is None

    def run(self, *options: str, profile: str = "identity", own_engine: bool = False, **more: str) -> Subject:
        """Start the exporter, and before it a host engine if it shall be its own, and wait until it serves."""
        self.start_engine() if own_engine else self.use_engine(profile)
        self.start(*options, **more)
        if not self.serves():
            raise RuntimeError(self.log())
        return self

    def log(self) -> str:
        """Return what it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def get(self, path: str = "/metrics", **headers: str) -> Answer:
        """Ask for a page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SECONDS)
        try:
            connection.request("GET", path, headers=headers)
            found = connection.getresponse()
            return Answer(found.status, found.read().decode(errors="surrogateescape"), dict(found.getheaders()))
        except (OSError, http.client.HTTPException):
            return Answer(0)
        finally:
            connection.close()

    def page(self) -> list[str]:
        """Return the samples of /metrics."""
        return [line for line in self.get().text.splitlines() if line and not line.startswith("#")]

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def ends(self, seconds: float = SECONDS) -> int | None:
        """Return its exit code, or None if it does not end."""
        assert self.process is not None
        process = self.process
        return process.returncode if wait(lambda: process.poll() is not None, seconds) else None

    def replace_counters(self, text: str) -> None:
        """Put another counters file in the place of the one that is there, as rsync and Salt do."""
        fresh = self.folder / "fresh"
        fresh.write_text(text)
        fresh.replace(self.counters)

    def close(self) -> None:
        """End what runs."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.own.close()


@contextmanager
def subject(program: Program, engines: dict[str, int]) -> Iterator[Subject]:
    """Return an exporter that was not started yet; all of it is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="exporter-") as folder:
        found = Subject(program, Path(folder), engines)
        try:
            yield found
        finally:
            found.close()


@contextmanager
def shared_engines(program: Program) -> Iterator[dict[str, int]]:
    """Run a host engine for each profile that questions are about; their ports by profile."""
    with ExitStack() as running:
        ports = {profile: free_port() for profile in ("identity", "mig", "none")}
        for profile, port in ports.items():
            running.enter_context(host_engine(program, profile, port))
        yield ports
