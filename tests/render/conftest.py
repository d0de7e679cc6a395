"""Fixtures of the render tests."""

from rendering import compiler, minion_options  # noqa: F401
