"""What an alert is made of, and expressions that several share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from superpod_dcgm.monitoring.alert_site import LONG_MEMORY, MEMORY, NODE, WINDOW, Site

SEVERITIES = ("critical", "warning", "info")
# What an alert is about, at the beginning of its description.
OF_GPU = 'GPU {{ or $labels.gpu "of unknown number" }} of {{ $labels.host }} ({{ $labels.cluster }})'
OF_NODE = "{{ $labels.host }} ({{ $labels.cluster }})"


@dataclass(frozen=True)
class Alert:
    """
    One alert. ``expression`` raises ``Missing`` where the site has nothing to read.

    ``hold``: how long it must be so before it fires (``for``); ``keep``: how long it goes on firing after that, for
    those that take the rows away with which they are seen.
    """

    name: str
    severity: str
    expression: Callable[[Site], str]
    summary: str
    description: str
    hold: str = ""
    keep: str = ""


def rose(now: str, then: str, before: str) -> str:
    """
    Return what rose within the window, of a counter that is there from the start.

    ``before`` is used where Prometheus has nothing of that time (a restart): neither a rise in the gap is lost, nor
    does an old value look like a new one. A counter that was reset and is not 0 counts as risen.

    :param now: the counter, by the labels that count.
    :param then: the same, the window ago.
    :param before: the same, at its last value before that.
    """
    return f"({now} != ({then} or {before})) > 0"


def gpu_rose(site: Site, key: str) -> str:
    """
    Return the GPUs on which a counter rose. It is compared by GPU: with ``hpc_job`` each job begins a new series.

    :raises Missing: no page of the site has it.
    """
    old = site.row(key, form=f"last_over_time({{}}[{MEMORY}] offset {WINDOW})")
    return rose(site.row(key), site.row(key, form=f"{{}} offset {WINDOW}"), old)


def gpu_growth(site: Site, key: str) -> str:
    """
    Return by how much a counter grew within the window, by GPU; below 0 where it was reset.

    :raises Missing: no page of the site has it.
    """
    return f"({site.row(key)} - {site.row(key, form=f'{{}} offset {WINDOW}')})"


def first_or_more(selector: str, by: str, alive: str, parts: str = "") -> str:
    """
    Return what rose within the window, of a counter that is there from its first event on, with a value above 0.

    ``increase`` would miss that event: there is no sample before it. What is old when Prometheus sees a node for the
    first time is no event.

    :param alive: is there as long as the node is known, and 1 while the page is read: a counter that was not there then
        has begun anew since.
    :param parts: further labels by which one of ``by`` has several counters, all of which count.
    """

    def total(rows: str) -> str:
        return f"sum by ({by}) (max by ({by}, {parts}) ({rows}))" if parts else f"max by ({by}) ({rows})"

    now, then = total(selector), total(f"{selector} offset {WINDOW}")
    before = total(f"last_over_time({selector}[{LONG_MEMORY}] offset {WINDOW})")
    known = f"last_over_time({alive}[{LONG_MEMORY}] offset {WINDOW})"
    return (
        f"({rose(now, then, before)} or (({now} > 0 unless {before}) and on ({NODE}) {known}) "
        f"or (({now} > 0 unless {then}) and on ({NODE}) ({alive} offset {WINDOW} == 1)))"
    )
