"""Runs functions on minions through the Salt master of this machine, and waits no longer than it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import salt.client

_PAUSE = 0.05
# Between two looks into the job cache, which are a directory listing each.
_LOOK_PAUSE = 0.2
# Seconds after which Salt asks those that are silent whether the job still runs, which costs a busy minion as much as
# the job. Its own default of 5 is too little where many start or stop a service at once.
_ASK_AGAIN = 10
# (minion ids, function, arguments, keyword arguments) -> {minion id: full return}; silent minions are left out.
Run = Callable[[Sequence[str], str, Sequence[Any], dict[str, Any]], dict[str, dict[str, Any]]]


@dataclass(frozen=True)
class Jobs:
    """
    Jobs whose returns are read from the master's job cache, into which only the minion itself can put them.

    An event on the master's bus, as ``Run`` reads them, any minion can make up.
    """

    _local: Any
    _seconds: float

    def start(self, ids: Sequence[str], fun: str, arg: Sequence[Any], kwarg: dict[str, Any]) -> str:
        """Start a job and return its id, without waiting; an empty string if the master did not take it."""
        return str(self._local.cmd_async(list(ids), fun, list(arg), tgt_type="list", kwarg=kwarg) or "")

    def look(self, jid: str) -> dict[str, dict[str, Any]]:
        """Return the full returns of those who returned so far, by minion id."""
        found: dict[str, Any] = self._local.get_cache_returns(jid)
        return {name: one for name, one in found.items() if isinstance(one, dict) and "ret" in one}

    def run(self, ids: Sequence[str], fun: str, arg: Sequence[Any], kwarg: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Run a function on minions, wait for their returns, and leave out who is silent."""
        jid, until = self.start(ids, fun, arg, kwarg), time.monotonic() + self._seconds
        found: dict[str, dict[str, Any]] = {}
        while bool(jid) and not found.keys() >= set(ids) and time.monotonic() < until:
            time.sleep(_LOOK_PAUSE)
            found = self.look(jid)
        return {name: one for name, one in found.items() if name in ids}


@contextlib.contextmanager
def jobs(conf_file: str, seconds: float) -> Iterator[Jobs]:
    """
    Give a way to start jobs and to read their returns from the job cache.

    :param conf_file: the master's configuration.
    :param seconds: how long ``run`` waits.
    """
    with salt.client.get_local_client(conf_file) as local:
        yield Jobs(local, seconds)


@contextlib.contextmanager
def client(conf_file: str, seconds: float) -> Iterator[Run]:
    """
    Give a function that runs a function on minions and returns their full returns.

    :param conf_file: the master's configuration.
    :param seconds: how long each call is waited for. Salt waits as long as a minion says that the job still runs,
        which one that hangs in a dead file system says for ever.
    """
    with salt.client.get_local_client(conf_file) as local:

        def run(ids: Sequence[str], fun: str, arg: Sequence[Any], kwarg: dict[str, Any]) -> dict[str, dict[str, Any]]:
            patience = min(seconds, _ASK_AGAIN)
            returns = local.cmd_iter_no_block(list(ids), fun, list(arg), patience, "list", kwarg=kwarg)
            return collected(returns, time.monotonic() + seconds)

        yield run


def collected(returns: Iterable[Any], until: float) -> dict[str, dict[str, Any]]:
    """
    Return the full returns of those who answered in time; one who is silent, or still at work, has none.

    :param returns: single returns as they come in, and None while none is there (``LocalClient.cmd_iter_no_block``).
    :param until: moment of ``time.monotonic`` after which nobody is waited for.
    """
    found: dict[str, dict[str, Any]] = {}
    for some in returns:
        if some is None:
            if time.monotonic() > until:
                break
            time.sleep(_PAUSE)
        elif isinstance(some, dict):
            found.update({name: one for name, one in some.items() if isinstance(one, dict) and "ret" in one})
    return found
