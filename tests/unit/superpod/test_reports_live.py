"""The live view goes on when a server does not answer for a while, and ends by Ctrl-C."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from rich.console import Console

from superpod import ui
from superpod.cli import main
from superpod.errors import SuperpodError
from superpod.reports import live, top, top_text
from superpod.reports.prometheus import Client, Row, Series, Server
from superpod.reports.top import History, Now


class Place:
    """Stands for what is looked at: an answer, an error, an answer."""

    def __init__(self, *answers: str | SuperpodError) -> None:
        self.answers = iter(answers)

    def lines(self, at: float, span: float, size: tuple[int, int]) -> Iterator[str]:
        found = next(self.answers)
        if isinstance(found, SuperpodError):
            raise found
        return iter([f"#{found}", "  [row] ▁"])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    found = io.StringIO()
    monkeypatch.setattr(ui, "out", Console(file=found, force_terminal=True, width=80, height=24))
    return found


def test_an_error_is_told_and_asked_again(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps: list[float] = []

    def sleep(seconds: float) -> None:
        sleeps.append(seconds)
        if len(sleeps) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(live.time, "sleep", sleep)
    place = Place("first", SuperpodError("It is away."), "again")
    live.live(place, 60, 7)  # type: ignore[arg-type]
    first, _, rest = screen.getvalue().partition("It is away.")
    assert "first" in first and "[row]" in first and "again" in rest and "again" not in first
    assert sleeps == [7, 7, 7]


def test_without_a_first_answer_it_ends(screen: io.StringIO) -> None:
    with pytest.raises(SuperpodError, match="away"):
        live.live(Place(SuperpodError("It is away.")), 60, 7)  # type: ignore[arg-type]
    assert screen.getvalue() == ""


def rows(count: int, label: str) -> list[Now]:
    values = {"held": 1.0, "measured": 1 / 60, "idle": 0.0, "gpus": 8.0}
    labels = {"cluster": "a", "user": "ada", "partition": "batch", "host": "", "hpc_job": ""}
    return [Now({**labels, label: f"x{n:03}"}, dict(values)) for n in range(count)]


@pytest.mark.parametrize(("nodes", "jobs"), [(2000, 3000), (2000, 1), (2, 3000), (2, 0)])
def test_the_view_fits_into_a_terminal(nodes: int, jobs: int) -> None:
    lines = list(top_text.overview(rows(1, "none"), rows(nodes, "host"), rows(jobs, "hpc_job"), 1e9, (80, 24)))
    assert len(lines) <= 24 and max(map(len, lines)) <= 81
    hidden = [int(line.split()[1]) for line in lines if line.startswith("  …")]
    assert sum(hidden) + sum(line.startswith("  x") for line in lines) == nodes + jobs


@pytest.mark.parametrize("width", [38, 60, 80])
def test_a_narrow_terminal_has_the_columns_that_matter(width: int) -> None:
    clusters, nodes, jobs = (rows(2, label) for label in ("none", "host", "hpc_job"))
    nodes[0].labels["cluster"] = "another"
    lines = list(top_text.overview(clusters, nodes, jobs, 1e9, (width, 24)))
    assert max(map(len, lines)) <= width + 1
    for title in ("JOB", "NODE"):
        header = next(line for line in lines if line.startswith("#") and title in line)
        assert {"GPUS", "IDLE", "USED"} < {*header.split()} and ("PARTITION" in header) == (
            title == "JOB" and width > 60
        )
    known = History("dgx-01", "0", "1", ["1", "22"], {"utilization": [0.5] * 60, "memory": [2.0**30] * 60})
    assert max(map(len, top_text.node([known], (0, 3600), width))) <= max(width + 1, 53)
    assert max(map(len, [*top_text.gpu(known, (0, 3600), width)][2:])) <= width


def test_on_a_dumb_terminal_it_is_shown_once(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, _environ={"TERM": "dumb"})
    monkeypatch.setattr(ui, "out", console)
    monkeypatch.setattr(live.Place, "lines", lambda *_: iter(["#once"]))
    answer = CliRunner().invoke(
        main, ["top", "--prometheus", "http://127.0.0.1:1"], env={"SUPERPOD_CONFIG": "/dev/null"}
    )
    assert answer.exit_code == 0 and console.file.getvalue().count("once") == 1  # type: ignore[attr-defined]


def test_what_is_not_measured_is_not_called_idle_or_not_idle() -> None:
    one = rows(1, "hpc_job")
    one[0].values["measured"] = 0
    text = "\n".join(top_text.overview([], rows(1, "host"), one, 1e9, (80, 24)))
    assert next(line for line in text.splitlines() if "batch" in line).split()[4] == "\u2013"


def test_a_gpu_of_which_nothing_is_known_has_a_blank_line() -> None:
    found = History("dgx-01", "0", "", values={"utilization": [None] * 60})
    assert list(top_text.gpu(found, (0, 3600), 80))[4].strip() == "\u2013 now"


class Ranges(Client):
    """Stands for a server that knows a GPU's values in each step that it is asked for."""

    def __init__(self) -> None:
        super().__init__(Server("http://mon-01:9090"))

    def range(self, query: str, begin: float, end: float, step: float) -> list[Series]:
        times = [begin + step * n for n in range(int((end - begin) / step) + 1)]
        return [Series({"host": "n1", "gpu": "0"}, [(at, 0.5) for at in times])]

    def instant(self, query: str, at: float) -> list[Row]:
        return []


@pytest.mark.parametrize(("span", "points"), [(60, 1), (600, 10), (3600, 60), (7 * 86400, 60)])
def test_a_line_of_bars_is_as_long_as_its_time(span: int, points: int) -> None:
    (found,) = top.histories(Ranges(), (1e9 - span, 1e9), "a", "n1", "")
    assert found.values["utilization"] == [0.5] * points


def test_less_than_a_minute_is_told() -> None:
    answer = CliRunner().invoke(main, ["top", "n1", "--since", "10s", "--prometheus", "http://127.0.0.1:1"])
    assert answer.exit_code == 2 and "--since 10s is less than a minute" in answer.stderr
