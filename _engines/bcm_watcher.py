"""
Engine ``bcm_watcher``: follows BCM roles from the Salt master, one watcher for the whole cluster.

At every interval it asks for the roles, writes the target files and, when nodes are owed a role call, fires
``superpod/bcm/roles/changed`` {seq}. Every poll ends with ``superpod/bcm/heartbeat`` {seq, updated, failures, error}.

It listens for minions that start and for what nodes tell: ``superpod/dcgm/deployed`` {roles_known},
``superpod/dcgm/applied`` {digest} and ``superpod/dcgm/removed``. All of it is collected and answered once per poll.
What is told while nobody listens is found out by asking the deployed nodes how they are, at the start and from time to
time.

.. code-block:: yaml

    engines:
      - bcm_watcher: {}
"""

from __future__ import annotations

import collections
import logging
import time
from collections.abc import Callable
from typing import Any

import salt.utils.event
from salt.exceptions import SaltClientError, SaltReqTimeoutError
from superpod_dcgm.base import files

# Given by Salt's loader.
__opts__: dict[str, Any]
__runners__: dict[str, Callable[..., Any]]

log = logging.getLogger(__name__)

HEARTBEAT = "superpod/bcm/heartbeat"
DEPLOYED = "superpod/dcgm/deployed"
APPLIED = "superpod/dcgm/applied"
REMOVED = "superpod/dcgm/removed"
_HEARD = rf"^(salt/minion/[^/]+/start|{DEPLOYED}|{APPLIED}|{REMOVED})$"
# While there are no settings, or something is broken: Salt restarts a crashed engine at once, without any pause.
_PAUSE = 30.0


def start() -> None:
    """Follow the roles until the master stops. Never raises, since Salt would restart it in a tight loop."""
    watcher = _Watcher()
    while True:
        try:
            watcher.run()
        except Exception as exc:
            watcher.say(f"stopped by {type(exc).__name__}: {exc}; tried again in {_PAUSE:g} seconds")
            time.sleep(_PAUSE)


# Polls at which a node is asked again which configuration was applied to it; then the audit finds it.
_ASKED = 5


class _Watcher:
    """The loop, and what it has to remember between two polls."""

    def __init__(self) -> None:
        self._said = ""
        self._news: dict[str, set[str]] = collections.defaultdict(set)
        self._vain: collections.Counter[str] = collections.Counter()

    def say(self, problem: str) -> None:
        """Log a problem once, until another one or none comes between."""
        if problem and problem != self._said:
            log.error("bcm_watcher: %s", problem)
        self._said = problem

    def run(self) -> None:
        """Poll for ever. A second watcher (a master that is just being restarted) waits until the first has gone."""
        watcher_settings = __runners__["bcm.settings"]()
        with (
            files.lock_local(f"{watcher_settings['snapshot']}.watcher", _PAUSE),
            salt.utils.event.get_master_event(__opts__, __opts__["sock_dir"], listen=True) as bus,
        ):
            audited = float("-inf")
            while True:
                began = time.monotonic()
                self._poll(bus)
                # Read at every poll, so that new intervals count without a restart of the master.
                watcher = __runners__["bcm.settings"]()["watcher"]
                if began - audited >= watcher["audit"]:
                    audited = began
                    self._audit()
                self._listen(bus, began + watcher["interval"])

    def _poll(self, bus: Any) -> None:
        done = __runners__["bcm.poll"](news={kind: sorted(names) for kind, names in self._news.items()})
        self._news.clear()
        # Nodes that did not say which configuration was applied to them are asked again, but not for ever: each poll
        # would wait for one that was switched off.
        again = [name for name in done["unanswered"] if self._vain[name] < _ASKED]
        self._vain = collections.Counter({name: self._vain[name] + 1 for name in again})
        self._news["applied"].update(again)
        self.say("")
        bus.fire_event({key: done[key] for key in ("seq", "updated", "failures", "error")}, HEARTBEAT)

    def _audit(self) -> None:
        """Take what was not heard while nobody listened as heard now. A master that is starting may not answer yet."""
        try:
            for kind, names in __runners__["bcm.audit"]().items():
                self._news[kind].update(names)
        except (SaltClientError, SaltReqTimeoutError) as exc:
            log.warning("bcm_watcher: the nodes cannot be asked how they are: %s", exc)

    def _listen(self, bus: Any, until: float) -> None:
        while (left := until - time.monotonic()) > 0:
            # A wait of 0 would mean for ever.
            event = bus.get_event(wait=max(left, 0.1), tag=_HEARD, match_type="regex", full=True)
            if event:
                self._hear(event["tag"], event["data"])

    def _hear(self, tag: str, data: dict[str, Any]) -> None:
        # A minion chooses tag and data of its events. Where it sends a list of them, not even `id` is the master's
        # word: it can speak for another. That may cause a question to a node, or spare it a repair; neither roles nor
        # configurations are taken from an event, and only accepted minions that are nodes get anything.
        minion = str(data.get("id", ""))
        if tag == DEPLOYED:
            self._news["deployed"].add(minion)
            self._news["removed"].discard(minion)
            told = data.get("data")
            if not isinstance(told, dict) or not told.get("roles_known", True):
                self._news["roleless"].add(minion)
        elif tag == APPLIED:
            self._news["applied"].add(minion)
        elif tag == REMOVED:
            self._news["removed"].add(minion)
            self._news["deployed"].discard(minion)
        else:
            self._news["started"].add(minion)
