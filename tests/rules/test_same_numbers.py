"""
The same numbers everywhere: the dashboard's question, the recording rules, `superpod job` and `report`, and a hand.

Jobs use two of four GPUs, and share one GPU in MIG mode: on nodes of the first schema, of the second, and on both.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import report_bench as bench
import rule_series as scenario
from click.testing import CliRunner
from rule_series import Device, Job, always, during
from superpod_dcgm.monitoring import recording

from superpod.cli import main

FILES = Path(__file__).resolve().parents[2] / "salt/dcgm/grafana/files"
MIB, BEGIN, FINISH, MINUTES = 1048576, 300, 2100, 50
SPAN = "3585s"
HALF_HOUR = (FINISH - BEGIN) / 3600


def job(number: int, user: str) -> Job:
    return Job(number, BEGIN, FINISH, user)


def four(places: list[tuple[str, int]], held: Job) -> list[Device]:
    """Return four GPUs of a job: two that work, differently, and two that do nothing."""

    def busy(value: float, other: float = 0) -> scenario.Course:
        return during(BEGIN, FINISH, value, other)

    first, second, *idle = places
    return [
        Device(*first, busy(600, 70), busy(0.9), busy(0.95), busy(60000, 512), [held]),
        Device(*second, busy(500, 70), busy(0.5), busy(0.6), busy(30000, 512), [held]),
        *(Device(*place, always(90), jobs=[held]) for place in idle),
    ]


def shared(host: str, jobs: list[Job]) -> list[Device]:
    """Return the instances of a GPU: one that two jobs share, one of a third, and one that nobody has."""

    def instance(number: str, profile: str, use: float, used: float, held: list[Job]) -> Device:
        courses = (during(BEGIN, FINISH, use), always(None), during(BEGIN, FINISH, used))
        return Device(host, 0, always(350), *courses, held, instance=number, profile=profile)

    third, *two = jobs
    return [
        instance("2", "3g.40gb", 0.8, 30000, two),
        instance("5", "2g.20gb", 0.0, 1000, [third]),
        instance("9", "1g.10gb", 0.3, 500, []),
    ]


# Nodes by the schema of their exporter.
SCHEMAS = {"s1": 1, "s2": 2, "s3": 1, "s4": 2, "m1": 1, "m2": 2}
DEVICES = [
    *four([("s1", 0), ("s1", 1), ("s1", 2), ("s1", 3)], job(5001, "alice")),
    *four([("s2", 0), ("s2", 1), ("s2", 2), ("s2", 3)], job(5002, "bob")),
    # One node of each schema: on each a GPU works, and one does nothing.
    *four([("s3", 0), ("s4", 0), ("s3", 1), ("s4", 1)], job(5003, "carol")),
    *shared("m1", [job(6001, "dave"), job(6002, "erin"), job(6003, "frank")]),
    *shared("m2", [job(6101, "grace"), job(6102, "heidi"), job(6103, "ivan")]),
]


@dataclass(frozen=True)
class Hand:
    """What a hand reckons of a job: GPUs, the part of its time that they worked, watts, bytes, and GPUs never used."""

    gpus: float
    use: float
    idle: float
    watts: float
    memory: float
    never_used: int = 0

    @property
    def values(self) -> dict[str, tuple[float, float]]:
        """Each number with what a minute of it is: that much may be off."""
        minute = 1 / 60
        return {
            "GPUs": (self.gpus, 0),
            "GPU hours": (self.gpus * HALF_HOUR, self.gpus * minute),
            "used": (self.gpus * self.use * HALF_HOUR, self.gpus * minute),
            "idle": (self.idle * HALF_HOUR, self.idle * minute),
            "utilization": (self.use, 0),
            "joules": (self.watts * HALF_HOUR * 3600, self.watts * 60),
            "watts": (self.watts, 0),
            "bytes": (self.memory * MIB, 0),
            "never used": (self.never_used, 0),
        }


FOUR = Hand(4, (0.9 + 0.5) / 4, 2, 600 + 500 + 90 + 90, 60000 + 30000 + 512 + 512, 2)
# Half of 3/7, and all of 2/7. Of the board's 350 W each has what its slices are worth.
SHARED, THIRD = Hand(1.5 / 7, 0.8, 0, 350 * 1.5 / 7, 15000), Hand(2 / 7, 0, 2 / 7, 350 * 2 / 7, 1000, 1)
HANDS = {5001: FOUR, 5002: FOUR, 5003: FOUR, 6001: THIRD, 6002: SHARED, 6003: SHARED}
HANDS |= {6101: THIRD, 6102: SHARED, 6103: SHARED}
OWNERS = {held.id: held.user for device in DEVICES for held in device.jobs}


@pytest.fixture(scope="module", params=["2", "3"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, float]]:
    """A Prometheus with all of it, and when it was over."""
    begin = time.time() // 60 * 60 - 2 * 3600
    rules = [rule for group in recording.groups(recording.Settings()) for rule in group["rules"]]
    with bench.Server(request.param, tmp_path_factory.mktemp("prometheus")).running() as found:
        found.write(bench.raw(scenario.collect(DEVICES, lambda device: SCHEMAS[device.host]), begin))
        found.record(rules, begin + bench.AFTER, MINUTES)
        # Off the grid of samples, at the edges of all ranges.
        yield found, begin + scenario.END + 20


def by_question(server: tuple[Any, float], expression: str) -> float:
    found, end = server
    (row,) = found.ask("query", query=expression, time=f"{end:.0f}")
    return float(row["value"][1])


@cache
def board(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FILES / f"superpod-{name}.json").read_text())
    return found


def panel(name: str, title: str, **values: str) -> str:
    """Return the question of a number on a dashboard, with its variables filled in as Grafana does."""
    every = [one for outer in board(name)["panels"] for one in (outer, *outer.get("panels", []))]
    found = next(one for one in every if one.get("title") == title and one["type"] == "stat")
    (target,) = found["targets"]
    expression = str(target["expr"])
    for variable, value in {"__range": SPAN, "cluster": "a", **values}.items():
        expression = expression.replace(f"${variable}", value)
    assert "$" not in expression
    return expression


def on_dashboard(server: tuple[Any, float], number: int) -> dict[str, float]:
    """Return what the dashboard *Single job* asks."""

    def ask(title: str) -> float:
        return by_question(server, panel("job", title, job=str(number)))

    hours, mean = ask("GPU hours"), ask("Utilization")
    return {
        **{"GPUs": ask("Most GPUs"), "GPU hours": hours, "used": hours * mean, "idle": ask("Idle GPU hours")},
        **{"utilization": mean, "joules": ask("Energy") * 3.6e6, "bytes": ask("Most memory")},
        "never used": ask("Unused GPUs"),
    }


def by_rules(server: tuple[Any, float], number: int) -> dict[str, float]:
    """Return what the records of the job add up to."""
    mine = f'{{cluster="a",hpc_job="{number}"}}[{SPAN}]'

    def total(record: str) -> float:
        return by_question(server, f"sum_over_time(job:{record}:increase1m{mine})")

    used = total("gpu_hours_used")
    return {
        **{"GPUs": by_question(server, f"max_over_time(job:gpus_allocated:sum{mine})"), "used": used},
        **{"GPU hours": total("gpu_hours_allocated"), "idle": total("gpu_hours_idle")},
        **{"utilization": used / total("gpu_hours_measured"), "joules": total("energy_joules")},
        "watts": by_question(server, f"max_over_time(job:power_watts:sum{mine})"),
        "bytes": by_question(server, f"max_over_time(job:memory_used_bytes:sum{mine})"),
    }


def said(server: tuple[Any, float], line: str, code: int = 0) -> Any:
    words = [*line.split(), "--json", "--prometheus", server[0].address]
    answer = CliRunner().invoke(main, words, env={"SUPERPOD_CONFIG": "/dev/null"})
    assert answer.exit_code == code, answer.output
    return json.loads(answer.stdout)


def by_job(server: tuple[Any, float], number: int) -> dict[str, float]:
    """Return what `superpod job` says."""
    found = said(server, f"job {number} --no-slurm")
    hours = found["gpu_hours"]
    return {
        **{"GPUs": found["gpus"]["at_once"], "never used": found["gpus"]["never_used"]},
        **{"GPU hours": hours["held"], "used": hours["used"], "idle": hours["idle"]},
        **{"utilization": found["utilization_ratio"]["mean"], "joules": found["energy_joules"]},
        **{"watts": found["power_watts"]["peak"], "bytes": found["memory_bytes"]["peak"]},
    }


def by_report(server: tuple[Any, float], number: int, level: str) -> dict[str, float]:
    """Return what `superpod report` says of the job, or of the user who has no other."""
    rows = said(server, f"report --since 3h --by {level}", 3)["rows"]
    name = {"job": str(number), "user": OWNERS[number]}[level]
    (found,) = (one for one in rows if one[level] == name)
    return {
        **{"GPU hours": found["gpu_hours_held"], "used": found["gpu_hours_used"], "idle": found["gpu_hours_idle"]},
        **{"utilization": found["utilization_ratio"], "joules": found["energy_joules"]},
    }


def of_user(server: tuple[Any, float], number: int) -> dict[str, float]:
    """Return what the dashboard *Users and accounts* asks."""

    def ask(title: str) -> float:
        return by_question(server, panel("users", title, account=".*", partition=".*", user=OWNERS[number]))

    hours, mean = ask("GPU hours"), ask("Utilization")
    return {"GPU hours": hours, "used": hours * mean, "idle": ask("Idle GPU hours"), "joules": ask("Energy") * 3.6e6}


@pytest.mark.parametrize("number", HANDS)
def test_all_say_the_same(server: tuple[Any, float], number: int) -> None:
    every = {
        **{"dashboard of jobs": on_dashboard(server, number), "rules": by_rules(server, number)},
        **{"superpod job": by_job(server, number), "superpod report": by_report(server, number, "job")},
        "superpod report of users": by_report(server, number, "user"),
    }
    wrong = [
        f"{who}: {name} is {values[name]}, by hand {wanted}"
        for name, (wanted, off) in HANDS[number].values.items()
        for who, values in every.items()
        if name in values and abs(values[name] - wanted) > off + 1e-6 * wanted + 1e-9
    ]
    assert wrong == []


def test_both_schemas_give_the_very_same(server: tuple[Any, float]) -> None:
    for first, second in ((5001, 5002), (5001, 5003), (6001, 6101), (6002, 6102), (6003, 6103)):
        one, other = by_job(server, first), by_job(server, second)
        assert one == pytest.approx(other)


def test_jobs_of_a_shared_gpu_have_together_what_it_has(server: tuple[Any, float]) -> None:
    for host, jobs in (("m1", (6001, 6002, 6003)), ("m2", (6101, 6102, 6103))):
        minutes = (FINISH - BEGIN) / 60
        free = by_question(server, f'sum_over_time(node:energy_joules_unallocated:increase1m{{host="{host}"}}[{SPAN}])')
        whole = by_question(server, f'sum_over_time(node:energy_joules:increase1m{{host="{host}"}}[{SPAN}])')
        mine = sum(by_job(server, number)["joules"] for number in jobs)
        assert mine + free == pytest.approx(whole)
        assert mine == pytest.approx(350 * 5 / 7 * minutes * 60, abs=350 * 60)
