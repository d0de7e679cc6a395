"""Pages of reports in a Chromium: light and dark, wide and narrow, with nothing from elsewhere, and readable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import report_bench as bench
import report_cases as cases
from click.testing import CliRunner
from superpod_dcgm.monitoring import recording

from superpod.cli import main
from superpod.lab import browser
from tests import chromium

# What is asked of each page; `ratio` is that of WCAG, between text and what is behind it.
QUESTIONS = """(() => {
  const all = (what) => [...document.querySelectorAll(what)];
  const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
  const light = (colour) => {
    const [red, green, blue] = colour.match(/[\\d.]+/g).map((one) => linear(one / 255));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const back = getComputedStyle(document.body).backgroundColor;
  const ratio = (colour) => {
    const [more, less] = [light(colour), light(back)].sort((one, other) => other - one);
    return (more + 0.05) / (less + 0.05);
  };
  const outside = (text) => {
    const [inner, outer] = [text.getBoundingClientRect(), text.closest('svg').getBoundingClientRect()];
    return inner.left < outer.left - 1 || inner.right > outer.right + 1 || inner.bottom > outer.bottom + 1;
  };
  const texts = all('h1, h2, p, dt, dd, li, th, td').filter((one) => one.textContent.trim());
  return {
    asked: performance.getEntriesByType('resource').length,
    scripts: all('script, link, img, iframe, object').length,
    back: back,
    wide: document.documentElement.scrollWidth - window.innerWidth,
    pale: texts.map((one) => [one.textContent, ratio(getComputedStyle(one).color)]).filter((one) => one[1] < 4.5),
    faint: all('svg text').filter((one) => ratio(getComputedStyle(one).fill) < 4.5).length,
    cut: all('svg text').filter(outside).map((one) => one.textContent),
    small: all('.scroll svg text').filter((one) => one.getBoundingClientRect().height < 7).length,
    charts: all('.scroll svg').map((one) => [one.querySelector('title').textContent,
      [...one.querySelectorAll('rect, polyline')].filter((part) => {
        const box = part.getBoundingClientRect();
        return box.width > 0 && box.height >= 0 && box.width + box.height > 1;
      }).length]),
    lowest: Math.max(...all('svg .area').map((one) => one.getBBox().height), 0),
  };
})()"""
PAGES = {
    "a job": ("job 4711", 5),
    "a job of which a part is not known": ("job 901", 5),
    "a job of two tries": ("job 4720", 5),
    "a job on an instance": ("job 502", 5),
    "a job of which no use is known": ("job 601", 2),
    "users": ("report --since 3h", 1),
    "jobs of a user": ("report --since 3h --user alice", 1),
}


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Each page, made of what a Prometheus has of the cases of reports."""
    chromium.needed()
    folder = tmp_path_factory.mktemp("pages")
    begin = time.time() // 60 * 60 - 2 * 3600
    rules = [rule for group in recording.groups(recording.Settings()) for rule in group["rules"]]
    with bench.Server("3", tmp_path_factory.mktemp("prometheus")).running() as server:
        server.write(bench.raw(cases.series("both"), begin))
        server.record(rules, begin + bench.AFTER, 50)
        found = {}
        for name, (line, _) in PAGES.items():
            found[name] = folder / f"{len(found)}.html"
            words = [*line.split(), "--prometheus", server.address, "--html", str(found[name])]
            words += ["--no-slurm"] if line.startswith("job") else []
            answer = CliRunner().invoke(main, words, env={"SUPERPOD_CONFIG": "/dev/null"})
            assert answer.exit_code in (0, 3), answer.output
    # The server is gone: the pages need it no longer.
    yield found


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_whole_and_can_be_read(pages: dict[str, Path], name: str) -> None:
    backs = set()
    for dark, width in ((False, 1280), (True, 390)):
        found: dict[str, Any] = chromium.opened(pages[name], dark, width, QUESTIONS).answer
        backs.add(found["back"])
        assert (found["asked"], found["scripts"]) == (0, 0)
        assert (found["pale"], found["faint"], found["cut"], found["small"]) == ([], 0, [], 0)
        assert found["wide"] <= 0, "a narrow window moves charts and tables, not the whole page"
        charts = dict(found["charts"])
        assert len(charts) == PAGES[name][1] and all(charts.values()), charts
        assert len(charts) < 5 or found["lowest"] > 20
    assert len(backs) == 2, "dark is as light"


def test_what_is_wrong_with_a_page_is_found(tmp_path: Path) -> None:
    drawn = '<div class="scroll"><svg viewBox="0 0 900 50"><title>Use</title><rect width="0" height="9"/>{}</svg></div>'
    text = '<text x="9" y="20" text-anchor="end" font-size="3" fill="#ccc">a long name that is cut</text>'
    wide = '<p style="width:1500px;color:#bbb">pale</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    (tmp_path / "page.html").write_text(f"<body style='background:#fff'>{drawn.format(text)}{wide}")
    found = chromium.opened(tmp_path / "page.html", False, 390, QUESTIONS).answer
    assert [one[0] for one in found["pale"]] == ["pale"] and found["faint"] == 1 == found["small"]
    assert found["cut"] == ["a long name that is cut"] and found["wide"] > 0 and found["scripts"] == 1
    assert found["charts"] == [["Use", 0]]


def test_a_page_that_asks_for_something_is_found(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<script>fetch('http://127.0.0.1:9/')</script>")
    chromium.needed()
    found = browser.look(tmp_path / "page.html", ask="performance.getEntriesByType('resource').length")
    assert found.errors and found.answer >= 0
