"""The live view: asks again and again, and goes on when the server does not answer for a while."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from rich.console import Group
from rich.live import Live
from rich.text import Text

from superpod import ui
from superpod.errors import SuperpodError
from superpod.reports import nothing, text, top, top_text
from superpod.reports.prometheus import Client, matchers
from superpod.reports.times import show
from superpod.reports.top import Now


@dataclass(frozen=True)
class Place:
    """What is looked at: all, a node, or one of its GPUs."""

    client: Client
    cluster: str
    node: str = ""
    gpu: str = ""

    def lines(self, at: float, span: float, size: top_text.Size) -> Iterator[str]:
        """
        Return the view of a moment, for a terminal of so many columns and lines.

        :raises SuperpodError: the server does not answer, or has nothing of it.
        """
        return self._histories(at, span, size[0]) if self.node else self._overview(at, size)

    def _overview(self, at: float, size: top_text.Size) -> Iterator[str]:
        levels = (("cluster", top.NODE), ("node", top.NODE), ("job", top.JOB))
        calls: list[Callable[[], list[Now]]] = [
            partial(top.level, self.client, name, records, at, self.cluster) for name, records in levels
        ]
        clusters, nodes, jobs = self.client.together(calls)
        # Of two owners that somebody names, one holds the job's GPUs.
        jobs = [one for one in jobs if "held" in one.values]
        if not nodes:
            raise SuperpodError(nothing.at_all(self.client, at) or "No node is recorded now: all are silent.", 3)
        return top_text.overview(clusters, nodes, jobs, at, size)

    def _histories(self, at: float, span: float, width: int) -> Iterator[str]:
        number, _, instance = self.gpu.partition(".")
        window = (at - span, at)
        if not self.cluster:
            self._same_name(at, span)
        found = top.histories(self.client, window, self.cluster, self.node, number)
        found = [one for one in found if one.instance == instance] if instance else found
        if not found:
            name = self.node + (f" GPU {self.gpu}" if self.gpu else "")
            why = nothing.at_all(self.client, at)
            raise SuperpodError(why or f"There is no data of {name} since {show(at - span)}.", 3)
        if not self.gpu:
            return top_text.node(found, window, width)
        return (line for one in found for line in top_text.gpu(one, window, width))

    def _same_name(self, at: float, span: float) -> None:
        """Raise an error where several clusters have a node of this name."""
        sample = f"gpu:memory_used_bytes:max{{{matchers(host=self.node)}}}[{round(span)}s]"
        rows = self.client.instant(f"group by (cluster) (last_over_time({sample}))", at)
        names = sorted(row.labels.get("cluster", "") or "(none)" for row in rows)
        if len(names) > 1:
            where = " and ".join(names)
            raise SuperpodError(f"The clusters {where} have a node {self.node}: choose one with --cluster.", 2)


def live(place: Place, span: float, interval: float) -> None:
    """
    Show it until Ctrl-C; an answer that fails later on is told, and asked for again.

    :raises SuperpodError: there is not even a first answer.
    """
    shown = list(place.lines(time.time(), span, _size()))
    with contextlib.suppress(KeyboardInterrupt), Live(console=ui.out, screen=True, auto_refresh=False) as screen:
        while True:
            screen.update(_drawn(shown), refresh=True)
            time.sleep(interval)
            try:
                shown = list(place.lines(time.time(), span, _size()))
            except SuperpodError as error:
                shown = [*(line for line in shown if line[:1] != "!"), f"!{error}"]


def _size() -> top_text.Size:
    return ui.out.size.width, ui.out.size.height


def _drawn(lines: list[str]) -> Group:
    styles = {"#": "bold", "!": "yellow"}
    parts = [(styles.get(line[:1], ""), line) for line in lines]
    return Group(*(Text(text.fitting(line[1:] if style else line), style=style) for style, line in parts))
