"""Tables: a row for each node, job or user, and what is known of it, each column by a question of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import common, table
from grafana_foundation_sdk.models import common as cm
from grafana_foundation_sdk.models import dashboard as m

from dashboards import links, parts
from dashboards.units import AGO, NAME, RATIO, Unit
from dashboards.words import QUIET

_TITLES = {
    **{"cluster": "Cluster", "host": "Node", "gpu": "GPU", "GPU_I_ID": "Instance", "hpc_job": "Job", "user": "User"},
    **{"account": "Account", "partition": "Partition", "alertname": "Alert", "severity": "Severity", "xid": "XID"},
    **{"release": "Release", "health_watch": "Watch", "clock_event": "Reason"},
}
# Columns share the width, but are no narrower; Grafana's own 150 would push those of numbers out of sight.
_NARROW = 70
_AGO = 140
_WIDTHS = {"alertname": 220, "gpu": 70, "GPU_I_ID": 80, "xid": 380}


@dataclass(frozen=True)
class Column:
    """A column of numbers. ``bar`` draws its values as bars; ``colours`` are bounds with the colour from there on."""

    title: str
    unit: Unit
    expression: str
    bar: bool = False
    colours: tuple[tuple[float, str], ...] = ()
    mapping: m.ValueMap | None = None


def table_of(
    title: str,
    labels: Sequence[str],
    *columns: Column,
    about: str = "",
    width: int = parts.WHOLE,
    height: int = parts.TALL,
    mappings: dict[str, m.ValueMap] | None = None,
    last: str = "",
    least_first: bool = False,
    nothing: str = parts.MISSING,
) -> parts.Panel:
    """
    Return a table.

    :param labels: those that tell what a row is of: its first columns.
    :param mappings: words for the values of labels.
    :param least_first: rows with the least in the first column of numbers come first, else those with most.
    :param nothing: what is shown where there is no row.
    :param last: the time that is shown, counted back from now, where it shall not be the dashboard's (``24h``).
    """
    # Grafana makes one row of answers with equal labels, the name of a metric among them.
    queries = [parts.Query(f"max by ({', '.join(labels)}) ({column.expression})") for column in columns]
    # Each column says its unit: one for all would print the job 48211 as "48.2 K", and an alert's name as "NaN".
    builder = parts.basic(table.Panel(), title, about, NAME, width, height).no_value(nothing).min_width(_NARROW)
    builder = builder.targets(parts.asked(queries, instant=True, kind="table"))
    builder = builder.transformations(_arranged(labels, columns)).show_header(True).cell_height(cm.TableCellHeight.SM)
    builder = builder.cell_options(cm.TableAutoCellOptions()).sort_by(
        [common.TableSortByFieldState().display_name(columns[0].title).desc(not least_first)]
    )
    for label in labels:
        builder = builder.override_by_name(_title(label), _of_label(label, mappings or {}))
    for column in columns:
        builder = builder.override_by_name(column.title, _of_column(column))
    return parts.built(builder.time_from(last) if last else builder)


def _title(label: str) -> str:
    return _TITLES.get(label, label)


def _arranged(labels: Sequence[str], columns: Sequence[Column]) -> list[m.DataTransformerConfig]:
    """Return what makes one table of the answers to several questions: columns in order, with names, without time."""
    # With one question alone Grafana does not number the column.
    names = [f"Value #{chr(ord('A') + index)}" for index in range(len(columns))] if len(columns) > 1 else ["Value"]
    order = {name: index for index, name in enumerate([*labels, *names])}
    titles = {label: _title(label) for label in labels}
    titles |= {name: column.title for name, column in zip(names, columns, strict=True)}
    return [
        m.DataTransformerConfig(id_val="merge", options={}),
        m.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": titles},
        ),
    ]


def _of_label(label: str, mappings: dict[str, m.ValueMap]) -> list[m.DynamicConfigValue]:
    # A node has no GPU's number: that is not what is missing.
    found = [m.DynamicConfigValue(id_val="unit", value=NAME.id), m.DynamicConfigValue(id_val="noValue", value="-")]
    if label in _WIDTHS:
        found.append(m.DynamicConfigValue(id_val="custom.width", value=_WIDTHS[label]))
    if label in links.OF_COLUMNS:
        text, url = links.OF_COLUMNS[label]
        found.append(m.DynamicConfigValue(id_val="links", value=[{"title": text, "url": url}]))
    if label in mappings:
        found.append(m.DynamicConfigValue(id_val="mappings", value=[mappings[label]]))
        found.append(m.DynamicConfigValue(id_val="custom.cellOptions", value=cm.TableColorTextCellOptions()))
    return found


def _of_column(column: Column) -> list[m.DynamicConfigValue]:
    unit, values = column.unit, dict[str, Any]()
    # Below one another, 0.0398% and 75% cannot be compared.
    decimals = 1 if unit == RATIO else unit.decimals
    values |= {"unit": unit.id, "decimals": decimals, "mappings": [column.mapping] if column.mapping else None}
    if column.bar:
        values |= {"min": unit.least, "max": unit.most, "thresholds": parts.steps(*column.colours).build()}
        values["custom.cellOptions"] = cm.TableBarGaugeCellOptions(mode=cm.BarGaugeDisplayMode.BASIC)
    elif column.colours:
        values["thresholds"] = parts.steps(*column.colours, first=QUIET).build()
    if unit == AGO:
        # "a few seconds ago"
        values["custom.width"] = _AGO
    if not column.bar and (column.colours or column.mapping):
        values["custom.cellOptions"] = cm.TableColorTextCellOptions()
    return [m.DynamicConfigValue(id_val=name, value=value) for name, value in values.items() if value is not None]
