"""Prometheus' text format."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass, field

_SAMPLE = re.compile(r"([A-Za-z_:]\w*)(?:\{.*\})? (\S+)", re.ASCII)


@dataclass
class Family:
    """One metric: its samples are name suffix, labels and value."""

    name: str
    kind: str
    text: str
    samples: list[tuple[str, dict[str, str], float]] = field(default_factory=list)

    def add(self, value: float, suffix: str = "", **labels: str) -> None:
        """Add one sample; ``suffix`` is for the parts of a summary."""
        self.samples.append((suffix, labels, value))


def render(families: list[Family]) -> str:
    """Return the families in Prometheus' text format."""
    lines = []
    for family in sorted(families, key=lambda one: one.name):
        lines += [f"# HELP {family.name} {family.text}", f"# TYPE {family.name} {family.kind}"]
        lines += sorted(f"{family.name}{suffix}{_labels(labels)} {value!r}" for suffix, labels, value in family.samples)
    return "\n".join(lines) + "\n"


def highest(page: str) -> dict[str, float]:
    """Return the highest value of each metric on a page."""
    found: dict[str, float] = {}
    for sample in filter(None, map(_SAMPLE.match, page.splitlines())):
        with contextlib.suppress(ValueError):
            value = float(sample[2])
            found[sample[1]] = max(value, found.get(sample[1], value))
    return found


def _labels(labels: dict[str, str]) -> str:
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}" if labels else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
