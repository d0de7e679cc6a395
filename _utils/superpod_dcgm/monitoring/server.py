"""Our Prometheus as a service: it comes up with what it is given, or goes back to what it last came up with."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass, replace

from superpod_dcgm.base import complaint, listeners, paths, process, systemd
from superpod_dcgm.monitoring import last_good, written
from superpod_dcgm.monitoring.page import Page

_PAUSE = 0.5
# Seconds that a server must have kept running to count as up.
_STEADY = 2.0
# Seconds that a reload may take. A remote_write that goes first gets its last samples, and then their metadata, for a
# minute each at most (--storage.remote.flush-deadline): where nobody listens there any more that is two minutes.
_RELOAD = 150.0


class ServerError(Exception):
    """Prometheus does not come up. Its text says why."""


class Refused(ServerError):
    """promtool refuses its files, before the server was told to read them."""


@dataclass(frozen=True)
class Server:
    """
    Our Prometheus: its configuration, how it is asked, and the seconds that it may take to come up.

    ``promtool`` checks all of its files before it is started or reads them anew.
    """

    config: str
    page: Page
    timeout: float
    promtool: str = ""


def differences(server: Server) -> dict[str, str]:
    """Return what is to be done, and nothing where it runs as it should: ``{"service": …, "configuration": …}``."""
    state = systemd.show(paths.PROMETHEUS_UNIT)
    found = {}
    changed = last_good.changed(server.config)
    if state.get("ActiveState") != "active":
        found["service"] = "started"
    elif last_good.needs_restart(changed):
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
        _check(server)
        _apply(server, todo)
    except (ServerError, systemd.UnitError) as exc:
        raise ServerError(f"{exc}. {_go_back(server, todo, isinstance(exc, Refused))}") from exc
    last_good.remember(server.config)


def _check(server: Server) -> None:
    """Whatever changed: promtool reads configuration, rule files and web configuration as the server will."""
    if not server.promtool:
        return
    for kind, path in last_good.checked(server.config).items():
        if problem := written.promtool_says([server.promtool, "check", kind, path]):
            raise Refused(problem)


def _apply(server: Server, todo: dict[str, str]) -> None:
    systemd.systemctl("daemon-reload")
    if "boot" in todo:
        systemd.systemctl("enable", paths.PROMETHEUS_UNIT)
    if "service" in todo:
        process.run(["systemctl", "reset-failed", paths.PROMETHEUS_UNIT], _RELOAD)
        systemd.systemctl("restart", paths.PROMETHEUS_UNIT)
        await_up(server)
    elif "configuration" in todo:
        _reload(server.page)


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
        code = server.page.fetch("/-/ready")[0] if _listens(server.page.port, pid) else 0
        if code == 401:
            raise ServerError(_refused(server.page))
        stays = pid != "0" and time.monotonic() - steady[1] >= _STEADY
        if stays and (code == 200 or (code == 503 and time.monotonic() > deadline)):
            return
        if time.monotonic() > deadline:
            raise ServerError(
                f"{paths.PROMETHEUS_UNIT} is not ready on port {server.page.port} after {server.timeout:g} s: "
                f"{reason()}"
            )
        time.sleep(_PAUSE)


def _refused(page: Page) -> str:
    return (
        f"Prometheus refuses its user: the password in dcgm:prometheus:web:password_file, {page.password_file}, is not "
        "the one of dcgm:prometheus:web:hash"
    )


def _reload(page: Page) -> None:
    before = _reloaded(page)
    systemd.systemctl("reload", paths.PROMETHEUS_UNIT)
    deadline = time.monotonic() + _RELOAD
    while time.monotonic() < deadline:
        good, when = _reloaded(page)
        if good == 0:
            raise ServerError(f"Prometheus refuses its configuration: {reason()}")
        # Another moment, not a later one: the clock may have been set back since.
        if good == 1 and when != before[1]:
            return
        time.sleep(_PAUSE)
    if page.fetch("/-/ready")[0] == 401:
        raise ServerError(_refused(page))
    raise ServerError(f"Prometheus did not read its configuration within {_RELOAD:g} s: {reason()}")


def _go_back(server: Server, todo: dict[str, str], untouched: bool) -> str:
    """
    Put the last good files back, and have them read; return what came of it.

    :param untouched: whether the server was not yet told of the others.
    """
    if not last_good.is_kept():
        with contextlib.suppress(systemd.UnitError):
            systemd.systemctl("disable", "--now", paths.PROMETHEUS_UNIT)
        return "It is stopped; it never ran before"
    try:
        last_good.restore(server.config)
        systemd.systemctl("daemon-reload")
        before = replace(server, page=last_good.page(server.page))
        runs = systemd.show(paths.PROMETHEUS_UNIT).get("ActiveState") == "active"
        if runs and "service" not in todo and not untouched:
            _reload(before.page)
        elif not (runs and untouched):
            process.run(["systemctl", "reset-failed", paths.PROMETHEUS_UNIT], _RELOAD)
            systemd.systemctl("restart", paths.PROMETHEUS_UNIT)
            await_up(before)
    except (OSError, ServerError, systemd.UnitError) as exc:
        return f"With what it last ran by it does not come up either: {exc}"
    return "It runs as before, by what it last ran by"


def _listens(port: int, pid: str) -> bool:
    return any(str(listener.pid) == pid for listener in listeners.on(port))


def _reloaded(page: Page) -> tuple[float, float]:
    """Whether the last reload was good (1, 0; -1 not known), and when the last good one was."""
    text = page.fetch("/metrics")[1]
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
