"""The exporter's unit: how it is reached, and why it does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from superpod_dcgm.base import systemd
from superpod_dcgm.exporter import environment, listener, probe, rows, trouble


def _unjudged(highest: Mapping[str, float]) -> str:
    return ""


@dataclass(frozen=True)
class Unit:
    """
    The exporter's unit, the address of its ``/metrics``, and the seconds in which it must answer.

    ``judge`` says in a sentence what is odd with a page by the highest value of each metric. The rest is how systemd
    and the exporter are reached; tests give their own.
    """

    name: str
    url: str
    timeout: int
    systemctl: Callable[..., str] = systemd.systemctl
    show: Callable[[str], dict[str, str]] = systemd.show
    await_metrics: Callable[[str, str, float, float], str] = probe.await_metrics
    look: Callable[[str, float], rows.Shown] = rows.look
    explain: Callable[[str, float], str] = trouble.explain
    obstacle: Callable[[str, str], str] = listener.obstacle
    judge: Callable[[Mapping[str, float]], str] = _unjudged

    def problem(self, since: float | None = None, patience: float = probe.ANSWER_TIMEOUT) -> str:
        """
        Return why the exporter does not answer in time, or an empty string: its own words first.

        :param since: moment of ``time.monotonic`` at which it was started; by default now.
        :param patience: seconds that one answer may take.
        """
        since = time.monotonic() if since is None else since
        reason = self.await_metrics(self.name, self.url, self.timeout, patience)
        why = self.explain(self.name, since) if reason else ""
        return f"{f'{why}. ' if why else ''}{reason} after {self.timeout} s" if reason else ""

    def shows(self) -> rows.Shown:
        """Return what the page shows now."""
        return self.look(self.url, rows.PATIENCE)

    def as_in(self, good: dict[str, Any], longest: int | None = None) -> Unit:
        """
        Return the unit as it is asked with what was good, whose address and patience may be others.

        :param longest: most seconds that it may take.
        """
        # A record of an earlier release has neither: the file that was put back says where it listens.
        url = good.get("url") or environment.metrics_url(environment.read()) or self.url
        timeout = good.get("timeout") or self.timeout
        return replace(self, url=url, timeout=min(timeout, longest or timeout))
