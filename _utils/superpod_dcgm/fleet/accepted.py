"""What a Salt master knows of its minions without asking them: keys, matches, architectures."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import salt.config
import salt.key
import salt.utils.minions

from superpod_dcgm.fleet import check

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def fleet(opts: dict[str, Any], hosts: Mapping[str, str]) -> check.Fleet:
    """
    Return what the master of these options knows of the minions that ``hosts`` matches.

    :param opts: the options of the master.
    """
    keys = salt.key.get_key(opts).list_keys()
    minions = salt.utils.minions.CkMinions(opts)
    matched = {
        key: sorted(minions.check_minions(match, "compound")["minions"]) if match else []
        for key, match in hosts.items()
    }
    interesting = {name for key in ("nodes", "builder") for name in matched[key]}
    return check.Fleet(
        accepted=sorted(keys["minions"]),
        waiting=sorted(keys["minions_pre"]),
        matched=matched,
        architectures={name: found for name in sorted(interesting) if (found := architecture(opts, name))},
        own=own_minion(opts),
    )


def own_minion(opts: dict[str, Any]) -> str:
    """Return the id of the minion on this master's machine."""
    path = os.path.join(os.path.dirname(opts["conf_file"]), "minion")
    return str(salt.config.minion_config(path)["id"])


def architecture(opts: dict[str, Any], minion: str) -> str:
    """Return the architecture that a minion last told, as Go calls it, or ``""``."""
    _, grains, _ = salt.utils.minions.get_minion_data(minion, opts)
    return _ARCHITECTURES.get((grains or {}).get("cpuarch", ""), "")
