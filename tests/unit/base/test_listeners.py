"""Who listens on a port is read from the kernel, as it is."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

from superpod_dcgm.base import listeners


def test_a_listener_is_named_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = listeners.on(port)
        assert (found.pid, found.program) == (os.getpid(), os.path.realpath(sys.executable))
        assert f"(process {os.getpid()}" in found.words
    assert listeners.on(port) == []


def test_one_of_ipv6_counts_and_one_that_only_connects_does_not() -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("::1", port)) as client:
            assert [found.pid for found in listeners.on(port)] == [os.getpid()]
            assert listeners.on(client.getsockname()[1]) == []


def test_a_listener_whose_process_is_not_to_be_seen_still_takes_the_port(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    line = "0: 00000000:2382 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1"
    (tmp_path / "net/tcp").write_text(f"head\n{line}\n")
    (found,) = listeners.on(0x2382, proc=str(tmp_path))
    assert (found.pid, found.words) == (0, "a process that is not to be seen from here")


def test_the_unit_of_a_process_is_the_innermost_service_of_its_cgroup(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7/cgroup").write_text("0::/system.slice/superpod-prometheus.service\n")
    assert listeners.unit(7, str(tmp_path)) == "superpod-prometheus.service"
    (tmp_path / "7/cgroup").write_text("0::/user.slice/user@0.service/app.slice/site.service/sub\n")
    assert listeners.unit(7, str(tmp_path)) == "site.service"
    assert listeners.unit(8, str(tmp_path)) == ""
