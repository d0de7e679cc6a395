"""What an exporter should answer, and where two answers differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).resolve().parent / "expectations.yaml"
# Known from its release notes only.
INFERRED = "4.6.0-4.8.3"


def table() -> dict[str, dict[str, Any]]:
    """Return the table of expectations by question."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    return found


def expected(row: dict[str, Any], release: str) -> Any:
    """Return what a release answers by its row of the table."""
    answer = row["answer"]
    other = row.get("inferred") if release == INFERRED else row.get("others", {}).get(release)
    if other is None:
        return answer
    return {**answer, **other} if isinstance(answer, dict) and isinstance(other, dict) else other


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """Return a line for each place in which two answers differ."""
    if one == other:
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        names = list(dict.fromkeys([*one, *other]))
        found = [differences(one.get(name, "nothing"), other.get(name, "nothing"), f"{where}/{name}") for name in names]
        return [line for lines in found for line in lines]
    return [f"{where.lstrip('/')}: {one!r}, {other!r}"]
