"""A package repository for Grafana: its files on Debian's and Red Hat's families."""

from __future__ import annotations

import os

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring.grafana_texts import MARK

_NAME = "superpod-grafana"
_BLOCK = "BEGIN PGP PUBLIC KEY BLOCK"


def _places() -> tuple[str, str]:
    """Where the list and the key stand, by what the machine installs packages with."""
    if os.path.isdir(paths.APT):
        return f"{paths.APT}/sources.list.d/{_NAME}.sources", f"{paths.APT}/keyrings/{_NAME}.asc"
    return f"{paths.YUM}/{_NAME}.repo", f"{paths.RPM_KEYS}/{_NAME}.asc"


def texts(url: str, key: str) -> dict[str, str]:
    """
    Return the files of a repository by path.

    :param url: its address, as Grafana Labs or a mirror has it.
    :param key: the text of its public key.
    :raises ValueError: that is no key.
    """
    if _BLOCK not in key:
        raise ValueError(
            "dcgm:grafana:repository:key: the file is no public key in text form (BEGIN PGP PUBLIC KEY BLOCK)"
        )
    place, keyring = _places()
    apt = {"Types": "deb", "URIs": url, "Suites": "stable", "Components": "main", "Signed-By": keyring}
    yum = {
        **{"name": "Grafana", "baseurl": url, "enabled": "1", "gpgcheck": "1", "repo_gpgcheck": "1"},
        "gpgkey": f"file://{keyring}",
    }
    lines = [f"{name}: {value}" for name, value in apt.items()]
    if not place.endswith(".sources"):
        lines = [f"[{_NAME}]", *(f"{name}={value}" for name, value in yum.items())]
    return {keyring: key, place: "\n".join([f"{MARK}: edit the pillar, not this file.", *lines, ""])}


def present() -> list[str]:
    """Return the files of a repository of ours that are there."""
    return [path for path in _places() if os.path.lexists(path)]
