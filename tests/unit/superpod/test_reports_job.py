"""A job's tries, what Slurm adds to them, what is missing, and what is said of it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from superpod.cli import main
from superpod.errors import SuperpodError
from superpod.reports import (
    devices,
    errors_of_gpus,
    held,
    hints,
    job,
    job_page,
    job_text,
    matching,
    nothing,
    page,
    slurm,
)
from superpod.reports.devices import Device
from superpod.reports.errors_of_gpus import Xid
from superpod.reports.job import Job
from superpod.reports.prometheus import Client, Row, Series, Server
from superpod.reports.slurm import Record

BEGIN, NOW = 1_800_000_000.0, 1_800_100_000.0
LABELS = {"cluster": "a", "hpc_job": "4711", "user": "ada", "account": "ml", "partition": "batch"}
Minutes = Iterable[int]


def records(minutes: Minutes, gpus: float = 2, unmeasured: Minutes = (), **labels: str) -> list[Series]:
    """Return what the rules make of a job that uses half of its GPUs' time, in some minutes."""
    every = [*minutes]
    first, lost = every[0], {*unmeasured}
    measured = {one: gpus if one != first and one not in lost else 0 for one in every}
    found = {
        "gpus_allocated:sum": {one: gpus for one in every},
        "gpu_hours_allocated:increase1m": {one: gpus / 60 for one in every},
        "gpu_hours_measured:increase1m": {one: value / 60 for one, value in measured.items()},
        "gpu_hours_used:increase1m": {one: value / 120 for one, value in measured.items()},
        "gpu_hours_idle:increase1m": {one: 0.0 for one in every},
        "energy_joules:increase1m": {one: 6000.0 * gpus for one in every},
        "memory_used_bytes:sum": {one: 2.0**30 for one in every},
        "power_watts:sum": {one: 100.0 * gpus for one in every},
    }
    mine = {**LABELS, **labels}
    return [
        Series({"__name__": f"job:{name}", **mine}, [(BEGIN + 60 * one, value) for one, value in values.items()])
        for name, values in found.items()
    ]


class FakeServer(Client):
    """Stands for a server that has some records of jobs, and rows for queries by a word in them."""

    def __init__(self, series: list[Series], rows: dict[str, list[Row]] | None = None) -> None:
        super().__init__(Server("http://mon-01:9090"))
        self.series, self.rows, self.asked = series, rows or {}, list[str]()

    def samples(self, query: str, at: float) -> list[Series]:
        self.asked.append(query)
        return self.series if query.startswith("{__name__") else []

    def instant(self, query: str, at: float) -> list[Row]:
        self.asked.append(query)
        return next((rows for word, rows in self.rows.items() if word in query), [])

    def range(self, query: str, begin: float, end: float, step: float) -> list[Series]:
        return [Series({"host": "dgx-01", "gpu": "0"}, [(begin, 0.5), (begin + step, 0.25)])]


def device(gpu: str, host: str = "dgx-01", **more: Any) -> Device:
    return Device(host, gpu, **{"held": 30, "measured": 29, "possible": 29, "share": 1, "utilization": 0.5, **more})


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job]:
    """Return a function that gives a job, of a server and of Slurm."""

    def get(
        series: list[Series],
        of_slurm: Iterable[Record] = (),
        gpus: Iterable[Device] = (device("0"), device("1")),
        rows: dict[str, list[Row]] | None = None,
        at: float | None = None,
        now: float = NOW,
    ) -> Job:
        monkeypatch.setattr(slurm, "records", lambda _job: [*of_slurm])
        monkeypatch.setattr(devices, "collect", lambda _client, _tries: {(one.host, one.gpu, ""): one for one in gpus})
        return job.collect(FakeServer(series, rows), "4711", "", (now - 90 * 86400, now), at, True)

    return get


def tried(begin: int, end: int | None, **more: Any) -> Record:
    """Return a try as Slurm has it, by minutes."""
    last = None if end is None else BEGIN + 60 * end
    given = {"user": "ada", "state": "COMPLETED", "nodes": ["dgx-01"], "tres": "gres/gpu=2", "name": "train", **more}
    return Record("4711", "4711", begin=BEGIN + 60 * begin - 20, end=last, **given)


Found = Callable[..., Job]


def test_slurm_adds_name_state_and_times(found: Found) -> None:
    one = found(records(range(30)), [tried(0, 30)])
    assert one.record and (one.record.name, one.record.state) == ("train", "COMPLETED")
    assert (one.attempts[0].started, one.attempts[0].ended) == (BEGIN - 20, BEGIN + 1800)
    assert (one.coverage, one.complete, one.running) == (pytest.approx(1), True, False)
    assert one.utilization == pytest.approx(0.5) and one.run.total(job.ENERGY) == 360000


def test_a_record_of_another_time_or_user_is_left_out(found: Found) -> None:
    for other in (tried(-600000, -599000), tried(0, 30, user="mallory", name="secret")):
        one = found(records(range(30)), [other])
        text = "\n".join(job_text.lines(one))
        assert one.record is None and "mallory" not in text and "secret" not in text and "COMPLETED" not in text
        assert "Slurm knows another job of this id" in "".join(one.notes)


def test_a_job_that_waits_again_is_not_another_one(found: Found) -> None:
    waits = Record("4711", "4711", "ada", state="PENDING")
    for of_slurm in ([waits], [tried(0, 30, state="REQUEUED"), waits]):
        one = found(records(range(30)), of_slurm)
        assert "It waits for another try: Slurm says PENDING." in one.notes
        assert not any("another job" in note for note in one.notes) and one.coverage == pytest.approx(1)
    ended = Record("4711", "4711", "ada", state="CANCELLED", end=BEGIN + 3600)
    assert "It waited for another try: Slurm says CANCELLED." in found(records(range(30)), [tried(0, 30), ended]).notes
    other = Record("4711", "4711", "mallory", state="PENDING")
    assert "PENDING" not in "".join(found(records(range(30)), [other]).notes)


def test_a_record_of_another_cluster_is_left_out(found: Found) -> None:
    seen = {"group by (host)": [Row({"host": "dgx-01"}, 1)]}
    there = tried(0, 30, nodes=["gpu-07"], state="FAILED", name="other")
    one = found(records(range(30)), [there], rows=seen)
    assert one.record is None and "FAILED" not in "\n".join(job_text.lines(one))
    assert "at another time or elsewhere" in "".join(one.notes) and not one.attempts[0].silent
    # A try of which nothing was seen is one of this job.
    both = found(records(range(30)), [tried(-9, 0, nodes=["dgx-02"]), tried(0, 30)], rows=seen)
    assert both.record and both.record.nodes == ["dgx-01"]


def test_nodes_without_a_row_are_named_and_count_as_unknown(found: Found) -> None:
    one = found(records(range(30)), [tried(0, 30, nodes=["dgx-01", "dgx-02.cluster"], tres="gres/gpu=4")])
    assert "There is no data from dgx-02.cluster." in one.notes
    assert one.coverage == pytest.approx(0.5) and not one.complete and not one.known
    assert "2 held · Slurm says 4" in dict(job_text.facts(one))["GPUs"]


def test_a_node_is_missed_where_slurm_accounts_no_gpus(found: Found) -> None:
    one = found(records(range(30)), [tried(0, 30, nodes=["dgx-01", "dgx-02"], tres="cpu=8")])
    assert one.coverage == pytest.approx(0.5) and not one.complete and "There is no data from dgx-02." in one.notes
    assert "Slurm tells none" in dict(job_text.facts(one))["GPUs"]


def test_a_node_without_a_gpu_of_the_job_is_not_missed(found: Found) -> None:
    one = found(records(range(30)), [tried(0, 30, nodes=["dgx-01", "cpu-01"])])
    assert one.complete and one.attempts[0].silent == [] and "cpu-01" not in "".join(one.notes)


def test_a_gpu_without_a_row_on_a_node_with_others_is_missed(found: Found) -> None:
    one = found(records(range(30)), [tried(0, 30, tres="gres/gpu=4")])
    assert one.coverage == pytest.approx(0.5) and "Slurm counts 2 more GPUs than have data." in one.notes


def test_time_before_the_first_and_behind_the_last_record_is_unknown(found: Found) -> None:
    one = found(records(range(30)), [tried(-30, 60)])
    assert one.coverage == pytest.approx(29 / 85.33, abs=0.01)
    assert one.notes[:2] == ["Of the first 30 min there is no data.", "Of the last 31 min there is no data."]


def test_a_job_that_runs_is_told_so(found: Found) -> None:
    running = found(records(range(30)), [tried(0, None, state="RUNNING")], now=BEGIN + 1800)
    assert running.running and "RUNNING (holds GPUs now)" in "\n".join(job_text.lines(running))
    assert running.complete
    silent = found(records(range(30)), [tried(0, None, state="RUNNING")], now=BEGIN + 7200)
    assert not silent.running and not silent.complete
    assert "Of the last 1 h 31 min there is no data." in silent.notes


TRIES = [*range(10), *range(40, 60)]


def test_tries_are_told_apart_by_slurm(found: Found) -> None:
    two = [tried(0, 10, state="NODE_FAIL"), tried(40, 60, nodes=["dgx-02"])]
    rows = {"group by (host)": [Row({"host": "dgx-01"}, 1)]}
    one = found(records(TRIES), two, rows=rows)
    assert [(part.record and part.record.state, part.end - part.begin) for part in one.attempts] == [
        *(("NODE_FAIL", 540), ("COMPLETED", 1140)),
    ]
    # Two minutes, the first of each try, are not measured; the records here have only one such minute.
    assert sum(part.expected for part in one.attempts) == 2 * 28 and one.complete
    assert "NODE_FAIL" in "\n".join(job_text.lines(one))


def test_a_pause_within_one_try_of_slurm_is_missing_data(found: Found) -> None:
    one = found(records(TRIES), [tried(0, 60)])
    assert len(one.attempts) == 1 and one.coverage == pytest.approx(29 / 59)
    assert "Nothing is known of" in one.notes[0]


SHORT = [*range(10), *range(13, 30)]


@pytest.mark.parametrize(
    ("minutes", "told", "recorded", "tries"),
    [
        (TRIES, (20, 60), (10, 29), 2),
        (TRIES, (20, 1), (10, 29), 1),
        (TRIES, (20, 0), (10, 29), 1),
        # The rules were not evaluated.
        (TRIES, (20, 60), (10, 2), 1),
        # Slurm starts a requeued job after two minutes.
        (SHORT, (20, 6), (10, 3), 2),
        (SHORT, (20, 2), (10, 3), 1),
        ([*range(10), *range(11, 30)], (20, 60), (10, 29), 1),
    ],
)
def test_without_slurm_a_pause_is_one_if_nodes_told_of_no_job_in_it(
    minutes: list[int], told: tuple[float, float], recorded: tuple[float, float], tries: int
) -> None:
    answers = {"device_table_ok": iter([[Row({}, one)] for one in told])}
    answers["node:gpus:count"] = iter([[Row({}, one)] for one in recorded])

    class Answering(FakeServer):
        def instant(self, query: str, at: float) -> list[Row]:
            mine = next((found for word, found in answers.items() if word in query), None)
            return next(mine) if mine else super().instant(query, at)

    client = Answering(records(minutes), {"group by (host)": [Row({"host": "dgx-01"}, 1)]})
    (run,) = [run for runs in held.owners(client.series).values() for run in runs]
    assert len(held.tries(run, lambda begin, end: matching.waited(client, run, "4711", (begin, end), []))) == tries


def test_by_slurm_a_short_wait_is_none_of_the_jobs_time(found: Found) -> None:
    rows = {"group by (host)": [Row({"host": "dgx-01"}, 1)]}
    one = found(records(SHORT), [tried(0, 10, state="REQUEUED"), tried(13, 30)], rows=rows)
    assert len(one.attempts) == 2 and one.complete and not one.notes
    lost = found(records(SHORT), [tried(0, 30)], rows=rows)
    assert len(lost.attempts) == 1 and not lost.complete


def test_of_many_pauses_the_longest_are_asked_about() -> None:
    asked = []
    minutes = [minute for minute in range(400) if minute % 4]
    (run,) = [run for runs in held.owners(records([*minutes, *range(500, 510)])).values() for run in runs]
    held.tries(run, lambda begin, end: bool(asked.append(end - begin)))
    assert len(asked) == 50 and asked[-1] == 101 * 60


def test_of_two_runs_the_newest_is_meant(found: Found) -> None:
    series = records(range(30)) + records(range(3000, 3020))
    both = found(series, [tried(0, 30, name="old"), tried(3000, 3020, name="new")], now=BEGIN + 300000)
    assert both.record and both.record.name == "new" and "used more than once" in both.notes[0]
    old = found(series, [tried(0, 30, name="old")], at=BEGIN + 600, now=BEGIN + 300000)
    assert old.record and old.record.name == "old" and old.run.minutes[-1] == 29


def test_two_servers_that_record_the_same_count_once(found: Found) -> None:
    again = [
        Series({**one.labels, "replica": "b"}, [(at + 23, value) for at, value in one.samples])
        for one in records(range(30))
    ]
    one = found(records(range(30)) + again)
    assert one.run.total(held.HELD) == 60 and one.coverage == pytest.approx(1) and one.run.total(job.ENERGY) == 360000


def test_a_part_of_an_array_says_that_there_are_others(found: Found) -> None:
    other = Record("4712", "4711_1", user="ada", begin=BEGIN, end=BEGIN + 9)
    one = found(records(range(30)), [tried(0, 30), other])
    assert "4711 is one of 2 jobs of an array or a het job; others: 4711_1." in one.notes


def test_the_same_id_in_two_clusters_needs_a_choice(found: Found) -> None:
    with pytest.raises(SuperpodError, match=r"clusters a \(ada, until .*\) and b .*--cluster") as caught:
        found(records(range(30)) + records(range(30), cluster="b"))
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("rows", "of_slurm", "words"),
    [
        ({}, [], "has neither records nor metrics of dcgm-exporter"),
        ({"DCGM_FI_DEV_FB_USED": [Row({}, 8)]}, [], "the recording rules are not loaded there"),
        ({"cluster:gpus": [Row({}, 1)]}, [], "Only jobs that held a GPU for a minute are known"),
        (
            {"cluster:gpus": [Row({}, 1)]},
            [Record("4711", "4711", state="PENDING")],
            "Slurm says: PENDING, not started.",
        ),
        ({"cluster:gpus": [Row({}, 1)]}, [tried(-999999, -999990)], "Only jobs that held a GPU for a minute are known"),
        ({"cluster:gpus": [Row({}, 1)]}, [], "No job at all was recorded in the day before"),
        ({"cluster:gpus": [Row({}, 1)]}, [tried(0, 9, tres="cpu=1")], "COMPLETED, its GPUs are not accounted, started"),
    ],
)
def test_it_is_told_why_there_is_nothing(
    found: Found, rows: dict[str, list[Row]], of_slurm: list[Record], words: str
) -> None:
    with pytest.raises(SuperpodError) as caught:
        found([], of_slurm, rows=rows)
    assert caught.value.exit_code == 3 and words in str(caught.value)


def said(one: Job) -> str:
    return " ".join(hint.text for hint in hints.collect(one))


IDLE = {"idle": 29, "utilization": 0.0, "idle_from": BEGIN, "idle_until": BEGIN + 1740}


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ([device("0"), device("1", **IDLE)], "1 of 2 GPUs was never used: dgx-01 GPU 1."),
        ([device("0", **IDLE)], "The GPU was never used"),
        ([device("0", idle_from=BEGIN, idle_until=BEGIN + 1800)], "dgx-01 GPU 0 did nothing for 30 min"),
        ([device("0", utilization=0.9), device("1", utilization=0.4)], "Work is uneven: dgx-01 GPU 1 did less"),
        ([device("0", tensor=0.02, dram=0.85)], "Tensor cores were 2 % busy and memory 85 %: memory-bound."),
        ([device("0", tensor=0.001, dram=0.1)], "Tensor cores were hardly used"),
        ([device("0", memory=99.0, capacity=100.0)], "Memory was full to 99 %"),
        ([device("0", dead_since=BEGIN)], "Profiling of dgx-01 GPU 0 is dead since 2027-01-15"),
        ([device("0", dead_since=0.0)], "is dead for 14 days or more"),
    ],
)
def test_each_hint_has_its_case(found: Found, gpus: list[Device], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert words in said(found(records(range(30)), gpus=gpus))


@pytest.mark.parametrize(
    "gpus",
    [
        [device("0")],
        # Of too little of its time anything is known.
        [device("0", **{**IDLE, "measured": 10, "idle": 10})],
        [device("0", tensor=0.02, dram=0.85, utilization=0.1)],
        [device("0", tensor=0.5, dram=0.85)],
        [device("0", measured=0, idle=0, utilization=None)],
    ],
)
def test_nobody_is_accused_without_reason(found: Found, gpus: list[Device]) -> None:
    assert said(found(records(range(30)), gpus=gpus)) == ""


def test_dead_profiling_tells_nothing_of_tensor_cores(found: Found) -> None:
    one = found(records(range(30)), gpus=[device("0", tensor=0.0, dram=0.0, dead_since=BEGIN)])
    assert "Tensor" not in said(one)
    assert job_text.as_json(one, "x", [])["devices"][0]["tensor_ratio"] is None


def test_too_little_data_silences_hints_on_use(found: Found) -> None:
    one = found(records(range(30), unmeasured=range(20, 30)), gpus=[device("0", **IDLE, tensor=0.02, dram=0.85)])
    assert one.coverage == pytest.approx(19 / 29) and said(one) == ""
    assert "Too little is known" in one.notes[-1]
    json_ = job_text.as_json(one, "x", [])
    assert (json_["gpus"]["never_used"], json_["gpu_hours"]["idle"], json_["longest_idle"]) == (None, None, None)


def test_a_short_job_is_not_judged(found: Found) -> None:
    one = found(records(range(5)), gpus=[device("0", **{**IDLE, "held": 5, "measured": 4, "idle": 4, "possible": 4})])
    assert said(one) == "" and one.complete
    shortest = found(records([0]), gpus=[device("0", held=1, measured=0, possible=0)])
    assert shortest.coverage is None and not shortest.complete
    assert "too short to be measured" in "\n".join(job_text.lines(shortest))


def test_xids_are_told_but_for_harmless_ones(found: Found, monkeypatch: pytest.MonkeyPatch) -> None:
    xids = [Xid("dgx-01", "0", "79", 2), Xid("dgx-01", "", "45", None), Xid("dgx-01", "1", "999", 1)]
    monkeypatch.setattr(errors_of_gpus, "collect", lambda *_: (xids, []))
    text = said(found(records(range(30))))
    assert "XID 79 on dgx-01, GPU 0 (2 times): the node has to be rebooted." in text
    assert "XID 999" in text and "in no class that is known" in text and "XID 45" not in text


def test_gpus_of_a_large_job_are_shown_by_least_use(found: Found) -> None:
    gpus = [device(str(n), host=f"dgx-{n:02}", utilization=n / 40) for n in range(40)]
    one = found(records(range(30), gpus=40), gpus=gpus)
    text = "\n".join(job_text.lines(one))
    assert "the 16 of 40 that were used least" in text and "dgx-15" in text and "dgx-16" not in text
    assert "and 34 more" in text and "dgx-39" in "\n".join(job_text.lines(one, every=True))


class Tags(HTMLParser):
    """Checks that a page is whole, and collects what would load something."""

    EMPTY = ("meta", "br", "line", "rect")

    def __init__(self) -> None:
        super().__init__()
        self.open, self.loads = list[str](), list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [f"{tag} {name}" for name, _ in attrs if name in ("src", "href", "xlink:href", "action", "data")]
        self.loads += [tag] if tag in ("script", "link", "iframe", "img", "object", "embed") else []
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.EMPTY:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_a_page_is_whole_loads_nothing_and_says_names_as_they_are(found: Found) -> None:
    name = '<script src="http://evil">&'
    one = found(records(range(30)), [tried(0, 30, name=name)], gpus=[device("0"), device("1", **IDLE)])
    text = job_page.page_of(FakeServer([]), one)
    tags = Tags()
    tags.feed(text)
    assert (tags.open, tags.loads) == ([], []) and "&lt;script" in text and "<script" not in text
    assert "default-src 'none'" in text and "prefers-color-scheme:dark" in text and "url(" not in text
    assert text.count('<svg role="img"') == 5 and "@import" not in text


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    from superpod.reports import options

    options.write_page(f"{tmp_path}/a.html", page.page("x", []))
    assert (tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    with pytest.raises(SuperpodError, match="cannot be written: No such file"):
        options.write_page(f"{tmp_path}/none/a.html", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SuperpodError, match="cannot be written: Is a directory"):
        options.write_page(f"{tmp_path}/folder", "x")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["a.html", "folder"]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Return a function that runs a command against a server with a job, and the server's warnings."""

    def run(line: str, warnings: Iterable[str] = ()) -> Any:
        client = FakeServer(records(range(30)))
        client.warnings += warnings
        monkeypatch.setattr("superpod.reports.options.Client", lambda _server: client)
        monkeypatch.setattr(devices, "collect", lambda _client, _tries: {("dgx-01", "0", ""): device("0")})
        monkeypatch.setattr(time, "time", lambda: NOW)
        return CliRunner().invoke(main, [*line.split(), "--prometheus", "http://x", "--config", "/dev/null"])

    return run


def test_exit_codes_say_whether_anything_is_missing(command: Callable[..., Any]) -> None:
    assert command("job 4711 --no-slurm").exit_code == 0
    partly = command("job 4711 --no-slurm --json", ["a store is down"])
    assert partly.exit_code == 3 and "may be a part only: a store is down" in partly.stderr
    assert json.loads(partly.stdout)["complete"] is False
    assert command("job 4711_3 --no-slurm").exit_code == 2
    assert command("job x").exit_code == 2
    assert command("job 4711 --since tomorrow").exit_code == 2
    assert command("report --csv --json").exit_code == 2


def test_without_an_address_the_question_is_where(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUPERPOD_PROMETHEUS", raising=False)
    result = CliRunner().invoke(main, ["job", "1", "--config", "/dev/null"])
    assert result.exit_code == 2 and result.stderr.startswith("Error: Where is Prometheus?") and result.stdout == ""


def test_json_says_null_and_never_nan(found: Found) -> None:
    gpus = [device("0", utilization=None, measured=0, possible=29)]
    one = found(records(range(30), unmeasured=range(30)), gpus=gpus)
    text = json.dumps(job_text.as_json(one, "x", []), allow_nan=False)
    data = json.loads(text)
    assert data["utilization_ratio"] == {"mean": None, "peak": None} and data["coverage"] == 0
    assert data["gpu_hours"]["used"] is None and data["devices"][0]["never_used"] is None


def test_nothing_at_all_needs_one_question_where_there_are_records() -> None:
    client = FakeServer([], {"cluster:gpus": [Row({}, 1)]})
    assert nothing.at_all(client, NOW) == "" and len(client.asked) == 1


@pytest.mark.parametrize(("gpus", "days"), [(2, 90), (16, 30), (1024, 1)])
def test_idle_time_of_long_and_of_large_jobs_is_asked_in_steps_that_servers_answer(gpus: int, days: int) -> None:
    asked: list[float] = []

    class Steps(FakeServer):
        def range(self, query: str, begin: float, end: float, step: float) -> list[Series]:
            asked.append((end - begin) / step)
            return []

    end = BEGIN + days * 86400
    idle = {("n1", str(gpu), ""): device(str(gpu), "n1", idle=days * 1440) for gpu in range(gpus)}
    devices._longest(Steps([]), devices.Try("a", "4711", BEGIN, end), idle)
    (points,) = asked
    assert 90 < points <= 11_000
