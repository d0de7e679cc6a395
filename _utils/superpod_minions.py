"""Runs functions on minions through the Salt master of this machine, and waits no longer than it is told."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from typing import Any

import salt.client
import superpod_apply


@contextlib.contextmanager
def client(conf_file: str, seconds: float) -> Iterator[superpod_apply.Run]:
    """
    Give a function that runs a function on minions and returns their full returns.

    :param conf_file: the master's configuration.
    :param seconds: how long each call is waited for. Salt waits as long as a minion says that the job still runs,
        which one that hangs in a dead file system says for ever.
    """
    with salt.client.get_local_client(conf_file) as local:

        def run(ids: Sequence[str], fun: str, arg: Sequence[Any], kwarg: dict[str, Any]) -> dict[str, dict[str, Any]]:
            returns = local.cmd_iter_no_block(list(ids), fun, list(arg), tgt_type="list", kwarg=kwarg)
            return superpod_apply.collected(returns, time.monotonic() + seconds)

        yield run
