"""Our Prometheus as a service: it comes up with what it is given, or goes back to what it last came up with."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

from superpod_dcgm.base import complaint, files, listeners, paths, process, systemd

_PAUSE = 0.5
# Seconds that a server must have kept running to count as up, and that a reload may take.
_STEADY = 2.0
_RELOAD = 15.0
_ANSWER = 5.0
# Nothing of the minion's environment: no proxy.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class ServerError(Exception):
    """Prometheus does not come up. Its text says why."""


@dataclass(frozen=True)
class Server:
    """Our Prometheus: its configuration, its port, and the seconds that it may take to come up."""

    config: str
    port: int
    timeout: float

    @property
    def files(self) -> dict[str, str]:
        """The files that it runs by, by the name of the copy that is kept of the last good ones."""
        return {os.path.basename(paths.PROMETHEUS_UNIT_FILE): paths.PROMETHEUS_UNIT_FILE, "prometheus.yml": self.config}


def differences(server: Server) -> dict[str, str]:
    """Return what is to be done, and nothing where it runs as it should: ``{"service": …, "configuration": …}``."""
    state = systemd.show(paths.PROMETHEUS_UNIT)
    found = {}
    changed = _changed(server)
    if state.get("ActiveState") != "active":
        found["service"] = "started"
    elif os.path.basename(paths.PROMETHEUS_UNIT_FILE) in changed:
        found["service"] = "restarted"
    elif changed:
        found["configuration"] = "reloaded"
    if state.get("UnitFileState") != "enabled":
        found["boot"] = "enabled"
    return found


def apply(server: Server, todo: dict[str, str]) -> None:
    """
    Do what ``differences`` says, and look whether it came up; what did not is put back as it was.

    :raises ServerError: it did not come up. The text says why, and what runs now.
    """
    try:
        _apply(server, todo)
    except (ServerError, systemd.UnitError) as exc:
        raise ServerError(f"{exc}. {_go_back(server)}") from exc
    _remember(server)


def _apply(server: Server, todo: dict[str, str]) -> None:
    systemd.systemctl("daemon-reload")
    if "boot" in todo:
        systemd.systemctl("enable", paths.PROMETHEUS_UNIT)
    if "service" in todo:
        process.run(["systemctl", "reset-failed", paths.PROMETHEUS_UNIT], _RELOAD)
        systemd.systemctl("restart", paths.PROMETHEUS_UNIT)
        await_up(server)
    elif "configuration" in todo:
        _reload(server)


def await_up(server: Server) -> None:
    """
    Wait until the server runs, keeps running, listens and is ready.

    One that still reads its data after the time is up counts: it may have years of it.

    :raises ServerError: it does not.
    """
    deadline = time.monotonic() + server.timeout
    steady: tuple[str, float] = ("", 0.0)
    while True:
        state = systemd.show(paths.PROMETHEUS_UNIT)
        pid = state.get("MainPID", "0")
        if pid != steady[0]:
            steady = (pid, time.monotonic())
        if state.get("ActiveState") == "failed":
            raise ServerError(f"{paths.PROMETHEUS_UNIT} does not stay up: {reason()}")
        code = _ready(server.port) if _listens(server.port, pid) else 0
        stays = pid != "0" and time.monotonic() - steady[1] >= _STEADY
        if stays and (code == 200 or (code == 503 and time.monotonic() > deadline)):
            return
        if time.monotonic() > deadline:
            raise ServerError(
                f"{paths.PROMETHEUS_UNIT} is not ready on port {server.port} after {server.timeout:g} s: {reason()}"
            )
        time.sleep(_PAUSE)


def _reload(server: Server) -> None:
    before = _reloaded(server.port)
    systemd.systemctl("reload", paths.PROMETHEUS_UNIT)
    deadline = time.monotonic() + _RELOAD
    while time.monotonic() < deadline:
        good, when = _reloaded(server.port)
        if good == 0:
            raise ServerError(f"Prometheus refuses its configuration: {reason()}")
        # Another moment, not a later one: the clock may have been set back since.
        if good == 1 and when != before[1]:
            return
        time.sleep(_PAUSE)
    raise ServerError(f"Prometheus did not read its configuration within {_RELOAD:g} s: {reason()}")


def _go_back(server: Server) -> str:
    """Put the last good files back and start again; return what came of it."""
    good = {name: f"{paths.PROMETHEUS_GOOD}/{name}" for name in server.files}
    if not all(os.path.isfile(path) for path in good.values()):
        with contextlib.suppress(systemd.UnitError):
            systemd.systemctl("disable", "--now", paths.PROMETHEUS_UNIT)
        return "It is stopped; it never ran before"
    try:
        for name, path in server.files.items():
            shutil.copy2(good[name], path)
        systemd.systemctl("daemon-reload")
        process.run(["systemctl", "reset-failed", paths.PROMETHEUS_UNIT], _RELOAD)
        systemd.systemctl("restart", paths.PROMETHEUS_UNIT)
        await_up(Server(server.config, port_in(good[os.path.basename(paths.PROMETHEUS_UNIT_FILE)]), server.timeout))
    except (OSError, ServerError, systemd.UnitError) as exc:
        return f"With what it last ran by it does not come up either: {exc}"
    return "It runs as before, by what it last ran by"


def port_in(unit_file: str) -> int:
    """Return the port in a unit file of ours; 0 where there is none."""
    with contextlib.suppress(OSError), open(unit_file, encoding="utf-8") as stream:
        if found := re.search(r"--web\.listen-address=\S*:(\d+)", stream.read()):
            return int(found[1])
    return 0


def _changed(server: Server) -> set[str]:
    return {name for name, path in server.files.items() if _sum(path) != _sum(f"{paths.PROMETHEUS_GOOD}/{name}")}


def _sum(path: str) -> str:
    with contextlib.suppress(OSError):
        return files.sha256(path)
    return ""


def _remember(server: Server) -> None:
    files.make_directory(paths.PROMETHEUS_GOOD)
    for name, path in server.files.items():
        with open(path, encoding="utf-8") as stream:
            files.write_atomic(f"{paths.PROMETHEUS_GOOD}/{name}", stream.read())


def _listens(port: int, pid: str) -> bool:
    return any(str(listener.pid) == pid for listener in listeners.on(port))


def _ready(port: int) -> int:
    return fetch(port, "/-/ready")[0]


def fetch(port: int, path: str) -> tuple[int, str]:
    """Return the status and text of a page of a Prometheus on this machine; status 0 if it does not answer."""
    try:
        with _OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=_ANSWER) as answer:
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as exc:
        return exc.code, ""
    except (OSError, ValueError):
        return 0, ""


def _reloaded(port: int) -> tuple[float, float]:
    """Whether the last reload was good (1, 0; -1 not known), and when the last good one was."""
    text = fetch(port, "/metrics")[1]
    good = _sample(text, "prometheus_config_last_reload_successful")
    when = _sample(text, "prometheus_config_last_reload_success_timestamp_seconds")
    return -1 if good is None else good, when or 0


def _sample(text: str, name: str) -> float | None:
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def reason() -> str:
    """Return what the service last complained of."""
    command = ["journalctl", f"--unit={paths.PROMETHEUS_UNIT}", "--lines=60", "--output=cat", "--no-pager"]
    return complaint.reason(process.run(command, _RELOAD).output, last=True) or "it says nothing"
