"""Who holds a port is named, and a port that the exporter cannot have is said before it is tried."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from superpod_dcgm.base import listeners, systemd
from superpod_dcgm.exporter import listener


@pytest.fixture(params=["127.0.0.1", "0.0.0.0", "::1", "::"])
def held(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.create_server((request.param, 0), family=family) as server:
        yield request.param, server.getsockname()[1]


def test_who_holds_the_port_is_named(held: tuple[str, int]) -> None:
    address, port = held
    for wanted in ("", f"[{address}]" if ":" in address else address):
        reason = listener.obstacle(f"{wanted}:{port}", "dcgm-exporter.service")
        assert f"port {port} is held by {os.path.realpath(sys.executable)} (process {os.getpid()}" in reason
        assert "choose another port" in reason


def test_what_the_unit_itself_holds_is_no_obstacle(held: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    found = [listeners.Listener(held[1], 7, "dcgm-exporter", "x.service")]
    monkeypatch.setattr(listeners, "on", lambda port, address: found)
    assert listener.obstacle(f":{held[1]}", "x.service") == ""
    assert "dcgm-exporter (process 7 of x.service)" in listener.obstacle(f":{held[1]}", "y.service")


def test_a_free_port_is_no_obstacle(held: tuple[str, int]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert listener.obstacle(f"127.0.0.1:{port}", "x.service") == ""
    assert listeners.on(port, "127.0.0.1") == []


@pytest.mark.parametrize("listen", ["", "9400", ":port"])
def test_what_names_no_port_is_not_looked_at(listen: str) -> None:
    assert listener.obstacle(listen, "x.service") == ""


@pytest.mark.parametrize("address", ["192.0.2.1", "[2001:db8::1]", "no-such-name.invalid"])
def test_an_address_that_this_node_has_not_is_said(address: str) -> None:
    reason = listener.obstacle(f"{address}:9400", "x.service")
    assert f"dcgm:exporter:address {address.strip('[]')!r}" in reason
    assert "Give an address that this node has" in reason


def test_a_port_below_the_first_free_one_needs_a_privilege(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener, "_FIRST_FREE", str(tmp_path / "first"))
    given = {"shown": "AmbientCapabilities=\n"}
    monkeypatch.setattr(systemd, "systemctl", lambda *arguments: given["shown"])
    assert "no privilege for ports below 1024. Choose one from 1024 on" in listener.obstacle(":80", "x.service")
    given["shown"] = "AmbientCapabilities=cap_net_bind_service\n"
    assert "privilege" not in listener.obstacle(":80", "x.service")
    given["shown"] = ""
    (tmp_path / "first").write_text("80\n")
    assert "privilege" not in listener.obstacle(":80", "x.service")
    assert "below 80" in listener.obstacle(":79", "x.service")


def test_a_socket_unit_is_named_and_not_systemd_itself(held: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    address = f"[{held[0]}]" if ":" in held[0] else held[0]
    shown = f"{address}:{held[1]} site.socket site.service\n/run/x.sock x.socket x.service\n"
    monkeypatch.setattr(listeners, "_SYSTEMD", os.getpid())
    monkeypatch.setattr(systemd, "systemctl", lambda *arguments: shown)
    reason = listener.obstacle(f":{held[1]}", "x.service")
    assert "is held by systemd for site.socket (`systemctl disable --now site.socket` ends that)" in reason
