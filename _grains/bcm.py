"""
The grain ``bcm``: which BCM roles and category this node has, as the watcher delivered them.

``known`` is false until something was delivered. The grain reads a small file and never waits for the network.

.. code-block:: bash

    salt -G 'bcm:roles:slurmclient' test.ping
"""

from __future__ import annotations

from typing import Any

import superpod_paths
import superpod_roles


def bcm() -> dict[str, Any]:
    """Return the grain ``bcm`` {known, roles, category, since, updated}."""
    record = superpod_roles.read(__opts__.get("superpod_dcgm_roles", superpod_paths.ROLES_FILE)) or {}
    return {
        "bcm": {
            "known": bool(record),
            "roles": record.get("roles", []),
            "category": record.get("category"),
            "since": record.get("since"),
            "updated": record.get("updated"),
        }
    }
