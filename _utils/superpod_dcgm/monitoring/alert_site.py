"""What alerts know of a site: which rows there are to read, and the expressions that read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from superpod_dcgm.base import paths
from superpod_dcgm.monitoring import metric_names

GPU = "cluster, host, gpu"
INSTANCE = f"{GPU}, GPU_I_ID"
NODE = "cluster, host"
EXPORTER, OWN = paths.SCRAPE_JOBS[:2]
HEAD = "superpod-dcgm-head"
XID_COUNT, XID_TOTAL = "DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_XID_ERRORS_TOTAL"
# Of each node whose kernel log the agent reads: 1, or 0 where it cannot.
KERNEL_LOG = "superpod_dcgm_kernel_log_ok"
CLOCK_EVENTS = "DCGM_EXP_CLOCK_EVENTS_COUNT"
# How long something that happened is told, and how far back the last value before it is looked for.
WINDOW, MEMORY, LONG_MEMORY = "10m", "1h", "1d"
# The kinds of exporter:counters that are no file.
_DEFAULT, _EXTENDED = "default", "extended"
_OWN_METRICS = "this project's own metrics (metrics:enabled, slurm:enabled)"


class Missing(ValueError):
    """Nothing is there to read: its text says what, and which key brings it."""


@dataclass(frozen=True)
class Site:
    """
    A site as alerts see it.

    ``rows``: keys of ``metric_names``, and names of the exporter's own counters, that its pages have. ``own_metrics``:
    whether nodes give metrics of this project; ``users``: whether these say whose jobs hold GPUs.
    """

    configuration: Mapping[str, Any]
    rows: frozenset[str]
    own_metrics: bool
    users: bool

    @property
    def thresholds(self) -> Mapping[str, Any]:
        """The section ``alerts:thresholds``."""
        found: Mapping[str, Any] = self.configuration["alerts"]["thresholds"]
        return found

    def row(self, key: str, by: str = GPU, form: str = "{}", matchers: str = "") -> str:
        """
        Return a metric in base units, of either schema, one row for each of the labels ``by``.

        :raises Missing: no page of the site has it.
        """
        if key not in self.rows:
            # A counter of the exporter's own is called alike in both schemas.
            name = metric_names.METRICS[key].old if key in metric_names.METRICS else key
            raise Missing(f"the exporters do not show {name}: exporter:counters or exporter:counter_rows add it")
        if key in metric_names.METRICS:
            return f"max by ({by}) {metric_names.promql(key, matchers=matchers, form=form)}"
        return f"max by ({by}) ({form.format(metric_names.of_ours(key, matchers))})"

    def own(self, name: str, by: str = NODE, form: str = "{}") -> str:
        """
        Return a metric of this project, one row for each of the labels ``by``.

        :raises Missing: nodes do not give it.
        """
        if not self.own_metrics:
            raise Missing(f"nodes do not give {name.partition('{')[0]}: it is one of {_OWN_METRICS}")
        return f"max by ({by}) ({form.format(name)})"

    def head(self, name: str, by: str = NODE) -> str:
        """
        Return a metric of the watcher on the head, one row for each of the labels ``by``.

        :raises Missing: there is no watcher, or it writes no target files.
        """
        if not (self.configuration["watcher"]["enabled"] and self.configuration["targets"]["enabled"]):
            raise Missing(f"no watcher gives {name}: watcher:enabled or targets:enabled is false")
        return f"max by ({by}) ({name})"

    def not_freed(self) -> str:
        """Return what leaves nodes out whose GPUs are free for maintenance, to stand behind an expression."""
        return f" unless on ({NODE}) (superpod_dcgm_gpus_freed == 1)" if self.own_metrics else ""


def of(configuration: Mapping[str, Any]) -> Site:
    """Return what alerts know of a site with this configuration."""
    own = configuration["slurm"]["enabled"] and configuration["metrics"]["enabled"]
    return Site(configuration, shown(configuration), bool(own), bool(own and configuration["job_map"]["users"]))


def shown(configuration: Mapping[str, Any]) -> frozenset[str]:
    """
    Return which rows the exporters' pages have: keys of ``metric_names``, and names of the exporter's own counters.

    Of a counters file of the site's own it is known by ``own_names`` of the facts, where the master serves it, and by
    ``alerts:rows`` where it lies on the nodes.
    """
    exporter, alerts = configuration["exporter"], configuration["alerts"]
    if not exporter["enabled"]:
        return frozenset()
    facts = exporter["facts"]
    names = {row.partition(",")[0].strip() for row in facts["rows"]} | {*alerts["rows"], *facts.get("own_names", ())}
    keys = {name: key for key, one in metric_names.METRICS.items() for name in (one.old, one.new) if name}
    found = {keys.get(name, name) for name in names}
    if exporter["counters"] in (_DEFAULT, _EXTENDED):
        found |= _default(facts)
    return frozenset(found)


def _default(facts: Mapping[str, Any]) -> set[str]:
    """Return those of the release's own csv that alerts read; it has the profiling rows from 4.0 on."""
    found = {"gpu_temperature", "memory_temperature", "power", "gpu_utilization", "rows_remapped_uncorrectable"}
    return found | {"row_remap_failed"} | ({"prof_engine"} if facts["profiling_rows"] else set())
