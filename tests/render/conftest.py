"""Fixtures of the render tests."""

from rendering import applied, compiler, minion_options, parse_once  # noqa: F401
