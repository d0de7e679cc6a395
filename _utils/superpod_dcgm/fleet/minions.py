"""Runs functions on minions through the Salt master of this machine, and waits no longer than it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import salt.client

_PAUSE = 0.05
# (minion ids, function, arguments, keyword arguments) -> {minion id: full return}; silent minions are left out.
Run = Callable[[Sequence[str], str, Sequence[Any], dict[str, Any]], dict[str, dict[str, Any]]]


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
            returns = local.cmd_iter_no_block(list(ids), fun, list(arg), tgt_type="list", kwarg=kwarg)
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
