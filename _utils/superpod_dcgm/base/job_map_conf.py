"""job-map.conf: what prolog, epilog and the services of a node read of the configuration (written by config/derive)."""

from __future__ import annotations

from superpod_dcgm.base import paths


def of_this_node() -> dict[str, str]:
    """
    Return job-map.conf of this node by key.

    :raises OSError: there are none.
    """
    return read(paths.JOB_MAP_CONFIG)


def read(path: str) -> dict[str, str]:
    """
    Return a file by key.

    :raises OSError: there are none.
    """
    with open(path, encoding="utf-8") as stream:
        pairs = (line.rstrip("\n").partition("=") for line in stream if not line.startswith("#"))
        return {key: value for key, separator, value in pairs if separator}


def number(conf: dict[str, str], key: str, default: int) -> int:
    """Return a setting that is a whole number, or ``default`` where it is missing or something else."""
    text = conf.get(key, "")
    return int(text) if text.isdecimal() else default
