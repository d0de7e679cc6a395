"""
What a Prometheus has for the dashboard of clusters when there are 2,000 nodes with 16,000 GPUs: for a picture of it.

Only what that dashboard asks, as the rules would have recorded it; ``benchmarks/dashboards.py`` measures all of them.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from board_world import BEGIN
from superpod_dcgm.monitoring import recording

NODES, GPUS, JOBS = 2000, 8, 640
STEP, SECONDS, LATE = 120, 6 * 3600, 600
END = BEGIN + SECONDS
CLUSTER = "pod-1"
MEMORY, ALERTS = 81920 * 1048576, (("critical", 3), ("warning", 41), ("info", 187))


def row(name: str, labels: str, now: int, value: float) -> str:
    return f'{name}{{cluster="{CLUSTER}"{"," if labels else ""}{labels}}} {value!r} {BEGIN + now}\n'


def shares(now: int) -> tuple[float, float]:
    """Return how many GPUs are in jobs, and how busy those are: a morning at which people come."""
    part = now / SECONDS
    return 0.71 + 0.2 / (1 + math.exp(-14 * (part - 0.45))), 0.74 + 0.04 * math.sin(part * 9)


def whole() -> Iterator[str]:
    """Yield the rows of the cluster, each minute of two."""
    count, chance = NODES * GPUS, random.Random(1)
    names: dict[str, list[str]] = {}
    for now in range(0, SECONDS + 1, STEP):
        held, use = shares(now)
        use += chance.gauss(0, 0.006)
        values = {
            **{"gpus:count": count, "gpus_allocated:sum": round(count * held), "utilization_ratio:avg": held * use},
            **{
                "gpu_hours_used:increase1m": count * held * use / 60,
                "memory_used_bytes:sum": count * held * MEMORY * 0.66,
            },
            **{"power_watts:sum": count * (75 + held * use * 590), "memory_capacity_bytes:sum": count * MEMORY},
        }
        values["energy_joules:increase1m"] = values["power_watts:sum"] * 60
        for name, value in values.items():
            names.setdefault(name, []).append(row(f"cluster:{name}", "", now, float(value)))
        for name, le, number in buckets(held, use):
            names.setdefault(f"{name}{le}", []).append(row(f"cluster:gpu_{name}:bucket", f'le="{le}"', now, number))
    for lines in names.values():
        yield from lines


def buckets(held: float, use: float) -> Iterator[tuple[str, str, float]]:
    """Yield how many GPUs are at most so busy, and at most so hot."""
    count = NODES * GPUS
    for bound in recording.UTILIZATIONS:
        idle, le = (1 - held) + held * 0.06, float(bound)
        busy = held * 0.94 / (1 + math.exp(-16 * (le - use - 0.08))) if le < 1 else held * 0.94
        yield "utilization_ratio", bound, round(count * (idle + busy))
    for bound in recording.TEMPERATURES:
        degrees = float(bound)
        cool, warm = 1 / (1 + math.exp(0.6 * (33 - degrees))), 1 / (1 + math.exp(0.42 * (62 + 4 * use - degrees)))
        yield "temperature_celsius", bound, round(count * ((1 - held) * cool + held * warm))


def nodes() -> Iterator[str]:
    """Yield the last rows of each node: few do not answer, few are hot, some do little."""
    chance = random.Random(2)
    for number in range(NODES):
        host = f'host="dgx-{number:04}"'
        up = 0 if number % 331 == 17 else 1
        use = min(1, max(0, chance.gauss(0.78, 0.16))) if number % 40 else 0.02 * chance.random()
        held = 8 if number % 11 else 0
        heat = chance.gauss(61, 3) + (24 if number % 500 == 3 else 0)
        values = {
            "power_watts:sum": 600 + use * held * 560,
            "gpus_allocated:sum": held,
            "utilization_ratio:avg": use * held / 8,
        }
        for now in range(SECONDS - LATE, SECONDS + 1, STEP):
            yield row("up", f'{host},job="dcgm-exporter"', now, up)
        for name, value in (*values.items(), ("temperature_celsius:max", round(heat))) if up else ():
            for now in range(SECONDS - LATE, SECONDS + 1, STEP):
                yield row(f"node:{name}", host, now, value)


def jobs() -> Iterator[str]:
    """Yield the last rows of jobs, of a few large ones and many small."""
    chance = random.Random(3)
    for number in range(JOBS):
        gpus = 1024 if number == 0 else min(512, 8 * 2 ** int(chance.expovariate(0.9)))
        whose = f'user="user{number % 211:03}",account="lab{number % 37:02}",partition="train"'
        who = f'hpc_job="{881000 + 7 * number}",{whose}'
        use = min(1, max(0, chance.gauss(0.76, 0.2)))
        values = {"gpus_allocated:sum": gpus, "utilization_ratio:avg": use, "power_watts:sum": gpus * (75 + 590 * use)}
        values["memory_used_bytes:sum"] = gpus * MEMORY * chance.uniform(0.2, 0.9)
        for name, value in values.items():
            for now in range(SECONDS - LATE, SECONDS + 1, STEP):
                yield row(f"job:{name}", who, now, value)


def alerts() -> Iterator[str]:
    for severity, most in ALERTS:
        for number in range(most):
            labels = (
                f'alertname="Superpod{number % 7}",alertstate="firing",severity="{severity}",host="dgx-{number * 9:04}"'
            )
            for now in range(number * SECONDS // most, SECONDS + 1, STEP):
                yield row("ALERTS", labels, now, 1)


def openmetrics() -> Iterator[str]:
    """Yield the text of all of it, series by series."""
    for part in (whole(), nodes(), jobs(), alerts()):
        yield from part
    yield "# EOF\n"
