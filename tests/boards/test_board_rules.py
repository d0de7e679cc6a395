"""The dashboards keep our own rules, and each rule finds what breaks it."""

from __future__ import annotations

from collections.abc import Callable

import board_rules as rules
import pytest
from board_files import Json, boards, panels, variables

Break = Callable[[dict[str, Json]], object]


@pytest.mark.parametrize("rule", rules.RULES, ids=[rule.__name__ for rule in rules.RULES])
def test_the_dashboards_keep_the_rule(rule: Callable[[dict[str, Json]], list[str]]) -> None:
    assert rule(boards()) == []


def panel(found: dict[str, Json], kind: str) -> Json:
    return next(one for board in found.values() for one in panels(board) if one["type"] == kind)


def asking(expression: str, kind: str = "timeseries") -> Break:
    """Return what has the first panel of a kind ask something else."""
    return lambda found: panel(found, kind)["targets"][0].update(expr=expression)


def first(found: dict[str, Json]) -> Json:
    return next(iter(found.values()))


def linked(found: dict[str, Json], text: str) -> None:
    panel(found, "timeseries")["fieldConfig"]["defaults"]["links"] = [{"title": "x", "url": text}]


GOOD = 'cluster:power_watts:sum{cluster=~"$cluster"}'
TIME = "&${__url_time_range}"
BROKEN: dict[str, tuple[Callable[[dict[str, Json]], list[str]], Break]] = {
    "a uid that is there twice": (rules.identities, lambda found: first(found).update(uid="superpod-node")),
    "a title that is there twice": (rules.identities, lambda found: first(found).update(title="SuperPOD Node")),
    "a uid that is no name": (rules.identities, lambda found: first(found).update(uid="a b")),
    "a number of the server": (rules.identities, lambda found: first(found).update(id=7)),
    "another time zone": (rules.commonplaces, lambda found: first(found).update(timezone="utc")),
    "ten seconds": (rules.commonplaces, lambda found: first(found).update(refresh="10s")),
    "links without time": (rules.commonplaces, lambda found: first(found)["links"][0].update(keepTime=False)),
    "links in a menu": (rules.commonplaces, lambda found: first(found)["links"][0].update(placement="inControlsMenu")),
    "the same number twice": (rules.places, lambda found: first(found)["panels"][1].update(id=1)),
    "no number": (rules.places, lambda found: panel(found, "table").pop("id")),
    "no title": (rules.places, lambda found: panel(found, "table").update(title="")),
    "on one another": (rules.places, lambda found: first(found)["panels"][1]["gridPos"].update(x=0)),
    "too wide": (rules.places, lambda found: panel(found, "table")["gridPos"].update(x=20, w=8)),
    "a data source by name": (
        rules.data_sources,
        lambda found: panel(found, "stat")["targets"][0].update(datasource={"type": "prometheus", "uid": "p1"}),
    ),
    "a variable's data source": (
        rules.data_sources,
        lambda found: variables(first(found))["cluster"].update(datasource=None),
    ),
    "no choice of data source": (rules.data_sources, lambda found: first(found)["templating"]["list"].pop(0)),
    "nothing for no value": (
        rules.no_values,
        lambda found: panel(found, "stat")["fieldConfig"]["defaults"].pop("noValue"),
    ),
    "0 for no value": (
        rules.no_values,
        lambda found: panel(found, "stat")["fieldConfig"]["defaults"].update(noValue="0"),
    ),
    "a letter that is there twice": (
        rules.questions,
        lambda found: panel(found, "table")["targets"][1].update(refId="A"),
    ),
    "a table of a range": (
        rules.questions,
        lambda found: panel(found, "table")["targets"][0].update(instant=False, range=True),
    ),
    "nothing asked": (rules.questions, lambda found: panel(found, "stat").update(targets=[])),
    "no unit": (
        rules.fitting_units,
        lambda found: panel(found, "timeseries")["fieldConfig"]["defaults"].pop("unit"),
    ),
    "bytes in decimal units": (
        rules.fitting_units,
        lambda found: [
            one["fieldConfig"]["defaults"].update(unit="decbytes")
            for one in panels(found["superpod-cluster.json"])
            if one["title"] == "Memory in use"
        ],
    ),
    "a ratio as per cent of a hundred": (
        rules.fitting_units,
        lambda found: panel(found, "stat")["fieldConfig"]["defaults"].update(unit="percent"),
    ),
    "joules as kilowatt-hours": (
        rules.fitting_units,
        lambda found: [
            one["targets"][0].update(expr=one["targets"][0]["expr"].replace(" / 3.6e6", ""))
            for one in panels(found["superpod-job.json"])
            if one["title"] == "Energy"
        ],
    ),
    "watts as GPUs": (rules.fitting_units, asking(GOOD)),
    "a column without a unit": (
        rules.fitting_units,
        lambda found: [
            one["properties"].clear()
            for one in panel(found, "table")["fieldConfig"]["overrides"]
            if one["matcher"]["options"] == "Power"
        ],
    ),
    "a rate of a gauge": (rules.counters, asking('rate(DCGM_FI_PROF_PCIE_TX_BYTES{cluster=~"$cluster"}[5m])')),
    "a rate of a gauge that is called counter": (
        rules.counters,
        asking('sum(increase(DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL{cluster=~"$cluster"}[5m]))'),
    ),
    "a rate of a sum": (rules.counters, asking("rate(sum(x_total{})[5m:])")),
    "a name that nobody records": (rules.names, asking(GOOD.replace("power", "powers"))),
    "one schema only": (rules.names, asking('max(DCGM_FI_DEV_FB_USED{job="dcgm-exporter",cluster=~"$cluster"})')),
    "exporters of others": (
        rules.names,
        asking('max(DCGM_EXP_CLOCK_EVENTS_COUNT{cluster=~"$cluster",clock_event="hw_thermal"})'),
    ),
    "all clusters": (rules.names, asking("sum(cluster:power_watts:sum)")),
    "the clusters of others": (rules.names, asking('cluster:power_watts:sum{host="x"}')),
    "a label that nothing has": (rules.names, asking(GOOD.replace("}", ',Hostname="x"}'))),
    "topk of a range": (rules.rankings, asking(f"topk(20, {GOOD})")),
    "a variable that is not there": (rules.choices, asking(GOOD.replace("$cluster", "$clusters"))),
    "a variable that nobody uses": (
        rules.choices,
        lambda found: first(found)["templating"]["list"].append({"name": "x", "type": "custom"}),
    ),
    "several values behind =": (rules.choices, asking(GOOD.replace("=~", "="))),
    "one value behind =~": (
        rules.choices,
        lambda found: panel({"": found["superpod-node.json"]}, "stat")["targets"][0].update(expr=GOOD),
    ),
    "all jobs at first": (
        rules.choices,
        lambda found: variables(found["superpod-job.json"])["job"].update(query=".*"),
    ),
    "a link that leads nowhere": (
        rules.links,
        lambda found: linked(found, f"/d/x?var-datasource=${{datasource}}{TIME}"),
    ),
    "a link to a variable that is not there": (
        rules.links,
        lambda found: linked(found, f"/d/superpod-node?var-node=x&var-datasource=${{datasource}}{TIME}"),
    ),
    "a link without time": (rules.links, lambda found: linked(found, "/d/superpod-node?var-datasource=${datasource}")),
    "a link to another server": (rules.links, lambda found: linked(found, "https://grafana/d/superpod-node")),
    "a column without a name": (
        rules.cells,
        lambda found: panel(found, "table")["transformations"][1]["options"]["renameByName"].pop("Value #A"),
    ),
    "a column that is not there": (
        rules.cells,
        lambda found: panel(found, "table")["fieldConfig"]["overrides"][0]["matcher"].update(options="x"),
    ),
    "sorted by what is not there": (
        rules.cells,
        lambda found: panel(found, "table")["options"]["sortBy"][0].update(displayName="x"),
    ),
    "a title that is cut": (rules.seen, lambda found: panel(found, "stat").update(title="Nodes without an answer")),
    "a good colour for what is missing": (
        rules.seen,
        lambda found: panel(found, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"].pop(0),
    ),
    "a job that is a number": (
        rules.seen,
        lambda found: panel(found, "table")["fieldConfig"]["overrides"][0]["properties"].pop(0),
    ),
    "a legend below": (
        rules.seen,
        lambda found: panel(found, "timeseries")["options"]["legend"].update(placement="bottom", displayMode="table"),
    ),
    "an answer that is no table": (rules.cells, lambda found: panel(found, "table")["targets"][0].pop("format")),
}


@pytest.mark.parametrize(("rule", "breaks"), BROKEN.values(), ids=BROKEN.keys())
def test_the_rule_finds_what_breaks_it(rule: Callable[[dict[str, Json]], list[str]], breaks: Break) -> None:
    found = boards()
    breaks(found)
    assert rule(found) != []


def test_each_rule_has_something_that_breaks_it() -> None:
    assert {rule for rule, _ in BROKEN.values()} == {*rules.RULES}
