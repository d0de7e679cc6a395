"""
The grain ``bcm``: which BCM roles and category this node has, as the watcher delivered them.

``known`` is false until something was delivered. The grain reads a small file and never waits for the network.

.. code-block:: bash

    salt -G 'bcm:roles:slurmclient' test.ping
"""

from __future__ import annotations

import json
import os
from typing import Any

# Given by Salt's loader.
__opts__: dict[str, Any]

# Grains are loaded in the minion's long-lived process, whose jobs are forks that inherit sys.modules. What a grain
# imports stays there until the minion restarts, so this one imports nothing of ours: jobs would run old utils after
# a sync of newer ones. That is why path and reading are here a second time (base/paths.py, base/roles.py).
_NODE_STATE = "/var/lib/superpod-dcgm"
# Characters; a record has some hundred.
_LARGEST = 1 << 20


def bcm() -> dict[str, Any]:
    """Return the grain ``bcm`` {known, roles, category, since, updated}."""
    record = _read(f"{__opts__.get('superpod_dcgm_state', _NODE_STATE)}/roles.json")
    return {
        "bcm": {
            "known": bool(record),
            "roles": record.get("roles", []),
            "category": record.get("category"),
            "since": record.get("since"),
            "updated": record.get("updated"),
        }
    }


def _read(path: str) -> dict[str, Any]:
    try:
        # A FIFO in its place must not hold the minion: opened like this it is read as empty.
        with open(path, encoding="utf-8", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
            record = json.loads(stream.read(_LARGEST))
    except (OSError, ValueError, RecursionError):
        return {}
    roles = record.get("roles") if isinstance(record, dict) else None
    return record if isinstance(roles, list) and all(isinstance(role, str) for role in roles) else {}
