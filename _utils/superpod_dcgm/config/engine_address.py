"""Which address of a host engine a release of the exporter takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_HIGHEST = 65535


def port(address: str) -> int | None:
    """Return the TCP port of a host engine; None for a socket in the file system."""
    return None if address.startswith("unix://") else int(address.rpartition(":")[2])


def errors(address: str, release: str, facts: dict[str, Any]) -> Iterator[str]:
    """
    Yield what is wrong with an address of the form that schema.yaml allows, as sentences.

    :param facts: what is known of the release that would use it.
    """
    key = f"dcgm:exporter:engine_address: {address!r}"
    number = port(address)
    if number is None and not facts["unix_socket"]:
        yield f"{key}: dcgm-exporter {release} cannot reach an engine by its socket; give host:port"
    elif number is not None and not 0 < number <= _HIGHEST:
        yield f"{key}: {number} is no port; it must be from 1 to {_HIGHEST}"
    elif re.match(r"\[", address) and not facts["ipv6"]:
        yield f"{key}: the DCGM of dcgm-exporter {release} takes no address of IPv6; give a name or an IPv4 address"
