"""Panels of lines, numbers, bars and words; tables are in ``tables``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import bargauge, common, heatmap, prometheus, stat, statetimeline, text, timeseries
from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as m
from grafana_foundation_sdk.models import heatmap as hm
from grafana_foundation_sdk.models import prometheus as pm
from grafana_foundation_sdk.models import text as tm

from dashboards.units import COUNT, WORD, Unit
from dashboards.variables import DATASOURCE
from dashboards.words import GOOD, QUIET

MISSING = "not reported"
# Of what is there only when something happened: nothing did, or nobody tells.
NONE = "none reported"
# Widths of a panel, of 24 columns.
WHOLE, HALF, THIRD, QUARTER, SIXTH, EIGHTH = 24, 12, 8, 6, 4, 3
TALL, _LOW = 8, 4
# Cells of a heat map from left to right: more are not seen, and cost.
_CELLS = 300
Panel = m.Panel


@dataclass(frozen=True)
class Query:
    """An expression, and what its rows are called."""

    expression: str
    legend: str = ""


def asked(queries: Iterable[Query], instant: bool = False, kind: str = "") -> list[prometheus.Dataquery]:
    """Return queries as a panel has them. ``kind`` is what the answer is turned into: a table, a heat map."""
    found = []
    for index, query in enumerate(queries):
        builder = prometheus.Dataquery().ref_id(chr(ord("A") + index)).expr(query.expression).datasource(DATASOURCE)
        builder = builder.instant() if instant else builder.range()
        if query.legend:
            builder = builder.legend_format(query.legend)
        found.append(builder.format(pm.PromQueryFormat(kind)) if kind else builder)
    return found


def steps(*bounds: tuple[float, str], first: str = GOOD) -> d.ThresholdsConfig:
    """Return colours: ``first`` from 0 on, and others from bounds on. What is missing has none."""
    all_bounds = ((None, QUIET), (0, first), *bounds)
    found = [m.Threshold(value=value, color=name) for value, name in all_bounds]
    return d.ThresholdsConfig().mode(m.ThresholdsMode.ABSOLUTE).steps(found)


PLAIN = steps()


def basic(builder: Any, title: str, about: str, unit: Unit, width: int, height: int) -> Any:
    """Give a panel what all have: where it stands, the unit, and what is shown where there is no value."""
    builder = builder.title(title).datasource(DATASOURCE).unit(unit.id).no_value(MISSING).span(width).height(height)
    builder = builder.description(about) if about else builder
    builder = builder.min(unit.least) if unit.least is not None else builder
    builder = builder.max(unit.most) if unit.most is not None else builder
    return builder.decimals(unit.decimals) if unit.decimals is not None else builder


def legend(width: int, numbers: Sequence[str], queries: Sequence[Query] = ()) -> common.VizLegendOptions:
    """
    Return the names of lines: with numbers beside them, or without below them where there is little room.

    With numbers below them a third of the names is seen, unless there is one line only.
    """
    found = common.VizLegendOptions().show_legend(True).display_mode(cm.LegendDisplayMode.TABLE).calcs([*numbers])
    if len(queries) == 1 and "{{" not in queries[0].legend:
        return found.placement(cm.LegendPlacement.BOTTOM)
    if width < HALF:
        return found.placement(cm.LegendPlacement.BOTTOM).display_mode(cm.LegendDisplayMode.LIST).calcs([])
    return found.placement(cm.LegendPlacement.RIGHT)


def coloured(builder: Any, colours: dict[str, str] | None) -> Any:
    """Give lines of some names (regular expressions) colours that mean something."""
    for name, colour in (colours or {}).items():
        value = m.DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": colour})
        builder = builder.override_by_regexp(f"/^({name})$/", [value])
    return builder


def lines(
    title: str,
    unit: Unit,
    *queries: Query,
    about: str = "",
    width: int = HALF,
    stacked: bool = False,
    link: tuple[str, str] | None = None,
    colours: dict[str, str] | None = None,
    nothing: str = MISSING,
) -> Panel:
    """Return a panel of lines over time; ``nothing`` is shown where there are none."""
    builder = basic(timeseries.Panel(), title, about, unit, width, TALL).targets(asked(queries)).no_value(nothing)
    builder = coloured(builder.legend(legend(width, ["mean", "max", "lastNotNull"], queries)), colours)
    tip = common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING)
    builder = builder.tooltip(tip).line_width(1).show_points(cm.VisibilityMode.NEVER).fill_opacity(30 if stacked else 0)
    # A gap is one: nothing is drawn over it.
    builder = builder.span_nulls(False)
    if stacked:
        builder = builder.line_interpolation(cm.LineInterpolation.STEP_AFTER).stacking(
            common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A")
        )
    if link:
        builder = builder.data_links([d.DashboardLink(link[0]).url(link[1])])
    return built(builder)


def columns(
    title: str,
    unit: Unit,
    *queries: Query,
    every: str,
    about: str = "",
    width: int = HALF,
    colours: dict[str, str] | None = None,
) -> Panel:
    """Return a panel of stacked columns, one for each time of the length ``every`` (or longer where many are shown)."""
    builder = basic(timeseries.Panel(), title, about, unit, width, TALL).targets(asked(queries)).interval(every)
    builder = coloured(builder.legend(legend(width, ["sum"], queries)), colours)
    tip = common.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.NONE)
    builder = builder.tooltip(tip).draw_style(cm.GraphDrawStyle.BARS).fill_opacity(80).line_width(0)
    return built(builder.stacking(common.StackingConfig().mode(cm.StackingMode.NORMAL).group("A")))


def number(
    title: str,
    unit: Unit,
    *queries: Query,
    about: str = "",
    width: int = EIGHTH,
    colours: d.ThresholdsConfig = PLAIN,
    mapping: m.ValueMap | None = None,
) -> Panel:
    """Return a panel with one number, or a few with names, of the end of the time."""
    builder = basic(stat.Panel(), title, about, unit, width, _LOW).targets(asked(queries, instant=True))
    builder = builder.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    builder = builder.graph_mode(cm.BigValueGraphMode.NONE).thresholds(colours)
    means = colours is not PLAIN or mapping is not None
    builder = builder.color_mode(cm.BigValueColorMode.VALUE if means else cm.BigValueColorMode.NONE)
    return built(builder.mappings([mapping]) if mapping else builder)


def bars(
    title: str,
    unit: Unit,
    *queries: Query,
    about: str = "",
    width: int = THIRD,
    colours: d.ThresholdsConfig = PLAIN,
    names: dict[str, str] | None = None,
) -> Panel:
    """Return a panel with one bar for each row, of the end of the time."""
    builder = basic(bargauge.Panel(), title, about, unit, width, TALL).targets(asked(queries, instant=True))
    builder = builder.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    builder = builder.orientation(cm.VizOrientation.HORIZONTAL).display_mode(cm.BarGaugeDisplayMode.BASIC)
    # By itself, Grafana makes them as large as they fit, and cuts the names.
    builder = builder.text(common.VizTextDisplayOptions().title_size(14).value_size(18))
    return built(coloured(builder.thresholds(colours), names))


def heat(title: str, unit: Unit, expression: str, about: str = "", width: int = HALF) -> Panel:
    """Return a heat map of buckets over time; ``unit`` is that of their bounds, and GPUs are counted in them."""
    builder = basic(heatmap.Panel(), title, about, unit, width, TALL).max_data_points(_CELLS)
    builder = builder.targets(asked([Query(expression, "{{le}}")], kind="heatmap")).calculate(False)
    scheme = heatmap.HeatmapColorOptions().mode(hm.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    tip = heatmap.HeatmapTooltip().mode(cm.TooltipDisplayMode.SINGLE).y_histogram(True)
    builder = builder.color(scheme.scale(hm.HeatmapColorScale.EXPONENTIAL).exponent(0.5)).tooltip(tip)
    builder = builder.cell_values(heatmap.CellValues().unit(COUNT.id)).y_axis(heatmap.YAxisConfig().unit(unit.id))
    return built(builder.filter_values(heatmap.FilterValueRange().le(0)).show_legend().cell_gap(1))


def timeline(
    title: str, *queries: Query, mapping: m.ValueMap, about: str = "", width: int = HALF, nothing: str = MISSING
) -> Panel:
    """Return a panel of states over time: numbers that stand for words."""
    builder = basic(statetimeline.Panel(), title, about, WORD, width, TALL).targets(asked(queries)).no_value(nothing)
    builder = builder.mappings([mapping]).merge_values(True).show_value(cm.VisibilityMode.AUTO).row_height(0.8)
    return built(builder.legend(legend(THIRD, [])).thresholds(PLAIN))


def words(markdown: str, height: int = 2, width: int = WHOLE) -> Panel:
    """Return a panel of text."""
    builder = text.Panel().title("").transparent(True).mode(tm.TextMode.MARKDOWN).content(markdown)
    return built(builder.span(width).height(height))


def built(builder: Any) -> Panel:
    """Return the panel of a builder."""
    found: Panel = builder.build()
    return found


def numbers(*panels: Panel) -> Sequence[Panel]:
    """Give a row of numbers the widths that fill it."""
    for index, panel in enumerate(panels):
        left, right = (WHOLE * part // len(panels) for part in (index, index + 1))
        assert panel.grid_pos is not None
        panel.grid_pos.w = right - left
    return panels
