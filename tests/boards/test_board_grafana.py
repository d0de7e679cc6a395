"""
Grafana's own libraries check the dashboards' types, and say how they arrange and print what Prometheus answers.

``./setup.sh test --long`` runs it: npm installs 200 packages, by their checksums. No Grafana server is involved.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import board_server
import pytest
from board_files import Json, boards, panels, strings
from board_rules import LINES
from board_server import filled
from test_board_queries import NOWHERE, SMALL, Values

if not os.environ.get("SUPERPOD_TEST_LONG"):
    pytest.skip("./setup.sh test --long runs it", allow_module_level=True)

PROGRAMS = Path(__file__).with_name("grafana")
VALUES = SMALL["both"][0]
# Type of a panel: module of @grafana/schema that has its options.
OPTIONS = {
    **{"timeseries": "timeseries/panelcfg/x/TimeSeries", "stat": "stat/panelcfg/x/Stat"},
    **{"table": "table/panelcfg/x/Table", "heatmap": "heatmap/panelcfg/x/Heatmap"},
    **{"state-timeline": "statetimeline/panelcfg/x/StateTimeline", "bargauge": "bargauge/panelcfg/x/BarGauge"},
    "text": "text/panelcfg/x/Text",
}
# Words stand for enumerations in JSON.
PLAIN = (
    "type Plain<T> = T extends string ? `${T}` : T extends (infer U)[] ? Plain<U>[] "
    ": T extends object ? { [K in keyof T]: Plain<T[K]> } : T;"
)
TSCONFIG = {
    **{"strict": True, "noEmit": True, "skipLibCheck": True, "module": "esnext", "moduleResolution": "bundler"},
    **{"target": "es2022", "types": []},
}
# How values are printed: unit, decimals, value, text.
SAMPLES: list[tuple[str, int | None, float, str]] = [
    ("bytes", None, 1073741824, "1 GiB"),
    ("bytes", None, 41472 * 1048576, "40.5 GiB"),
    ("percentunit", None, 0.97, "97%"),
    ("percentunit", None, 0.004, "0.400%"),
    ("watt", None, 700, "700 W"),
    ("watt", None, 12e6, "12 MW"),
    ("kwatth", None, 2500, "2.50 MWh"),
    ("celsius", None, 83, "83 °C"),
    ("hertz", None, 1.98e9, "1.98 GHz"),
    ("Bps", None, 45e9, "45 GB/s"),
    ("s", None, 0.4, "400 ms"),
    ("locale", None, 1994, "1,994"),
    ("short", 1, 123456, "123.5 K"),
    ("none", None, 1, "1"),
]


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with our programs and npm's packages."""
    if not shutil.which("npm"):
        pytest.fail("there is no npm: install Node.js 20 or later (Debian's package npm)", pytrace=False)
    folder = Path(shutil.copytree(PROGRAMS, tmp_path_factory.mktemp("npm") / "grafana"))
    run(folder, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    return folder


def run(folder: Path, *command: str, text: str = "", fails: bool = False) -> str:
    answer = subprocess.run(command, cwd=folder, input=text, capture_output=True, text=True, timeout=600)
    assert fails or answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def answers(panel: Json, server: board_server.Server, values: Values) -> dict[str, Any]:
    """Return what Prometheus says to a panel's questions, by letter, as lists of times and values."""
    found = {}
    for target in panel["targets"]:
        rows = server.rows(filled(target["expr"], values), instant=panel["type"] not in LINES)
        found[target["refId"]] = [{"metric": r["metric"], "values": r.get("values") or [r["value"]]} for r in rows]
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[board_server.Server]:
    with board_server.running("3", board_server.make(tmp_path_factory.mktemp("boards"))) as found:
        yield found


class Arranged:
    """What @grafana/data makes of all panels."""

    def __init__(self, modules: Path, server: board_server.Server, found: dict[str, Json], values: Values) -> None:
        self.keys = [(file, panel) for file, board in found.items() for panel in panels(board) if "targets" in panel]
        asked = [{"panel": panel, "answers": answers(panel, server, values)} for _, panel in self.keys]
        samples = [{"unit": unit, "decimals": decimals, "value": value} for unit, decimals, value, _ in SAMPLES]
        question = {"units": sorted(used_units(found)), "samples": samples, "panels": asked}
        self.said = json.loads(run(modules, "node", "arrange.cjs", text=json.dumps(question)))
        self.asked = asked

    def of(self, file: str, title: str, kind: str) -> Json:
        (found,) = (
            self.said["panels"][index]
            for index, (name, panel) in enumerate(self.keys)
            if (name, panel["title"], panel["type"]) == (f"superpod-{file}.json", title, kind)
        )
        return dict(found)

    def number(self, file: str, title: str) -> str:
        (value,) = self.of(file, title, "stat")["values"]
        return str(value["text"])

    def column(self, file: str, table: str, title: str, part: str = "texts") -> list[str]:
        (frame,) = self.of(file, table, "table")["frames"]
        (found,) = (field[part] for field in frame if field["name"] == title)
        return list(found)


def used_units(found: dict[str, Json]) -> set[str]:
    units = {""}
    for panel in (panel for board in found.values() for panel in panels(board) if "fieldConfig" in panel):
        units |= {panel["fieldConfig"]["defaults"].get("unit", ""), panel["options"].get("yAxis", {}).get("unit", "")}
        rules = panel["fieldConfig"]["overrides"]
        units |= {prop["value"] for rule in rules for prop in rule["properties"] if prop["id"] == "unit"}
    return units - {""}


@pytest.fixture(scope="module")
def arranged(modules: Path, server: board_server.Server) -> Arranged:
    return Arranged(modules, server, boards(), VALUES)


def typescript(found: dict[str, Json]) -> str:
    """Return the dashboards as TypeScript that is right if all values have the types of Grafana's schema."""
    lines = ["import type { Dashboard, Panel, RowPanel } from '@grafana/schema';", PLAIN]
    for index, module in enumerate(OPTIONS.values()):
        place = f"@grafana/schema/dist/esm/raw/composable/{module}PanelCfg_types.gen"
        lines.append(f"import type * as p{index} from '{place}';")
    for board in found.values():
        # What the Prometheus data source adds to marks, of which the schema knows nothing.
        for marked in board["annotations"]["list"]:
            marked["target"].pop("expr")
            for key in ("tagKeys", "textFormat", "titleFormat"):
                marked.pop(key)
        lines.append(f"({json.dumps({**board, 'panels': []})}) satisfies Plain<Dashboard>;")
        for panel in (inside for one in board["panels"] for inside in (one, *one.get("panels", ()))):
            lines += _panel(panel)
    return "\n".join(lines)


def _panel(panel: Json) -> list[str]:
    if panel["type"] == "row":
        return [f"({json.dumps({**panel, 'panels': []})}) satisfies Plain<RowPanel>;"]
    module = f"p{[*OPTIONS].index(panel['type'])}"
    custom = panel.get("fieldConfig", {}).get("defaults", {}).get("custom")
    found = [f"({json.dumps(panel)}) satisfies Plain<Panel>;"]
    found.append(f"({json.dumps(panel['options'])}) satisfies Plain<{module}.Options>;")
    return [*found, f"({json.dumps(custom)}) satisfies Plain<{module}.FieldConfig>;"] if custom is not None else found


def wrong_types(modules: Path, found: dict[str, Json]) -> list[str]:
    (modules / "boards.ts").write_text(typescript(found))
    (modules / "tsconfig.json").write_text(json.dumps({"compilerOptions": TSCONFIG, "files": ["boards.ts"]}))
    output = run(modules, "npx", "--no-install", "tsc", "--project", ".", fails=True)
    return [line for line in output.splitlines() if not line.startswith(" ")]


def test_all_values_have_the_types_of_grafanas_schema(modules: Path) -> None:
    assert wrong_types(modules, boards()) == []


def first(found: dict[str, Json], kind: str) -> Json:
    return next(panel for board in found.values() for panel in panels(board) if panel["type"] == kind)


TYPES: dict[str, Callable[[dict[str, Json]], object]] = {
    "a word for a number": lambda found: first(found, "stat")["gridPos"].update(h="4"),
    "a number for a word": lambda found: first(found, "stat").update(title=4),
    "a word that is none of those": lambda found: first(found, "timeseries")["options"]["legend"].update(
        displayMode="tables"
    ),
    "a style that there is not": lambda found: first(found, "timeseries")["fieldConfig"]["defaults"]["custom"].update(
        drawStyle="curve"
    ),
    "a colour that is a number": lambda found: first(found, "stat")["fieldConfig"]["defaults"]["thresholds"]["steps"][
        0
    ].update(color=3),
    "a key that there is not": lambda found: first(found, "table")["options"].update(footerr={}),
    "a wrong refresh of a variable": lambda found: found["superpod-node.json"]["templating"]["list"][1].update(
        refresh=7
    ),
}


@pytest.mark.parametrize("breaks", TYPES.values(), ids=TYPES.keys())
def test_a_wrong_type_is_found(modules: Path, breaks: Callable[[dict[str, Json]], object]) -> None:
    found = boards()
    breaks(found)
    assert len(wrong_types(modules, found)) >= 1


def test_grafana_knows_all_units(arranged: Arranged) -> None:
    assert arranged.said["unknown"] == []


def test_units_print_what_people_read(arranged: Arranged) -> None:
    assert arranged.said["texts"] == [text for *_, text in SAMPLES]


def test_a_unit_that_grafana_does_not_know_is_found(modules: Path, server: board_server.Server) -> None:
    found = {"superpod-node.json": boards()["superpod-node.json"]}
    first(found, "stat")["fieldConfig"]["defaults"]["unit"] = "MHz"
    assert Arranged(modules, server, found, VALUES).said["unknown"] == ["MHz"]


# Dashboard, title of a number: what is printed of the node with a job on two of four GPUs.
NUMBERS = {
    **{("node", "GPUs"): "4", ("node", "Utilization"): "20%", ("node", "Memory in use"): "12.7%"},
    **{("node", "Power"): "630 W", ("node", "Hottest GPU"): "45 °C", ("node", "dcgm-exporter"): "answers"},
    **{("job", "Utilization"): "40%", ("job", "GPU hours"): "1.2"},
    **{("job", "Most memory"): "40.5 GiB", ("job", "Unused GPUs"): "1", ("job", "Coverage"): "97.1%"},
    **{("fleet", "Held by jobs"): "49.0%", ("cluster", "Power"): "1.35 kW", ("health", "Critical"): "1"},
}


@pytest.mark.parametrize(("where", "text"), NUMBERS.items(), ids=[" ".join(where) for where in NUMBERS])
def test_numbers_are_printed_as_people_read_them(arranged: Arranged, where: tuple[str, str], text: str) -> None:
    assert arranged.number(*where) == text


def odd_tables(found: Arranged) -> list[str]:
    """Return the tables that show more than their columns, or several rows of one thing."""
    sentences = []
    for (file, panel), said, asked in zip(found.keys, found.said["panels"], found.asked, strict=True):
        if panel["type"] == "table":
            (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
            names = [field["name"] for frame in said["frames"] for field in frame]
            order = organize["indexByName"]
            wanted = [organize["renameByName"][name] for name in sorted(order, key=order.get)]
            # A label that nothing has is no column.
            if [name for name in wanted if name in names] != names:
                sentences.append(f"{file}: {panel['title']}: {names}")
            there = {tuple(sorted(row["metric"].items())) for rows in asked["answers"].values() for row in rows}
            rows = max((len(field["texts"]) for frame in said["frames"] for field in frame), default=0)
            if rows != len(there):
                sentences.append(f"{file}: {panel['title']} has {rows} rows of {len(there)}")
    return sentences


def test_tables_have_one_row_of_each_thing_and_named_columns(arranged: Arranged) -> None:
    assert odd_tables(arranged) == []


@pytest.mark.parametrize("old", ["merge", "organize"])
def test_a_table_that_is_not_arranged_is_found(modules: Path, server: board_server.Server, old: str) -> None:
    found = {"superpod-cluster.json": boards()["superpod-cluster.json"]}
    for one in first(found, "table")["transformations"]:
        one.update(disabled=one["id"] == old)
    assert len(odd_tables(Arranged(modules, server, found, VALUES))) >= 1


def test_cells_are_printed_and_lead_on(arranged: Arranged) -> None:
    assert arranged.column("node", "Jobs on this node", "Job") == ["101"]
    assert arranged.column("node", "Jobs on this node", "Utilization") == ["40.0%"]
    assert arranged.column("node", "Jobs on this node", "Memory") == ["40.5 GiB"]
    (link,) = arranged.column("node", "Jobs on this node", "Job", "links")
    assert link.startswith("/d/superpod-job?var-cluster=both&var-job=101&var-datasource=")
    assert arranged.column("health", "GPUs with most XIDs", "XID") == ["79: the node has to be rebooted"]
    assert arranged.column("health", "Health by DCGM's own watches", "Health")[0] == "warning"


def test_no_link_of_a_cell_misses_what_it_needs(arranged: Arranged) -> None:
    assert [text for text in strings(arranged.said["panels"]) if "MISSING" in text] == []


def test_what_is_not_there_is_called_so(modules: Path, server: board_server.Server) -> None:
    found = {"superpod-job.json": boards()["superpod-job.json"]}
    said = Arranged(modules, server, found, NOWHERE)
    assert {said.number("job", title) for title in ("Utilization", "Energy", "Most GPUs")} == {"not reported"}
