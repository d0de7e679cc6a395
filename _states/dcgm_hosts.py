"""On the head: whether the matches in the pillar mean minions of this master."""

from __future__ import annotations

import os
from typing import Any

import salt.config
from superpod_dcgm.base import state
from superpod_dcgm.fleet import accepted, check

# Given by Salt's loader.
__opts__: dict[str, Any]


def known(name: str, hosts: dict[str, str], builds: bool) -> dict[str, Any]:
    """
    Check that nobody is named in ``dcgm:hosts`` whom this master does not know. Nothing is changed.

    :param name: a sentence.
    :param hosts: the section ``hosts``.
    :param builds: whether the exporter is built by this fleet.

    .. code-block:: yaml

        Check that dcgm:hosts names minions of this master:
          dcgm_hosts.known:
            - hosts: {nodes: 'dgx-*', head: bcm-01, builder: dgx-01, monitoring: ''}
            - builds: True
    """
    folder = os.path.dirname(__opts__["conf_file"])
    master = os.path.join(folder, "master")
    if not os.path.exists(master) and not os.path.isdir(f"{master}.d"):
        return state.result(name, True, f"There is no Salt master on this machine ({master}), whose minions they are")
    opts = salt.config.master_config(master)
    found = check.problems(hosts, accepted.fleet(opts, hosts), builds)
    return state.result(name, not found, "\n".join(found) or "They are")
