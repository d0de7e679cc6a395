"""Times as people write them mean what Prometheus means, also where clocks are set."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from superpod.errors import SuperpodError
from superpod.reports import text, times

REPOSITORY = Path(__file__).resolve().parents[3]
NOW = 1_800_000_000.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # By rule, so that no file of zones is needed.
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("7d", 604800), ("1d12h", 129600), ("90m", 5400), ("2w", 1209600), ("1y", 31536000), ("45s", 45)],
)
def test_spans_are_those_of_prometheus(given: str, seconds: int) -> None:
    assert times.span(given) == seconds and times.moment(given, NOW) == NOW - seconds


@pytest.mark.parametrize("given", ["", "7", "d", "0d", "7 d", "-7d", "1h1d", "7days", "1000y", "1.5h"])
def test_what_is_no_span_is_told(given: str) -> None:
    with pytest.raises(SuperpodError, match="is no span of time"):
        times.span(given)
    with pytest.raises(SuperpodError, match="is no time; write 7d"):
        times.moment(given, NOW)


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-11-27", 1795734000),
        ("2026-11-27T08:00", 1795762800),
        ("2026-07-01 08:00", 1782885600),
        ("2026-11-27T08:00Z", 1795766400),
        ("2026-10-25T02:30+02:00", 1792888200),
        ("2026-10-25T02:30+01:00", 1792891800),
        ("now", NOW),
    ],
)
def test_moments_are_those_of_this_zone_or_of_their_own(given: str, moment: float) -> None:
    assert times.moment(given, NOW) == moment


@pytest.mark.parametrize("given", ["0001-01-01", "9999-12-31", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00+14:00"])
def test_a_time_that_cannot_be_reckoned_is_told(given: str) -> None:
    with pytest.raises(SuperpodError, match="the year should be from 1971") as caught:
        times.moment(given, NOW)
    assert caught.value.exit_code == 2


def test_an_hour_that_comes_twice_or_never_is_a_question() -> None:
    with pytest.raises(SuperpodError, match=r"comes twice here.*02:30\+02:00 or 2026-10-25T02:30\+01:00"):
        times.moment("2026-10-25T02:30", NOW)
    with pytest.raises(SuperpodError, match=r"does not exist here.*\+01:00 or .*\+02:00"):
        times.moment("2026-03-29T02:30", NOW)


def test_the_zone_is_named_and_the_doubled_hour_can_be_told() -> None:
    assert times.show(1792888200) == "2026-10-25 02:30 CEST (+02:00)"
    assert times.show(1792891800, seconds=True) == "2026-10-25 02:30:00 CET (+01:00)"
    assert times.between(1792888200, 1792891800) == "2026-10-25 02:30 CEST (+02:00) to 02:30 CET (+01:00)"
    assert times.between(1795762800, 1795766400) == "2026-11-27 08:00 to 09:00 CET (+01:00)"
    assert times.between(1795762800, 1795852800) == "2026-11-27 08:00 to 2026-11-28 09:00 CET (+01:00)"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3700, "1 h 1 min"), (90000, "1 d 1 h"), (86400 + 60, "1 d 1 min")],
)
def test_spans_in_words(seconds: float, words: str) -> None:
    assert times.lasting(seconds) == words


@pytest.mark.parametrize(
    ("ratio", "shown"),
    [(None, "\u2013"), (0, "0 %"), (0.001, "<1 %"), (0.5, "50 %"), (0.994, ">99 %"), (0.99999, "100 %"), (1, "100 %")],
)
def test_nothing_little_and_unknown_are_three_things(ratio: float | None, shown: str) -> None:
    assert text.percent(ratio) == shown


@pytest.mark.parametrize(
    ("value", "unit", "base", "shown"),
    [
        *(
            (None, "W", 1000, "\u2013"),
            (0, "W", 1000, "0 W"),
            (999.9, "W", 1000, "1 kW"),
            (12345, "W", 1000, "12.3 kW"),
        ),
        *((1 << 30, "B", 1024, "1 GiB"), (91024 << 20, "B", 1024, "88.9 GiB"), (512 << 20, "B", 1024, "512 MiB")),
    ],
)
def test_amounts_have_their_unit(value: float | None, unit: str, base: int, shown: str) -> None:
    assert text.amount(value, unit, base) == shown


def test_a_line_of_bars_is_blank_where_nothing_is_known() -> None:
    assert text.sparkline([0, None, 0.5, 1], 1) == "▁ ▅█"
    assert text.sparkline([0.0] * 50 + [1.0] * 50, 1, 4) == "▁▁██"
    assert text.sparkline([None, None], 0) == "  "


def test_letters_that_a_terminal_lacks_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    class Latin:
        encoding = "ascii"

    monkeypatch.setattr(text.sys, "stdout", Latin())
    assert text.fitting("a\x1b[2Jb\n") == "a?[2Jb?"
    assert text.fitting("▁█ \u2013 a · b … Zoë") == "_@ - a | b ~ Zo?"


def test_sentences_are_folded_and_words_are_whole() -> None:
    lines = text.folded("word " * 40 + "x" * 100, "  ")
    assert max(map(len, lines[:-1])) <= 80 and lines[-1].strip() == "x" * 100


@pytest.mark.parametrize(
    ("target", "code", "words"), [("/dev/full", 1, "cannot be printed: No space left"), ("", 1, "")]
)
def test_a_full_disk_is_a_sentence_and_a_closed_pipe_is_none(target: str, code: int, words: str) -> None:
    program = "from superpod.cli import main\nfrom superpod.reports import cli, text\nimport click\n"
    program += (
        "main.add_command(click.Command('many', callback=lambda: text.show(['x' * 70] * 9999)))\nmain(['many'])\n"
    )
    command = [sys.executable, "-c", program]
    if target:
        with open(target, "w") as full:
            answer = subprocess.run(command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True)
        error, status = answer.stderr, answer.returncode
    else:
        with subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as run:
            assert run.stdout and run.stderr
            run.stdout.close()
            error, status = run.stderr.read(), run.wait()
    assert "Traceback" not in error and words in error and status == code
