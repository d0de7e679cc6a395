"""
The lab shows the dashboards, drawn with Grafana's UI library; a headless Chromium finds nothing wrong on them.

``./setup.sh test --long`` runs it: npm installs 400 packages, and Debian's Chromium is unpacked. No Grafana
server is involved.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dashboards import pictures
from superpod.errors import SuperpodError
from superpod.lab import Lab, browser, drawn, show

if not os.environ.get("SUPERPOD_TEST_LONG"):
    pytest.skip("./setup.sh test --long runs it", allow_module_level=True)


@pytest.fixture(scope="module")
def address(deployed: Lab, say: Callable[[str], None]) -> Iterator[str]:
    """Return where the dashboards are, with a job to be seen."""
    browser.ensure(deployed.log, say)
    job = deployed.run_job(2, 600)
    yield drawn.serve(deployed)
    deployed.exec("head", ["scancel", str(job)], check=True)


def seen(address: str, picture: pictures.Picture, last: int = 900) -> browser.Seen:
    now = int(time.time())
    return pictures.look(picture, address, now - last, now, "png")


def rows(found: browser.Seen, title: str) -> int:
    """Return how many rows or lines a panel has."""
    (panel,) = (one for one in found.answer.values() if one["title"] == title)
    return int(panel["rows"])


def test_the_end_of_up_names_them_honestly(deployed: Lab, address: str) -> None:
    assert show.dashboards_line(deployed) == (
        f"Dashboards: {address} (drawn with Grafana's UI library, not by a Grafana server)"
    )


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("board", ["cluster", "node", "job", "users", "health", "fleet"])
def test_nothing_is_wrong_on_a_dashboard(address: str, board: str, dark: bool) -> None:
    found = seen(address, pictures.Picture(board, dark, values={"host": "dgx-01"}))
    assert found.picture.startswith(b"\x89PNG")


def test_what_the_lab_does_is_seen(address: str, wait_until: Callable[..., object]) -> None:
    board = pictures.Picture("node", values={"host": "dgx-01", "cluster": "superpod"})
    wait_until("GPUs of dgx-01 on its dashboard", lambda: rows(seen(address, board), "Temperature") == 8, 180, 5)


def test_a_panel_that_is_refused_is_found(address: str) -> None:
    now = int(time.time())
    with pytest.raises(SuperpodError, match="end timestamp"):
        pictures.look(pictures.Picture("cluster"), address, now, now - 900)


def test_a_dashboard_that_is_not_there_is_found(address: str) -> None:
    with pytest.raises(SuperpodError, match=r"404 .*superpod-nothing.*page: "):
        seen(address, pictures.Picture("nothing"))


PAGE = """<!doctype html><title>x</title><style>:root { color-scheme: light dark } p { height: 3000px }</style><p></p>
<script>
fetch("ADDRESS/dashboards.json").then(() => console.error("reached"), () => console.error("not reached"));
document.title = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
throw new Error("planted");
</script>"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_file_is_seen_whole_and_reaches_nothing(address: str, tmp_path: Path, scheme: str) -> None:
    page = tmp_path / "page.html"
    page.write_text(PAGE.replace("ADDRESS", address))
    found = browser.look(page, scheme == "dark", width=500, ask="[document.title, innerWidth, innerHeight]")
    assert (found.answer[:2], found.answer[2] >= 3000) == ([scheme, 500], True)
    assert any("planted" in error for error in found.errors)
    assert "reached" not in found.errors
