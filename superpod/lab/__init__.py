"""The lab: a miniature SuperPOD of systemd-nspawn machines on one Linux host."""

from superpod.lab.lab import Lab

__all__ = ["Lab"]
