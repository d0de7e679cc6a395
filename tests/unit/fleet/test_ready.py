"""Waiting for the master: over soon after it is back, and it says how long that took."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest
from salt.exceptions import SaltReqTimeoutError
from superpod_dcgm.base.process import Answer
from superpod_dcgm.fleet import minions


class Head:
    """A head whose master restarts for a while; then its minion loses some pings before it answers."""

    def __init__(self, restarts: int, lost: int, error: Exception | None = None) -> None:
        self.restarts, self.lost, self.error, self.seconds = restarts, lost, error, []

    def systemctl(self, argv, seconds, *rest, **options) -> Answer:
        self.restarts -= 1
        return Answer(0, "inactive\nactivating" if self.restarts >= 0 else "inactive\ninactive")

    def client(self, conf_file, seconds):
        self.seconds.append(seconds)
        return contextlib.nullcontext(self.ping)

    def ping(self, ids, fun, arg, kwarg):
        self.lost -= 1
        if self.lost < 0:
            return {name: {"ret": True} for name in ids}
        if self.error:
            raise self.error
        return {}


@pytest.fixture
def runner(load, monkeypatch):
    """The runner beside a port that takes connections, as the master's does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = load(
            "_runners/dcgm.py",
            __opts__={"conf_file": "", "interface": "0.0.0.0", "ret_port": server.getsockname()[1]},
            __context__={},
            __salt__={"bcm.settings": lambda: {"hosts": {"head": "h"}}, "bcm.members": lambda match: {"h": "h"}},
        )
        monkeypatch.setattr(found, "_PAUSE", 0.01)
        yield found


HEADS = {
    "nothing restarts": Head(0, 0),
    "a restart is still ordered": Head(3, 0),
    "the minion has not subscribed yet": Head(0, 3),
    "the master refuses": Head(1, 2, SaltReqTimeoutError("no")),
}


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS.keys())
def test_it_is_ready_once_the_minion_answers(runner, monkeypatch, head) -> None:
    monkeypatch.setattr(runner.process, "run", head.systemctl)
    monkeypatch.setattr(minions, "client", head.client)
    found = runner.ready(5)
    assert found["ready"] is True and 0 <= found["waited"] < 2 and runner.__context__ == {}
    assert head.seconds == sorted(head.seconds) and head.seconds[:2] in ([1], [1, 1]), "the first may be lost"


def test_it_gives_up_after_the_time_that_it_is_given(runner, monkeypatch) -> None:
    head = Head(10**6, 0)
    monkeypatch.setattr(runner.process, "run", head.systemctl)
    began = time.monotonic()
    found = runner.ready(1)
    assert (found["ready"], found["retcode"], runner.__context__) == (False, 1, {"retcode": 1})
    assert found["waited"] >= 1 and time.monotonic() - began < 3 and head.seconds == []


def test_a_master_that_does_not_listen_is_not_asked(runner, monkeypatch) -> None:
    head = Head(0, 0)
    monkeypatch.setattr(runner.process, "run", head.systemctl)
    monkeypatch.setattr(minions, "client", head.client)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        runner.__opts__["ret_port"] = closed.getsockname()[1]
    assert runner.ready(1)["ready"] is False and head.seconds == []
