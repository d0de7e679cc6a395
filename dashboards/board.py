"""A dashboard: what all have in common, and how rows of panels become one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_foundation_sdk.builders import dashboard as d
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as m

from dashboards import links
from dashboards.parts import WHOLE, Panel
from dashboards.variables import Variable, datasource


@dataclass(frozen=True)
class Row:
    """Panels under a title. ``closed``: they ask nothing until somebody opens the row."""

    title: str
    panels: Sequence[Panel]
    closed: bool = False


@dataclass(frozen=True)
class Board:
    """
    A dashboard.

    ``time``: how far back it shows at first. ``refresh``: how often it asks again; Grafana refuses less than its
    ``min_refresh_interval``. ``first``: panels above all rows.
    """

    uid: str
    title: str
    about: str
    time: str
    refresh: str
    variables: Sequence[Variable]
    rows: Sequence[Row]
    first: Sequence[Panel] = ()
    annotations: Sequence[d.AnnotationQuery] = ()

    def model(self) -> m.Dashboard:
        """Return it as the SDK has it."""
        found = d.Dashboard(f"SuperPOD {self.title}").uid(self.uid).description(self.about).tags([links.TAG])
        found = found.time(f"now-{self.time}", "now").refresh(self.refresh).timezone("browser").readonly()
        found = found.tooltip(m.DashboardCursorSync.CROSSHAIR).link(links.to_all())
        found = found.variables([datasource(), *self.variables]).annotations([*self.annotations])
        dashboard = found.build()
        dashboard.panels = self._panels()
        return dashboard

    def text(self) -> str:
        """Return its JSON."""
        found = json.loads(JSONEncoder().encode(self.model()))
        for variable in found["templating"]["list"]:
            _without(variable, "auto", "auto_count", "auto_min")
        for annotation in found["annotations"]["list"]:
            _without(annotation, "placement")
        for panel in (inside for one in found["panels"] for inside in (one, *one.get("panels", ()))):
            _without(panel.get("options", {}), "footer")
        return json.dumps(found, sort_keys=True, indent=1, ensure_ascii=False) + "\n"

    def _panels(self) -> list[m.Panel | m.RowPanel]:
        found: list[m.Panel | m.RowPanel] = [*self.first]
        below = placed(self.first, 0)
        for row in self.rows:
            place = m.GridPos(h=1, w=WHOLE, x=0, y=below)
            inside = [*row.panels]
            after = placed(inside, below + 1)
            panel = m.RowPanel(
                title=row.title, collapsed=row.closed, grid_pos=place, panels=inside if row.closed else []
            )
            found += [panel] if row.closed else [panel, *inside]
            # The panels of a closed row take no place.
            below = below + 1 if row.closed else after
        number(found)
        return found


def _without(content: dict[str, Any], *keys: str) -> None:
    """Take out what the SDK always writes: what Grafana's schema does not have, or hides in a menu."""
    for key in keys:
        content.pop(key, None)


def placed(panels: Sequence[Panel], top: int) -> int:
    """Place panels from left to right in lines below ``top``, and return where the last line ends."""
    left, line = 0, 0
    for panel in panels:
        place = panel.grid_pos
        assert place is not None
        if left + place.w > WHOLE:
            left, top, line = 0, top + line, 0
        place.x, place.y = left, top
        left, line = left + place.w, max(line, place.h)
    return top + line


def number(panels: Sequence[m.Panel | m.RowPanel]) -> None:
    """Give all panels numbers: links to one of them need it."""
    following = iter(range(1, 1000))
    for panel in panels:
        panel.id_val = next(following)
        for inside in panel.panels if isinstance(panel, m.RowPanel) else ():
            inside.id_val = next(following)
