"""
The configuration of a node's last apply: kept without secrets, and made whole again for the watcher.

The watcher repairs a node with what the administrator last applied to it, never with a newer pillar.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from superpod_dcgm.config import monitored
from superpod_dcgm.config.resolve import ConfigurationError

# No state of a node reads them.
_NOT_OF_NODES = ("prometheus", "grafana", "targets", "head_metrics")
# Their values may be passwords, such as that of a proxy, or hashes of them.
_SECRETS = (("exporter", "environment"), ("exporter", "build", "environment"), ("exporter", "basic_auth"))
# Of these places only some names, where they have a value.
_ONLY: dict[tuple[str, ...], tuple[str, ...]] = {("exporter", "basic_auth"): ("hash",)}
_SECRET = "(not stored)"


def record(configuration: Mapping[str, Any], sections: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what is kept of an applied configuration: ``digest``, ``configuration``, ``secrets`` (keys without values).

    :param configuration: the whole, as ``resolve.configuration`` returns it.
    :param sections: the keys of the pillar: all else is derived, and not kept.
    """
    kept = {key: copy.deepcopy(configuration[key]) for key in sections if key not in _NOT_OF_NODES}
    kept["exporter"].pop("facts", None)
    # Where the watcher asks is the head's alone.
    kept["watcher"] = {"enabled": kept["watcher"]["enabled"]}
    names = []
    for place in _SECRETS:
        values = _at(kept, place)
        secret = [name for name in values if values[name] and name in _ONLY.get(place, values)]
        names += [":".join(("dcgm", *place, name)) for name in secret]
        values.update(dict.fromkeys(secret, _SECRET))
    return {"digest": digest(kept), "configuration": kept, "secrets": names}


def digest(kept: Mapping[str, Any]) -> str:
    """Return by what a kept configuration is told from another: SHA-256 in hexadecimal digits."""
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()


def whole(kept: Mapping[str, Any], pillar: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return a kept configuration as a pillar, with the values of its secrets from the present pillar.

    :param kept: ``configuration`` of ``record``.
    :param pillar: the present pillar ``dcgm``.
    :raises ConfigurationError: names each secret that the present pillar does not have.
    """
    found: dict[str, Any] = copy.deepcopy(dict(kept))
    if missing := list(_filled(found, pillar)):
        raise ConfigurationError(
            f"{', '.join(missing)}: was set at the last apply and is not in the pillar any more; "
            "its value is not stored. Set it again, or apply `dcgm` to the node"
        )
    # How Prometheus is set up by now is not this node's, and no contradiction to what was applied here.
    found["prometheus"] = {"scrape_interval": f"{monitored.collects(found.get('exporter', {}))}ms"}
    return found


def _filled(found: dict[str, Any], pillar: Mapping[str, Any]) -> Iterator[str]:
    for place in _SECRETS:
        wanted, present = _at(found, place), _at(pillar, place)
        for name in [name for name, value in wanted.items() if value == _SECRET]:
            if name not in present:
                yield ":".join(("dcgm", *place, name))
            else:
                wanted[name] = present[name]


def _at(configuration: Mapping[str, Any], place: tuple[str, ...]) -> dict[str, Any]:
    found: Any = configuration
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, dict) else {}
