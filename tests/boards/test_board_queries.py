"""A real Prometheus answers every question of the dashboards, for both metric schemas, and with the right numbers."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import board_server
import board_world as world
import pytest
from board_files import Json, boards, name, panels, targets, variables
from board_rules import LINES
from board_server import Refused, Server, filled

Values = Mapping[str, str | list[str]]
MOST = 50
ALL: Values = {"user": ".*", "account": ".*", "partition": ".*", "severity": ".*", "gpu": ".*", "datasource": "p"}
# One node with a job on two of four GPUs, and one of instances with two jobs on one of them.
SMALL: dict[str, list[Values]] = {
    cluster: [
        {**ALL, "cluster": cluster, "host": host, "job": job, "hosts": [host]}
        for host, job in (("n1", "101"), ("n3", "501"), ("n2", "401"))
    ]
    for cluster in ("one", "two", "both")
}
BIG: Values = {**ALL, "cluster": "big", "host": "mig", "job": "9000", "hosts": ["b00"]}
WIDE: Values = {**BIG, "hosts": [f"b{number:02}" for number in range(world.BIG_NODES)]}
EVERYWHERE: Values = {**SMALL["one"][0], "cluster": ".+"}
NOWHERE: Values = {**SMALL["one"][0], "job": "", "hosts": "()"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return board_server.make(tmp_path_factory.mktemp("boards"))


@pytest.fixture(scope="module", params=board_server.PLACES)
def server(request: pytest.FixtureRequest, data: Path) -> Iterator[Server]:
    with running(request.param, data, f"both-{request.param}") as found:
        yield found


@pytest.fixture(scope="module")
def newest(data: Path) -> Iterator[Server]:
    with running("3", data, "newest") as found:
        yield found


def running(major: str, data: Path, called: str) -> contextlib.AbstractContextManager[Server]:
    """Run Prometheus with a database of its own: two do not share one."""
    return board_server.running(major, Path(shutil.copytree(data, data.parent / called / "data")))


def rows(server: Server, panel: Json, target: Json, values: Values) -> list[dict[str, Any]]:
    return server.rows(filled(target["expr"], values), instant=panel["type"] not in LINES)


def refused(server: Server, found: dict[str, Json], values: Values) -> list[str]:
    """Return what Prometheus says of questions that it does not answer."""
    sentences = []
    for file, board in found.items():
        for panel, target in targets(board):
            try:
                rows(server, panel, target, values)
            except Refused as exc:
                sentences.append(f"{file}: {name(panel)} {target['refId']}: {exc}")
    return sentences


def empty(server: Server, found: dict[str, Json], every: list[Values]) -> list[str]:
    """Return the questions to which there is no answer with any of some values. Few users leave no others."""
    return [
        f"{file}: {name(panel)} {target['refId']}"
        for file, board in found.items()
        for panel, target in targets(board)
        if not any(rows(server, panel, target, values) for values in every)
        if not (target.get("legendFormat") == "all others" and rows(server, panel, target, BIG))
    ]


def crowded(server: Server, found: dict[str, Json], values: Values) -> list[str]:
    """Return the panels that have more lines or rows than a person can read."""
    sentences = []
    for file, board in found.items():
        for panel in panels(board):
            counts = [len(rows(server, panel, target, values)) for target in panel.get("targets", ())]
            count = max(counts, default=0) if panel["type"] == "table" else sum(counts)
            sentences += [f"{file}: {name(panel)} has {count}"] if count > MOST else []
    return sentences


def several(server: Server, found: dict[str, Json], every: list[Values]) -> list[str]:
    """Return the panels of one number that show more than one."""
    return [
        f"{file}: {name(panel)}"
        for file, board in found.items()
        for panel in panels(board)
        if panel["type"] == "stat" and len(panel["targets"]) == 1
        if any(len(rows(server, panel, panel["targets"][0], values)) > 1 for values in every)
    ]


def unnamed(server: Server, found: dict[str, Json], every: list[Values]) -> list[str]:
    """Return labels in names of lines, and columns of tables, that no answer has; and columns that nobody wants."""
    sentences = []
    for file, board in found.items():
        for panel in panels(board):
            there, wanted = set[str](), set[str]()
            for target in panel.get("targets", ()):
                there |= {
                    key for values in every for row in rows(server, panel, target, values) for key in row["metric"]
                }
                wanted |= {*re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", ""))}
            if panel["type"] == "table":
                (organize,) = (one["options"] for one in panel["transformations"] if one["id"] == "organize")
                wanted = {label for label in organize["renameByName"] if not label.startswith("Value")}
                sentences += [f"{file}: {name(panel)} shows {label}" for label in there - wanted]
            sentences += [f"{file}: {name(panel)} has no {label}" for label in wanted - there]
    return sentences


@pytest.mark.parametrize("values", [*SMALL["both"], BIG, EVERYWHERE, NOWHERE], ids=lambda values: values["cluster"])
def test_prometheus_answers_every_question(server: Server, values: Values) -> None:
    assert refused(server, boards(), values) == []


@pytest.mark.parametrize("cluster", SMALL)
def test_every_question_has_an_answer_in_each_metric_schema(server: Server, cluster: str) -> None:
    assert empty(server, boards(), SMALL[cluster]) == []


@pytest.mark.parametrize("values", [BIG, WIDE, EVERYWHERE], ids=["one node", "all nodes", "all clusters"])
def test_no_panel_has_more_than_fifty_lines(newest: Server, values: Values) -> None:
    assert crowded(newest, boards(), values) == []


def test_a_number_is_one(newest: Server) -> None:
    assert several(newest, boards(), [*SMALL["both"], BIG, EVERYWHERE]) == []


def test_two_numbers_for_one_are_found(newest: Server) -> None:
    assert len(several(newest, broken("stat", POWER), SMALL["both"])) == 1


def test_lines_and_columns_are_named_by_labels_that_are_there(newest: Server) -> None:
    assert unnamed(newest, boards(), SMALL["both"]) == []


def test_without_a_job_the_dashboard_of_a_job_shows_nothing(newest: Server) -> None:
    found = {"superpod-job.json": boards()["superpod-job.json"]}
    asked = [*targets(found["superpod-job.json"])]
    assert [name(panel) for panel, target in asked if rows(newest, panel, target, NOWHERE)] == []


@pytest.mark.parametrize("file", boards())
def test_variables_have_values(newest: Server, file: str) -> None:
    for variable in variables(boards()[file]).values():
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]).groups()
            times = {"start": str(world.BEGIN), "end": str(world.END)}
            found = newest.get("/api/v1/series", **{"match[]": filled(metric, SMALL["one"][0]), **times})
            assert any(label in one for one in found), variable["name"]


def test_the_alerts_of_a_job_are_marked_in_its_lines(newest: Server) -> None:
    (marked,) = boards()["superpod-job.json"]["annotations"]["list"]
    assert len(newest.rows(filled(marked["target"]["expr"], SMALL["one"][0]))) == 3


# Dashboard, title, letter: what it says with the values of the first, second or third node; the clusters are alike.
# Rules are evaluated at some second of each minute. The first minute of a job is not measured.
MINUTES = world.SECONDS // 60
NUMBERS: dict[tuple[str, str, str], tuple[int, float | None]] = {
    ("cluster", "GPUs", "A"): (0, 7),
    ("cluster", "Nodes answering", "A"): (0, 3),
    ("cluster", "No answer", "A"): (0, 1),
    ("cluster", "GPUs in jobs", "A"): (0, (2 + 1 + 3 / 7) / 7),
    ("cluster", "Power", "A"): (0, 400 + 90 + 70 + 70 + 300 + 70 + 350),
    ("cluster", "Critical", "A"): (0, 1),
    ("node", "GPUs in jobs", "A"): (0, 2),
    ("node", "Utilization", "A"): (0, 0.2),
    ("node", "Memory in use", "A"): (0, 41472 / (4 * 81920)),
    ("node", "Power", "A"): (0, 630),
    ("node", "Alerts", "A"): (0, 3),
    ("node", "Hottest GPU", "A"): (0, 45),
    ("job", "GPU hours", "A"): (0, 2 * MINUTES / 60),
    ("job", "Utilization", "A"): (0, 0.4),
    ("job", "Coverage", "A"): (0, (MINUTES - 1) / MINUTES),
    ("job", "Idle GPU hours", "A"): (0, (MINUTES - 1) / 60),
    ("job", "Unused GPUs", "A"): (0, 1),
    ("job", "Energy", "A"): (0, 490 * 60 * MINUTES / 3.6e6),
    ("job", "Most GPUs", "A"): (0, 2),
    ("job", "Most memory", "A"): (0, 41472 * world.MIB),
    ("users", "Users now", "A"): (0, 5),
    ("users", "Jobs now", "A"): (0, 5),
    ("users", "GPUs now", "A"): (0, 2 + 1 + 3 / 7),
    ("fleet", "GPU hours", "A"): (0, 7 * MINUTES / 60),
    ("fleet", "Held by jobs", "A"): (0, (2 + 1 + 3 / 7) / 7),
    ("health", "With an XID", "A"): (0, 1),
    ("health", "Critical", "A"): (0, 1),
    ("health", "Not healthy", "A"): (0, 7),
}


@pytest.mark.parametrize("cluster", SMALL)
@pytest.mark.parametrize(("where", "known"), NUMBERS.items(), ids=[" ".join(where) for where in NUMBERS])
def test_numbers_and_hand_calculations_agree(
    newest: Server, cluster: str, where: tuple[str, str, str], known: tuple[int, float]
) -> None:
    file, title, letter = where
    (expression,) = (
        target["expr"]
        for panel, target in targets(boards()[f"superpod-{file}.json"])
        if (panel["type"], panel["title"], target["refId"]) == ("stat", title, letter)
    )
    number, right = known
    assert newest.value(filled(expression, SMALL[cluster][number])) == pytest.approx(right)


def broken(kind: str, expression: str, **more: str) -> dict[str, Json]:
    """Return dashboards of which the first panel of a kind asks something else."""
    found = boards()
    panel = next(one for board in found.values() for one in panels(board) if one["type"] == kind)
    panel["targets"][0].update(expr=expression, **more)
    return found


POWER = 'gpu:power_watts:max{cluster=~"$cluster"}'
HELD = 'gpu_job:gpus_allocated:split{cluster=~"$cluster"}'


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (f"sum({POWER}", "parse error"),
        (f"{POWER} * on (cluster, host, gpu) {HELD}", "many"),
        (f"sum_over_time({POWER})", "range"),
    ],
)
def test_a_question_that_prometheus_refuses_is_found(newest: Server, expression: str, words: str) -> None:
    (found,) = refused(newest, broken("timeseries", expression), SMALL["one"][0])
    assert words in found


def test_a_variable_that_grafana_does_not_fill_is_found(newest: Server) -> None:
    with pytest.raises(KeyError, match="clusters"):
        refused(newest, broken("timeseries", POWER.replace("$cluster", "$clusters")), SMALL["one"][0])


def test_a_question_without_an_answer_is_found(newest: Server) -> None:
    old = 'max(DCGM_FI_DEV_GPU_TEMP{cluster=~"$cluster"})'
    assert empty(newest, broken("timeseries", old), SMALL["one"]) == []
    assert len(empty(newest, broken("timeseries", old), SMALL["two"])) == 1


def test_a_panel_with_too_many_lines_is_found(newest: Server) -> None:
    assert len(crowded(newest, broken("timeseries", POWER), BIG)) == 1
    assert len(crowded(newest, broken("table", POWER), BIG)) == 1


def test_a_name_of_a_label_that_is_not_there_is_found(newest: Server) -> None:
    assert len(unnamed(newest, broken("timeseries", POWER, legendFormat="{{Hostname}}"), SMALL["both"])) == 1
    assert any("shows __name__" in one for one in unnamed(newest, broken("table", POWER), SMALL["both"]))
