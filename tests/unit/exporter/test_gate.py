"""What a change is judged by: what the node showed just before it. The node's own troubles are told, and no more."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from superpod_dcgm.base import paths
from superpod_dcgm.exporter import gate, last_good, rows, service
from superpod_dcgm.exporter.rows import Shown, Wanted

from tests.exporter_node import GPU_A, GPU_B, NEW, OLD, ExporterNode

BOTH, ONE, NONE = frozenset({GPU_A, GPU_B}), frozenset({GPU_A}), frozenset[str]()
WHOLE, ALL = Shown(BOTH, BOTH), Wanted(True, True)
PUT_BACK = f"Release {OLD} and its configuration were put back and answer"
# (before, now, what the counters file asks for): what is told as gone
GONE = {
    "all is there": (WHOLE, WHOLE, ALL, ""),
    "a GPU": (WHOLE, Shown(ONE, ONE), ALL, f"no row of {GPU_B} any more"),
    "all GPUs": (WHOLE, Shown(), ALL, f"no row of {GPU_A}, {GPU_B} any more"),
    "a GPU that was dead before": (Shown(ONE, ONE), Shown(ONE, ONE), ALL, ""),
    "profiling rows": (WHOLE, Shown(BOTH), ALL, f"no DCGM_FI_PROF_ row of {GPU_A}, {GPU_B} any more"),
    "profiling rows of one": (WHOLE, Shown(BOTH, ONE), ALL, f"no DCGM_FI_PROF_ row of {GPU_B} any more"),
    "profiling rows that a profiler had before": (Shown(BOTH), Shown(BOTH), ALL, ""),
    "profiling rows that nobody wants any more": (WHOLE, Shown(BOTH), Wanted(True, False), ""),
    "all, as nobody wants any": (WHOLE, Shown(), Wanted(False, False), ""),
    "nothing known of before": (None, Shown(), ALL, ""),
    "an error before": (Shown(fault="HTTP 500"), Shown(), ALL, ""),
    "a page that cannot be seen": (WHOLE, Shown(fault="hidden"), ALL, ""),
    "a GPU that came": (Shown(ONE, ONE), WHOLE, ALL, ""),
}


@pytest.mark.parametrize(("before", "now", "wanted", "words"), GONE.values(), ids=GONE.keys())
def test_only_what_was_shown_before_can_be_gone(before: Any, now: Shown, wanted: Wanted, words: str) -> None:
    told = gate.gone(before, now, wanted)
    assert (words in told) if words else told == ""


def test_of_many_gpus_three_are_named() -> None:
    many = frozenset(f"GPU-{number}" for number in range(8))
    assert "GPU-0, GPU-1, GPU-2 and 5 more" in gate.gone(Shown(many), Shown(), ALL)


# (now, what the counters file asks for, the node's GPUs, before): what is told
SHORT = {
    "nothing": (WHOLE, ALL, [GPU_A, GPU_B], None, []),
    "a dead GPU": (Shown(ONE, ONE), ALL, [GPU_A, GPU_B], None, [f"no row of {GPU_B}, which the device table has"]),
    "no GPU": (Shown(), ALL, [GPU_A], None, ["no row of any GPU"]),
    "no GPU where none is": (Shown(), ALL, [], None, []),
    "a GPU that the table cannot name": (Shown(ONE, ONE), ALL, [GPU_A, "-"], None, []),
    "no profiling": (Shown(BOTH), ALL, [], None, ["no DCGM_FI_PROF_ row, and"]),
    "a profiler on one": (Shown(BOTH, ONE), ALL, [], None, [f"no DCGM_FI_PROF_ row of {GPU_B}"]),
    "profiling that nobody wants": (Shown(BOTH), Wanted(True, False), [], None, []),
    "slow": (replace(WHOLE, seconds=12.2), ALL, [], None, ["answers in 12 s"]),
    "as slow as before": (
        *(replace(WHOLE, seconds=12.2), ALL, [], replace(WHOLE, seconds=11.0)),
        ["answers in 12 s, as before the change"],
    ),
    "an empty counters file": (Shown(), Wanted(False, False), [GPU_A], None, []),
    "a page that cannot be seen": (Shown(fault="hidden"), ALL, [GPU_A], None, []),
}


@pytest.mark.parametrize(("now", "wanted", "known", "before", "words"), SHORT.values(), ids=SHORT.keys())
def test_what_is_odd_with_a_node_is_told(now: Shown, wanted: Wanted, known: Any, before: Any, words: list[str]) -> None:
    told = gate.shortages(now, wanted, known, before)
    assert len(told) == len(words)
    assert all(word in text for word, text in zip(words, told, strict=True))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ExporterNode:
    node = ExporterNode(tmp_path, monkeypatch)
    (tmp_path / "run/devices").write_text(f"made 1\ngpu 0 {GPU_A} 0 -\ngpu 1 {GPU_B} 1 -\n")
    node.runs(OLD)
    node.install(NEW)
    return node


def change(here: ExporterNode) -> service.Done:
    desired = last_good.fingerprint(NEW)
    return service.act(here.unit(), "running", desired, service.plan(here.unit(), "running", desired, False))


# what the page of the new release shows: what is told of the way back
BAD = {
    "fewer GPUs": (Shown(ONE, ONE), f"dcgm-exporter {NEW}: /metrics has no row of {GPU_B} any more"),
    "no GPUs": (Shown(), f"no row of {GPU_A}, {GPU_B} any more"),
    "no profiling": (Shown(BOTH), f"dcgm-exporter {NEW}: /metrics has no DCGM_FI_PROF_ row of {GPU_A}, {GPU_B}"),
}


@pytest.mark.parametrize(("page", "words"), BAD.values(), ids=BAD.keys())
def test_a_release_that_shows_less_than_before_is_taken_back(here: ExporterNode, page: Shown, words: str) -> None:
    here.pages[NEW] = page
    done = change(here)
    assert words in done.problem and PUT_BACK in done.problem
    assert (here.loaded[0], last_good.read()["release"]) == (OLD, OLD)


# the page before and after: what is told; nothing of it takes a release back
KEPT = {
    "a dead GPU": (Shown(ONE, ONE), [f"/metrics has no row of {GPU_B}, which the device table has"]),
    "a user's profiler": (Shown(BOTH, NONE), ["/metrics has no DCGM_FI_PROF_ row, and"]),
    "a slow engine": (Shown(BOTH, BOTH, 45.0), ["/metrics answers in 45 s, as before the change"]),
    "no GPU at all": (Shown(), ["/metrics has no row of any GPU"]),
}


@pytest.mark.parametrize(("page", "words"), KEPT.values(), ids=KEPT.keys())
def test_the_nodes_own_troubles_are_told_and_the_release_stays(
    here: ExporterNode, page: Shown, words: list[str]
) -> None:
    here.page = page
    done = change(here)
    assert (done.problem, here.loaded[0], last_good.read()["release"]) == ("", NEW, NEW)
    assert [text for text in done.notes if not text.startswith(tuple(words))] == []
    assert len(done.notes) == len(words)
    assert here.calls.count("restart") == 1


def test_what_the_old_one_does_not_show_either_is_said(here: ExporterNode) -> None:
    before = here.page
    gate.note(before)
    here.page = Shown(ONE, ONE)
    done = change(here)
    assert f"were put back and answer, and it is the same with them: /metrics has no row of {GPU_B}" in done.problem


def test_what_was_noted_before_the_files_changed_counts_once(here: ExporterNode) -> None:
    gate.note(WHOLE)
    # A release that reads a new counters file at once lost its rows before the service state came.
    here.reloaded = True
    here.pages[NEW] = Shown(BOTH)
    assert "no DCGM_FI_PROF_ row" in change(here).problem
    assert gate.noted() is None


@pytest.mark.parametrize("record", ["", "[]", "{}", '{"at": 5.0}', '{"at": "x", "gpus": []}'])
def test_a_note_that_is_damaged_or_old_counts_as_none(here: ExporterNode, record: str) -> None:
    Path(paths.SHOWN_RECORD).write_text(record)
    here.clock.now = 10000.0
    assert gate.noted() is None
    gate.note(WHOLE)
    assert gate.noted() == WHOLE
    here.clock.now += 601
    assert gate.noted() is None


def test_rows_that_come_late_are_waited_for(here: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    pages = iter([Shown(ONE), Shown(BOTH), WHOLE])
    began = here.clock.now
    assert gate.settle(lambda: next(pages), WHOLE, ALL, 60) == WHOLE
    assert gate.settle(lambda: Shown(ONE), WHOLE, ALL, 60) == Shown(ONE)
    assert 60 < here.clock.now - began < 70


FIRST = {
    "rows of one GPU": (Shown(ONE, ONE), 1, ""),
    "no row, and a second start does not help": (Shown(), 2, "no row of any GPU, and this node has 2. Nothing is"),
}


@pytest.mark.parametrize(("page", "starts", "words"), FIRST.values(), ids=FIRST.keys())
def test_a_first_install_wants_one_row(here: ExporterNode, page: Shown, starts: int, words: str) -> None:
    here.up, here.page = False, page
    Path(paths.RUNNING_FILE).unlink()
    done = change(here)
    assert (words in done.problem) if words else done.problem == ""
    assert here.calls.count("restart") == starts
    assert bool(last_good.read()) is not bool(words)


def test_an_engine_that_had_not_found_its_gpus_costs_a_second_start(here: ExporterNode) -> None:
    here.up = False
    seen: list[str] = []

    def look(url: str, patience: float) -> Shown:
        return WHOLE if here.calls.count("restart") > 1 else Shown()

    unit = replace(here.unit(), look=look)
    desired = last_good.fingerprint(NEW)
    assert service.act(unit, "running", desired, service.plan(unit, "running", desired, False)) == service.Done()
    assert (here.calls.count("restart"), seen) == (2, [])


# the fault of the page before and after, and what comes of it
FAULTS = {
    "an error as before": ("HTTP 500", "HTTP 500", "as before the change. Nothing is taken back."),
    "an error where it answered": ("", "HTTP 500", PUT_BACK),
    "no answer in a minute as before": ("slow", "slow", "as before the change. Nothing is taken back."),
    "no answer in a minute where it answered": ("", "slow", PUT_BACK),
    "another error": ("slow", "HTTP 500", PUT_BACK),
}


@pytest.mark.parametrize(("before", "after", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_what_does_not_answer_as_it_did_not_before_is_kept(
    here: ExporterNode, before: str, after: str, words: str
) -> None:
    def look(url: str, patience: float) -> Shown:
        return Shown(fault=after if here.loaded[0] == NEW else before) if before or here.loaded[0] == NEW else WHOLE

    here.silent = {NEW}
    unit = replace(here.unit(), look=look)
    desired = last_good.fingerprint(NEW)
    done = service.act(unit, "running", desired, service.plan(unit, "running", desired, False))
    assert words in done.problem
    assert here.loaded[0] == (NEW if "Nothing" in words else OLD)


def test_an_answer_that_comes_late_is_slow_and_not_dead(here: ExporterNode) -> None:
    here.silent = {NEW}
    unit = replace(here.unit(), look=lambda url, patience: replace(WHOLE, seconds=45.0))
    gate.note(WHOLE)
    desired = last_good.fingerprint(NEW)
    done = service.act(unit, "running", desired, service.plan(unit, "running", desired, False))
    assert (done.problem, done.notes) == ("", ["/metrics answers in 45 s"])


def test_other_gpus_by_the_administrators_choice_are_not_missed(here: ExporterNode) -> None:
    here.environment.write_text('DCGM_EXPORTER_DEVICES_STR="g:0"\n')
    here.pages[NEW] = Shown(ONE, ONE)
    assert change(here) == service.Done()


EXPECTED = {
    "": 2,
    'DCGM_REMOTE_HOSTENGINE_INFO="localhost:5555"': 2,
    'DCGM_REMOTE_HOSTENGINE_INFO="[::1]:5555"': 2,
    'DCGM_REMOTE_HOSTENGINE_INFO="unix:///run/engine"': 2,
    'DCGM_REMOTE_HOSTENGINE_INFO="other:5555"': 0,
    'DCGM_EXPORTER_DEVICES_STR="f"': 2,
    'DCGM_EXPORTER_DEVICES_STR="g:1"': 0,
}


@pytest.mark.parametrize(("text", "count"), EXPECTED.items())
def test_the_nodes_gpus_are_expected_where_all_are_asked_for(here: ExporterNode, text: str, count: int) -> None:
    here.environment.write_text(f"{text}\n")
    assert len(service.verdicts.known_gpus()) == count


def lost(here: ExporterNode) -> str:
    unit = here.unit()
    long_ago = {"ActiveState": "active", "ActiveEnterTimestampMonotonic": str(int((time.monotonic() - 500) * 1e6))}
    return service.verdicts.lost_profiling(replace(unit, show=lambda name: long_ago))


# what is known of the profiling rows, whether somebody touched the counters since the start: whether they are lost
LOST = {
    ("shown", False): True,
    ("shown", True): True,
    ("gone", True): True,
    ("gone", False): False,
    ("never", True): False,
    ("never", False): False,
}


@pytest.mark.parametrize(("known", "touched"), LOST)
def test_profiling_rows_are_lost_only_where_they_were(
    here: ExporterNode, monkeypatch: pytest.MonkeyPatch, known: str, touched: bool
) -> None:
    monkeypatch.setattr(rows, "counters_changed", lambda: time.time() - (100 if touched else 1000))
    last_good.note_profiling(known)
    assert lost(here) == ""
    here.reloaded = True
    told = lost(here)
    assert bool(told) is LOST[known, touched]
    assert ("was changed since it started" in told) is (bool(told) and touched)


@pytest.mark.parametrize("page", [Shown(fault="down"), Shown(fault="slow"), Shown(fault="hidden")])
def test_a_page_out_of_sight_has_lost_nothing(here: ExporterNode, page: Shown) -> None:
    last_good.note_profiling("shown")
    here.page = page
    assert lost(here) == ""


def test_an_exporter_that_started_without_gpus_is_started_once_more(here: ExporterNode) -> None:
    last_good.note_profiling("shown")
    here.page = Shown()
    assert "has no row of any GPU: it started when" in lost(here)
    assert service.verdicts.profiling(last_good.read(), here.page) == "gone"
    Path(paths.DEVICES).write_text("made 1\n")
    assert lost(here) == "", "the node has none"


def test_rows_that_nobody_asks_for_are_not_lost(here: ExporterNode) -> None:
    last_good.note_profiling("shown")
    here.reloaded = True
    assert lost(here)
    assert service.verdicts.lost_profiling(here.unit()) == "", "it started a moment ago"
    here.counters.unlink()
    here.counters.write_text("DCGM_FI_DEV_GPU_UTIL, gauge, x\n# DCGM_FI_PROF_GR_ENGINE_ACTIVE, gauge, y\n")
    assert lost(here) == ""


def test_what_was_lost_is_mended_once(here: ExporterNode, monkeypatch: pytest.MonkeyPatch) -> None:
    assert change(here) == service.Done()
    assert last_good.read()["profiling"] == "shown"
    here.reloaded, desired = True, last_good.fingerprint(NEW)
    monkeypatch.setattr(service.verdicts, "second_sample", lambda: -1.0)
    plan = service.plan(here.unit(), "running", desired, False)
    assert plan == {"service": {"old": "running", "new": "restarted"}}
    assert service.plan(here.unit(), "running", desired, False, mend=False) == {}
    # It does not help: a user's profiler has the counters of the GPUs.
    here.page = Shown(BOTH)
    done = service.act(here.unit(), "running", desired, plan)
    assert (done.problem, last_good.read()["profiling"]) == ("", "gone")
    monkeypatch.setattr(rows, "counters_changed", lambda: 0.0)
    assert service.plan(here.unit(), "running", desired, False) == {}


def test_a_look_without_a_change_tells_what_is_odd_and_notes_what_came(here: ExporterNode) -> None:
    last_good.note_profiling("gone")
    assert service.looked_at(here.unit()) == service.Done()
    assert last_good.read()["profiling"] == "shown"
    here.page = Shown(ONE, ONE)
    assert service.looked_at(here.unit()).notes == [f"/metrics has no row of {GPU_B}, which the device table has"]
    here.silent = {OLD}
    assert "no answer" in service.looked_at(here.unit()).problem
