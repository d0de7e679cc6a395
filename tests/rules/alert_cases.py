"""
Cases of every alert, for promtool: metrics as they come, and when which alert fires.

Most alerts have the same cases, made from one row: a state that is good or bad, or something that happens. Metrics have
the names and values of schema 1; each is tried in schema 2 too, where that differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

# Names of schema 2, and what a value of schema 1 is divided by there. By hand: the product's own table is on trial.
SCHEMA_2 = {
    "DCGM_FI_DEV_GPU_TEMP": ("DCGM_FI_DEV_GPU_TEMP_CELSIUS", 1),
    "DCGM_FI_DEV_MEMORY_TEMP": ("DCGM_FI_DEV_MEMORY_TEMP_CELSIUS", 1),
    "DCGM_FI_DEV_GPU_UTIL": ("DCGM_FI_DEV_GPU_UTIL_RATIO", 100),
    "DCGM_FI_DEV_POWER_USAGE": ("DCGM_FI_DEV_BOARD_POWER_WATTS", 1),
    "DCGM_FI_DEV_ENFORCED_POWER_LIMIT": ("DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS", 1),
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE": ("DCGM_FI_PROF_GR_ENGINE_UTIL_RATIO", 1),
    "DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS": ("DCGM_FI_DEV_ROW_REMAP_UNCORRECTABLE_TOTAL", 1),
    "DCGM_FI_DEV_ROW_REMAP_FAILURE": ("DCGM_FI_DEV_ROW_REMAP_FAILED", 1),
    "DCGM_FI_DEV_RETIRED_PENDING": ("DCGM_FI_DEV_PAGE_RETIRED_PENDING", 1),
    "DCGM_FI_DEV_THRESHOLD_SRM": ("DCGM_FI_DEV_SRAM_EXCEEDED", 1),
    "DCGM_FI_DEV_MEMORY_UNREPAIRABLE_FLAG": ("DCGM_FI_DEV_MEMORY_UNREPAIRABLE", 1),
    "DCGM_FI_DEV_GET_GPU_RECOVERY_ACTION": ("DCGM_FI_DEV_GPU_RECOVERY_ACTION", 1),
    "DCGM_FI_DEV_GPU_TEMP_LIMIT": ("DCGM_FI_DEV_GPU_TEMP_MARGIN_CELSIUS", 1),
    "DCGM_FI_DEV_SLOWDOWN_TEMP": ("DCGM_FI_DEV_GPU_TEMP_SLOWDOWN_CELSIUS", 1),
    "DCGM_FI_DEV_GPU_MAX_OP_TEMP": ("DCGM_FI_DEV_GPU_MAX_OP_TEMP_CELSIUS", 1),
    "DCGM_FI_DEV_MEM_MAX_OP_TEMP": ("DCGM_FI_DEV_MEMORY_MAX_OP_TEMP_CELSIUS", 1),
    "DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_COUNT_TOTAL": ("DCGM_FI_DEV_NVLINK_CRC_DATA_ERROR_TOTAL", 1),
    "DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_COUNT_TOTAL": ("DCGM_FI_DEV_NVLINK_RECOVERY_ERROR_TOTAL", 1),
    "DCGM_FI_DEV_NVLINK_COUNT_LINK_RECOVERY_FAILED_EVENTS": ("DCGM_FI_DEV_NVLINK_RECOVERY_FAILED_TOTAL", 1),
}
CLUSTER = {"cluster": "slurm"}
# This alert names the cluster of the pillar.
OF_ONE_CLUSTER = "SuperpodNoExporters"
NODE = {**CLUSTER, "host": "dgx-01"}
GPU = {**NODE, "gpu": "3"}
EXPORTER, OWN = {"job": "dcgm-exporter"}, {"job": "superpod-dcgm"}
# Labels that metrics have, and alerts have not.
_MORE = {"instance": "dgx-01:9400", "category": "dgx-h100"}
_BOARD = {**_MORE, **EXPORTER, "UUID": "GPU-3", "modelName": "H100"}
# Minutes of quiet before something happens, of a restart of Prometheus, and for which an event is told.
QUIET, GAP, WINDOW = 20, 18, 10
Part = tuple[float | str | None, float]


@dataclass(frozen=True)
class Series:
    """A time series: its parts are a value (or None, or ``a+b`` for a rise by b each half minute) and minutes."""

    name: str
    labels: dict[str, str]
    parts: tuple[Part, ...]

    def text(self, schema: int, cluster: str) -> dict[str, str]:
        """Return it as promtool takes it."""
        name, factor = SCHEMA_2.get(self.name, (self.name, 1)) if schema == 2 else (self.name, 1)
        labels = ", ".join(f'{key}="{value}"' for key, value in _in(self.labels, cluster).items())
        return {"series": f"{name}{{{labels}}}", "values": " ".join(_values(*part, factor) for part in self.parts)}


def _values(value: float | str | None, minutes: float, factor: float) -> str:
    samples = round(minutes * 2)
    if value is None:
        return f"_x{samples}"
    if isinstance(value, str):
        return f"{value}x{samples - 1}"
    # vmalert-tool takes 1e+06 for a rise.
    return f"{value / factor:.12g}x{samples - 1}"


@dataclass(frozen=True, eq=False)
class Case:
    """``looks``: by minute, the labels of all alerts of this name that fire, besides name and severity."""

    alert: str
    words: str
    series: tuple[Series, ...]
    looks: dict[float, tuple[dict[str, str], ...]]
    severity: str
    site: str = "extended"

    def name(self, schema: int) -> str:
        return f"{self.alert} {self.words} ({self.site}, {self.series[0].name}, schema {schema})"

    def schemas(self) -> tuple[int, ...]:
        """Return the schemas in which its metrics differ."""
        return (1, 2) if any(one.name in SCHEMA_2 for one in self.series) else (1,)

    def asked(self, schema: int, cluster: str) -> list[dict[str, Any]]:
        """Return what is asked of it in a cluster. Its name is in a comment, for those who read the failure."""
        found = firing(self.alert, f'cluster="{cluster}"', self.name(schema))
        return [
            {
                "expr": found,
                "eval_time": _time(minute),
                "exp_samples": [self._firing(_in(one, cluster)) for one in labels],
            }
            for minute, labels in sorted(self.looks.items())
        ]

    def _firing(self, labels: dict[str, str]) -> dict[str, Any]:
        every = {"alertname": self.alert, "alertstate": "firing", "severity": self.severity, **labels}
        return {"labels": f"{{{', '.join(f'{key}={value!r}' for key, value in every.items())}}}", "value": 1}


def firing(alert: str, where: str, name: str) -> str:
    """Return the question which alerts of a name fire; vmalert adds a label of its own."""
    return f'sum without (alertgroup) (ALERTS{{alertname="{alert}", alertstate="firing", {where}}}) # {name}'


def _in(labels: dict[str, str], cluster: str) -> dict[str, str]:
    return {key: cluster if key == "cluster" else value for key, value in labels.items()}


def _time(minute: float) -> str:
    return f"{round(minute * 60)}s"


def tried(cases: Sequence[tuple[Case, int]]) -> list[dict[str, Any]]:
    """
    Return the groups of tests of one alert for promtool: all cases in one, each in a cluster of its own.

    A group takes as long as a case. In clusters that have no case nothing fires.
    """
    if cases[0][0].alert == OF_ONE_CLUSTER:
        return [_group([(case, schema, CLUSTER["cluster"])]) for case, schema in cases]
    return [_group([(case, schema, f"c{number}") for number, (case, schema) in enumerate(cases)])]


def _group(cases: Sequence[tuple[Case, int, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {"interval": "30s", "input_series": [], "promql_expr_test": []}
    one, _, _ = cases[0]
    others = firing(one.alert, 'cluster!~"c[0-9]+|slurm"', f"{one.alert} fires for nobody ({one.site})")
    last = max(minute for case, _, _ in cases for minute in case.looks)
    found["promql_expr_test"] += [
        {"expr": others, "eval_time": _time(at), "exp_samples": []} for at in (last / 2, last)
    ]
    for case, schema, cluster in cases:
        found["input_series"] += [one.text(schema, cluster) for one in case.series]
        found["promql_expr_test"] += case.asked(schema, cluster)
    return found


@dataclass(frozen=True)
class State:
    """
    What is good or bad: metric, its further labels, a good and a bad value, and who is meant.

    ``steady``: what stays as it is. ``hold``, ``keep``: minutes until it fires, and for which it goes on.
    ``neighbour``: the label by which somebody else differs, who is always well.
    """

    alert: str
    severity: str
    metric: str
    good: float | None
    bad: float | None
    hold: float
    labels: dict[str, str] = field(default_factory=dict)
    who: dict[str, str] = field(default_factory=lambda: GPU)
    steady: tuple[tuple[str, dict[str, str], float], ...] = ()
    neighbour: str = "gpu"
    # More labels that the alert has.
    shown: tuple[str, ...] = ()
    # Whether it can be bad from the first sample on.
    at_once: bool = True
    keep: float = 0
    site: str = "extended"
    gap: float = GAP

    def cases(self) -> Iterator[Case]:
        good, bad, hold, gap = self.good, self.bad, self.hold, self.gap
        fires = ({**self.who, **{name: self.labels[name] for name in self.shown}},)
        # What is not scraped any more is seen for 5 minutes here, where nothing says that it is gone.
        late = QUIET + hold + (5 if bad is None else 0)
        yield self._case("does not fire while it is well", [(good, late + 10)], {5: (), late + 5: ()})
        yield self._case(
            "fires after its time", [(good, QUIET), (bad, late)], {late - 0.5: (), late + 1: fires, late + 15: fires}
        )
        over = late + 17 + self.keep
        yield self._case("recovers", [(good, QUIET), (bad, late - 10), (good, 60)], {late + 9: fires, over: ()})
        yield self._case(
            "is told again after a restart of Prometheus",
            [(good, QUIET), (bad, late - 10), (None, gap), (bad, hold + 20)],
            {late + 9: fires, late + 10 + gap + hold + 2: fires},
            gap=(late + 10, gap),
        )
        yield self._case(
            "is not told by a restart of Prometheus",
            [(good, QUIET), (None, gap), (good, hold + 20)],
            {QUIET + gap + 1: (), QUIET + gap + hold + 2: ()},
            gap=(QUIET, gap),
        )
        if self.at_once:
            yield self._case("fires where it was never well", [(bad, hold + 10)], {hold + 2: fires})

    def _case(
        self,
        words: str,
        parts: list[Part],
        looks: dict[float, tuple[dict[str, str], ...]],
        gap: tuple[float, float] | None = None,
    ) -> Case:
        length = sum(minutes for _, minutes in parts)
        labels = {**_BOARD, **self.labels, **self.who}
        series = [Series(self.metric, labels, tuple(parts))]
        if self.neighbour:
            other = {**labels, self.neighbour: "dgx-02" if self.neighbour == "host" else "4"}
            series.append(Series(self.metric, other, _steady(self.good, length, gap)))
        series += [
            Series(name, {**_BOARD, **self.who, **more}, _steady(value, length, gap))
            for name, more, value in self.steady
        ]
        beside = f" (beside {self.steady[0][0]})" if self.steady else ""
        return Case(self.alert, words + beside, tuple(series), looks, self.severity, self.site)


def _steady(value: float | None, length: float, gap: tuple[float, float] | None) -> tuple[Part, ...]:
    if gap is None:
        return ((value, length),)
    return ((value, gap[0]), (None, gap[1]), (value, length - sum(gap)))


@dataclass(frozen=True)
class Event:
    """
    What happens: a counter that rises. ``sparse``: it is there only from its first event on.

    ``alive``: a metric of the same page that is 1 while it is read.
    """

    alert: str
    severity: str
    metric: str
    labels: dict[str, str] = field(default_factory=dict)
    who: dict[str, str] = field(default_factory=lambda: GPU)
    shown: tuple[str, ...] = ()
    sparse: bool = False
    alive: tuple[str, dict[str, str]] = ("up", EXPORTER)
    keep: float = 0
    rise: float = 1
    # Where a rise within a restart cannot be told.
    gap_tells: bool = True
    rate: bool = False
    # Whether another alert has the same expression with all cases.
    brief: bool = False
    site: str = "extended"

    def cases(self) -> Iterator[Case]:
        one, fires = self.rise, ({**self.who, **{name: self.labels[name] for name in self.shown}},)
        none: float | None = None if self.sparse else 0
        over = QUIET + WINDOW + self.keep + 2
        told = {QUIET + 1: fires, QUIET + WINDOW - 1: fires, over: ()}
        after = QUIET + GAP
        yield self._case("does not fire by an old count", [(3 * one, 40)], {3: (), 30: ()})
        yield self._case("fires at the first event, and recovers", [(none, QUIET), (one, 60)], {QUIET - 1: (), **told})
        if self.brief:
            return
        yield self._case("fires at a further event, and recovers", [(one, QUIET), (2 * one, 60)], told)
        # What is compared as a rate tells nothing until the window has passed after a reset.
        if not self.rate:
            yield self._case("fires when a count rises that was reset", [(5 * one, 12), (none, 8), (one, 60)], told)
        yield self._case(
            "is not told by a restart of Prometheus",
            [(3 * one, QUIET), (None, GAP), (3 * one, 60)],
            {after + 1: (), after + 12: ()},
        )
        seen = fires if self.gap_tells else ()
        yield self._case(
            "tells after a restart of Prometheus what happened meanwhile",
            [(one, QUIET), (None, GAP), (2 * one, 80)],
            {after + 1: seen, after + WINDOW + self.keep + 2: ()},
        )
        if self.sparse:
            words = "fires when a count begins anew at the same value"
            yield self._case(words, [(one, 4), (None, QUIET - 4), (one, 60)], told)

    def _case(self, words: str, parts: list[Part], looks: dict[float, tuple[dict[str, str], ...]]) -> Case:
        length = sum(minutes for _, minutes in parts)
        # A restart is a gap of everything; a counter that is not there is one of the counter only.
        restart = next(((QUIET, GAP) for value, minutes in parts if value is None and minutes == GAP), None)
        labels = {**_BOARD, **self.labels, **self.who}
        name, more = self.alive
        words += " (there from its first event on)" if self.sparse else ""
        series = (
            Series(self.metric, labels, tuple(parts)),
            Series(name, {**_MORE, **{key: self.who[key] for key in NODE}, **more}, _steady(1, length, restart)),
        )
        return Case(self.alert, words, series, looks, self.severity, self.site)
