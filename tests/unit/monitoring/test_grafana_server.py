"""Our own Grafana is restarted, told to read anew, or left alone, by what changed; success is what it says itself."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import listeners, paths, systemd
from superpod_dcgm.monitoring import grafana_own, grafana_server, written
from superpod_dcgm.monitoring.grafana_server import Server, ServerError
from superpod_dcgm.monitoring.page import Page

INI, SOURCES, PROVIDER = (f"GRAFANA_{name}" for name in ("INI", "SOURCES_FILE", "PROVIDER_FILE"))


class Machine:
    """systemd and the page of a Grafana, as a test wants them."""

    def __init__(self, root: Path) -> None:
        self.state = {"ActiveState": "active", "UnitFileState": "enabled", "MainPID": "7"}
        self.health = (200, '{"database": "ok"}')
        self.reloads = (200, "")
        self.done: list[str] = []
        self.root = root

    def systemctl(self, *words: str) -> str:
        self.done.append(" ".join(words))
        if words[0] == "restart":
            self.state["ActiveState"] = "active"
        return ""

    def fetch(self, page: Page, path: str, post: bool = False) -> tuple[int, str]:
        if post:
            self.done.append(f"POST {path}")
            return self.reloads
        return self.health


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    for name in [name for name in vars(paths) if name.startswith("GRAFANA_") and name not in ("GRAFANA_UNIT",)]:
        value = getattr(paths, name)
        monkeypatch.setattr(paths, name, f"{tmp_path}{value}" if value.startswith("/") else value)
    found = Machine(tmp_path)
    monkeypatch.setattr(systemd, "systemctl", found.systemctl)
    monkeypatch.setattr(systemd, "show", lambda unit: found.state)
    monkeypatch.setattr(systemd, "last_words", lambda unit: "Error: it broke")
    monkeypatch.setattr(listeners, "on", lambda port: [listeners.Listener(port, 7)])
    monkeypatch.setattr(Page, "fetch", lambda page, path, post=False: found.fetch(page, path, post))
    monkeypatch.setattr(written.File, "write", lambda file: found.done.append(f"write {Path(file.path).name}"))
    monkeypatch.setattr(grafana_server, "_PAUSE", 0.01)
    return found


@pytest.fixture
def server(machine: Machine) -> Server:
    texts = {getattr(paths, name): name for name in (INI, SOURCES, PROVIDER)}
    found = Server(texts, Page(3000), "13.0.0", 0.05)
    grafana_server.apply(found, {"service": "started"})
    machine.done.clear()
    return found


def with_text(server: Server, name: str) -> Server:
    return replace(server, texts={**server.texts, getattr(paths, name): "other"})


def test_what_runs_as_it_should_is_left_alone(machine: Machine, server: Server) -> None:
    assert grafana_server.differences(server) == {}


@pytest.mark.parametrize(
    ("name", "todo"),
    [
        (INI, {"service": "restarted"}),
        (SOURCES, {"provisioning": "read anew"}),
        (PROVIDER, {"provisioning": "read anew"}),
    ],
)
def test_what_changed_decides(machine: Machine, server: Server, name: str, todo: dict[str, str]) -> None:
    changed = with_text(server, name)
    assert grafana_server.differences(changed) == todo
    assert grafana_server.apply(changed, todo) == ""
    restarts = [one for one in machine.done if one.startswith("restart")]
    assert len(restarts) == ("service" in todo)
    assert grafana_server.differences(changed) == {}


def test_a_certificate_is_a_restart_and_a_password_is_read_anew(machine: Machine, server: Server) -> None:
    site = {name: machine.root / name for name in ("crt", "password")}
    for path in site.values():
        path.write_text("old")
    now = replace(server, certificates=[str(site["crt"])], secrets=[str(site["password"])])
    grafana_server.apply(now, {"service": "restarted"})
    assert grafana_server.differences(now) == {}
    site["password"].write_text("new")
    assert grafana_server.differences(now) == {"provisioning": "read anew"}
    site["crt"].write_text("new")
    assert grafana_server.differences(now) == {"service": "restarted"}


def test_after_an_upgrade_it_restarts_unless_the_package_did(machine: Machine, server: Server) -> None:
    upgraded = replace(server, version="13.0.1")
    assert grafana_server.differences(upgraded) == {"service": "restarted"}
    Path(paths.GRAFANA_PROGRAMS).mkdir(parents=True)
    Path(paths.GRAFANA_PROGRAMS, "grafana").touch()
    machine.state["ActiveEnterTimestampMonotonic"] = str(int((time.monotonic() - 60) * 1e6))
    assert grafana_server.differences(upgraded) == {"service": "restarted"}
    machine.state["ActiveEnterTimestampMonotonic"] = str(int((time.monotonic() + 5) * 1e6))
    assert grafana_server.differences(upgraded) == {}


def test_one_that_takes_no_word_of_us_is_restarted_and_that_is_said(machine: Machine, server: Server) -> None:
    machine.reloads = (401, "")
    changed = with_text(server, SOURCES)
    assert "it was restarted" in grafana_server.apply(changed, {"provisioning": "read anew"})
    assert "restart grafana-server.service" in machine.done


# what: (state, health, words)
BAD: dict[str, tuple[dict[str, Any], tuple[int, str], str]] = {
    "it does not stay up": ({"ActiveState": "failed"}, (0, ""), "does not stay up: Error: it broke"),
    "its database is not well": ({}, (503, '{"database": "failing"}'), "/api/health says HTTP 503"),
    "a page of somebody": ({}, (200, "<html>"), "/api/health says HTTP 200"),
    "another listens": ({"MainPID": "8"}, (200, '{"database": "ok"}'), "it does not listen on port 3000"),
}


@pytest.mark.parametrize(("state", "health", "words"), BAD.values(), ids=BAD.keys())
def test_success_is_only_what_it_says_itself(
    machine: Machine, server: Server, state: dict[str, Any], health: tuple[int, str], words: str
) -> None:
    machine.state.update(state)
    machine.health = health
    with pytest.raises(ServerError) as caught:
        grafana_server.await_up(server)
    assert words in str(caught.value)


def test_what_does_not_come_up_is_put_back(machine: Machine, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(page: Page, path: str, post: bool = False) -> tuple[int, str]:
        return (200, '{"database": "ok"}') if "write grafana.ini" in machine.done else (503, "")

    monkeypatch.setattr(Page, "fetch", fetch)
    with pytest.raises(ServerError, match="It runs as before, by what it last ran by"):
        grafana_server.apply(with_text(server, INI), {"service": "restarted"})
    assert machine.done.count("restart grafana-server.service") == 2


def test_one_that_never_ran_is_stopped(machine: Machine) -> None:
    machine.health = (503, "")
    texts = {getattr(paths, name): name for name in (INI, SOURCES, PROVIDER)}
    with pytest.raises(ServerError, match="It is stopped; it never ran before"):
        grafana_server.apply(Server(texts, Page(3000), "13.0.0", 0.05), {"service": "started"})
    assert "disable --now grafana-server.service" in machine.done
    assert grafana_own.record().get("ran") is None
