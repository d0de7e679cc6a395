"""The lab: a miniature SuperPOD of systemd-nspawn machines on one Linux host."""

from __future__ import annotations

from typing import Any

__all__ = ["Lab"]


def __getattr__(name: str) -> Any:
    # Late, so that setup.sh can ask superpod.lab.preflight before anything is installed.
    if name == "Lab":
        from superpod.lab.lab import Lab

        return Lab
    raise AttributeError(name)
