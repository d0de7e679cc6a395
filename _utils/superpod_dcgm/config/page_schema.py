"""Whether an exporter's page has the metric schema that compatibility.yaml says of its release."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from superpod_dcgm.exporter import installed
from superpod_dcgm.monitoring import metric_names

Judge = Callable[[Mapping[str, float]], str]


def judge(release: str, schema: int) -> Judge:
    """
    Return what says in a sentence how a page differs from a release's schema; ``""`` where it fits or tells too little.

    It takes the highest value of each metric. While another release is current, nothing is said: this one was taken
    back, or is not there yet.

    :param schema: 1 or 2; 0: not known.
    """

    def of_page(highest: Mapping[str, float]) -> str:
        if not schema or installed.linked_release() != release:
            return ""
        found = metric_names.disagreement(highest, schema)
        return f"/metrics is not as dcgm-exporter {release} should have it: {found} (docs/rules.md)" if found else ""

    return of_page


def recorded(record: Mapping[str, Any]) -> Judge:
    """Return the judge of what the last apply kept for role calls (``role_call.remember``), whatever is in it."""
    match record.get("pinned"):
        case [str() as release, int() as schema]:
            return judge(release, schema)
    return judge("", 0)
