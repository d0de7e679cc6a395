"""The status fits a terminal of 80 by 24, says what is wrong first, and hides no problem behind another."""

from __future__ import annotations

import pytest
from superpod_dcgm.fleet import report, status_table
from superpod_dcgm.fleet.outcomes import DOWN, Outcome

WELL = {
    **{"roles": ["slurmclient"], "category": "dgx", "type": "PhysicalNode", "since": "t", "head": False},
    **{"minion": "m", "deployed": "t", "service": "running", "release": "4.5.3-4.8.2", "seen": "t", "silent": None},
    **{"age": 130, "pending": False, "wanted": "running", "problem": None},
}
HEAD = {**WELL, "head": True, "minion": None, "roles": ["headnode", "slurmserver"], "wanted": None, "age": None}
WATCHER = {
    **{"source": "bcm", "seq": 3, "updated": "t", "head": "master", "failures": 0, "error": None, "error_since": None},
    **{"target_problems": [], "age": 14, "release": "4.5.3-4.8.2"},
}
SILENT = "did not answer when it was last asked"
LONG = "a-name-of-a-node-that-somebody-thought-about-in-rack-12-position-17"


def shown(nodes, width=80, height=24, **more):
    return status_table.render({**WATCHER, **more, "nodes": nodes}, width, height).splitlines()


def many(count, **changes):
    return {f"dgx-{number:04}": {**WELL, **changes} for number in range(count)}


def test_two_healthy_nodes_are_two_rows_below_the_watcher_and_the_heads() -> None:
    nodes = {"bcm-01": HEAD, "dgx-01": WELL, "dgx-02": {**WELL, "wanted": "stopped", "service": "stopped", "roles": []}}
    assert shown(nodes) == [
        "roles    bcm, answered by master 14s ago; failed polls since: 0",
        "release  4.5.3-4.8.2 in the pillar",
        "",
        "HEADS (1)",
        "bcm-01  headnode, slurmserver",
        "",
        "NODES (2)  WANTED   IS       RELEASE      ASKED  ROLES",
        "dgx-01     running  running  4.5.3-4.8.2  2m     slurmclient",
        "dgx-02     stopped  stopped  4.5.3-4.8.2  2m     none",
    ]


def test_what_is_wrong_comes_first_and_equal_problems_share_their_sentence() -> None:
    down = {**WELL, "problem": SILENT}
    nodes = {"a": WELL, "b": down, "c": {**WELL, "problem": "is stopped, should be running"}, "d": down}
    lines = shown(nodes)
    assert [line.split("  ")[0].strip() or line.strip() for line in lines[3:9]] == [
        "PROBLEMS (3)",
        "c",
        "is stopped, should be running",
        "b",
        "d",
        SILENT,
    ]
    assert lines[10].startswith("NODES (1)") and lines[11].startswith("a ")


STATES = {
    "never asked": ({"service": None, "release": None, "age": None}, ["running", "?", "-", "never"], "?: not asked"),
    "not deployed": (
        {"service": "stopped", "release": None, "deployed": None},
        ["running", "absent", "-", "2m"],
        "absent: dcgm was never applied",
    ),
    "no minion": (
        {"minion": None, "service": None, "release": None, "age": None},
        ["running", "no minion", "-", "-"],
        "no minion: no accepted minion",
    ),
    "roles unknown": ({"roles": None, "wanted": "unknown"}, ["unknown", "running", "4.5.3-4.8.2", "2m", "unknown"], ""),
}


@pytest.mark.parametrize(("changes", "cells", "hint"), STATES.values(), ids=STATES.keys())
def test_every_state_has_its_word_and_a_rare_one_its_explanation(changes, cells, hint) -> None:
    lines = shown({"a": {**WELL, **changes}})
    row = next(line for line in lines if line.startswith("a "))
    assert [cell.strip() for cell in row.split("  ") if cell.strip()][1 : len(cells) + 1] == cells
    assert any(line.startswith(hint) for line in lines)


def test_two_thousand_healthy_nodes_are_a_line_per_category_and_state() -> None:
    nodes = {
        name: {**line, "category": "h100" if number % 4 else "a100"}
        for number, (name, line) in enumerate(many(2000).items())
    }
    nodes["dgx-0001"] = {**nodes["dgx-0001"], "service": "stopped", "wanted": "stopped", "roles": [], "age": 7300}
    lines = shown({"bcm-01": HEAD, **nodes})
    assert len(lines) == 10
    assert [line.split() for line in lines[7:]] == [
        ["1,499", "h100", "running", "running", "4.5.3-4.8.2", "2m", "slurmclient"],
        ["500", "a100", "running", "running", "4.5.3-4.8.2", "2m", "slurmclient"],
        ["1", "h100", "stopped", "stopped", "4.5.3-4.8.2", "2h", "none"],
    ]


def test_roles_that_only_some_have_are_dots() -> None:
    nodes = many(40)
    nodes["dgx-0001"] = {**WELL, "roles": ["login", "slurmclient"]}
    assert shown(nodes)[-1].endswith("slurmclient, ...")


def test_five_hundred_silent_nodes_do_not_hide_two_others_and_fit_the_screen() -> None:
    nodes = {**many(1500), **{f"down-{number:03}": {**WELL, "problem": SILENT} for number in range(500)}}
    nodes["x"] = {**WELL, "problem": "no room on the device"}
    nodes["y"] = {**WELL, "release": "old", "problem": "has release old, the pillar has new"}
    lines = shown({"bcm-01": HEAD, **nodes})
    assert len(lines) < 24 and lines[3].startswith("PROBLEMS (502)")
    text = "\n".join(lines)
    assert "no room on the device" in text and "has release old" in text
    listed = sum(line.startswith("down-") for line in lines)
    assert f"    and {500 - listed} nodes more: {SILENT}" in lines


def test_hundreds_of_different_problems_end_in_a_count() -> None:
    nodes = {name: {**line, "problem": f"no room on {name}"} for name, line in many(300).items()}
    lines = shown(nodes)
    assert len(lines) < 24 and lines[-1] == "    and 291 nodes with 291 other problems; --out=json has all"


def test_a_higher_terminal_shows_more() -> None:
    nodes = {name: {**line, "problem": SILENT} for name, line in many(40).items()}
    assert sum(line.startswith("dgx-") for line in shown(nodes, height=60)) == 40


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal_whatever_names_and_texts_are_like(width) -> None:
    line = {**WELL, "roles": ["role-with-a-long-name"] * 9, "category": "category-with-a-very-long-name"}
    nodes = {LONG: {**line, "problem": "a reason " * 60}, "a": {**line, "release": "4.5.3-4.8.2-and-what-a-site-adds"}}
    more = {"error": "https://master:8081 " * 20, "error_since": "t", "target_problems": ["/cm/shared " * 20] * 5}
    lines = shown({**nodes, "bcm-01": {**HEAD, "roles": ["role"] * 40}}, width, **more)
    # A name that is too long for its column has a line of its own, whole.
    assert [one for one in lines if len(one) > width] == ([LONG] if len(LONG) > width else [])
    assert lines[lines.index(LONG) + 1].split()[:2] == ["running", "running"]


def test_troubles_of_the_watcher_stand_at_the_head() -> None:
    text = "\n".join(shown({}, failures=3, error="refused", error_since="12:00", target_problems=["no room"] * 5))
    assert "failed polls since: 3" in text
    assert (
        "error    refused (since 12:00)" in text and "targets  no room" in text and "targets  2 more problems" in text
    )
    assert "never answered yet" in "\n".join(shown({}, updated=None, age=None))


AGES = {None: "never", 0: "0s", 59: "59s", 60: "1m", 3599: "59m", 7300: "2h", 200000: "2d"}


@pytest.mark.parametrize(("seconds", "text"), AGES.items())
def test_an_age_is_one_number(seconds, text) -> None:
    assert status_table.age(seconds) == text


def test_a_report_shows_what_the_nodes_said_when_asked() -> None:
    outcomes = {"a": Outcome("ok", "fine"), "b": Outcome("failed", "release old"), "c": DOWN}
    nodes = {"a": WELL, "b": WELL, "c": {**WELL, "problem": SILENT}, "bcm-01": HEAD}
    found = report.on_health({**WATCHER, "nodes": nodes}, outcomes)
    assert (found["failed"], found["down"], found["nodes"]["b"]["problem"]) == (["b"], ["c"], "release old")
    assert found["nodes"]["c"]["problem"] == SILENT
    assert "asked    3 nodes: 1 failed, 1 down" in status_table.render(found)
    nobody = report.on_health({**WATCHER, "nodes": {}}, {})
    assert "problem  no accepted minion is matched" in status_table.render(nobody)


def test_even_fifty_problems_and_thirty_categories_fit_the_screen() -> None:
    nodes = many(2000)
    for number, line in enumerate(nodes.values()):
        line.update(category=f"c{number % 30}", problem=None if number % 3 else f"problem {number % 50}")
    assert len(shown({"bcm-01": HEAD, **nodes})) < 24
