"""The frame of a page that needs nothing else: style and charts are in it, light and dark, and no script."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

_STYLE = """
:root{color-scheme:light dark;--back:#fff;--text:#1d2329;--soft:#5b6670;--line:#d7dde2;--one:#2f6f4f;--two:#b3541e;
--three:#2b5c9e;--warn:#8a5a00;--fill:#e8f1ec;
--part:#b9d3c5;--none:#d5d9de}
@media (prefers-color-scheme:dark){:root{--back:#14181c;--text:#e3e7ea;--soft:#98a4ae;--line:#343c44;--one:#6fc397;
--two:#f0955a;--three:#7fb0ee;--warn:#e6b450;--fill:#1e2c25;--part:#3f6b58;--none:#434b53}}
body{background:var(--back);color:var(--text);font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:64rem;
padding:0 1rem}
h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .5rem}p{margin:.3rem 0}.soft{color:var(--soft)}
.warn{color:var(--warn)}dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.5rem;margin:1rem 0}
dt{color:var(--soft)}dd{margin:0}.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{padding:.25rem .6rem;text-align:right;border-bottom:1px solid var(--line);white-space:nowrap}
th{color:var(--soft);font-weight:600}th.name,td.name{text-align:left}
svg{width:100%;min-width:40rem;height:auto;display:block}svg rect{shape-rendering:crispEdges}
svg text{fill:var(--soft);font:11px system-ui,sans-serif}
.grid{stroke:var(--line);stroke-width:1}.line{fill:none;stroke:var(--one);stroke-width:1.5}.area{fill:var(--fill)}
.bar{fill:var(--part)}.used,.cell{fill:var(--one)}.idle{fill:var(--two)}.none{fill:var(--none)}
.keys svg{display:inline;width:.8em;min-width:0;height:.8em;margin-right:.4em}
.keys span{margin-right:1em;white-space:nowrap}
li{margin:.4rem 0}
"""


def page(title: str, parts: Iterable[str]) -> str:
    """Return a whole page; its own policy forbids to load anything."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en"><head><meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style></head><body>",
            f"<h1>{escape(title)}</h1>",
            *parts,
            "</body></html>",
            "",
        ]
    )


def heading(text: str) -> str:
    """Return a heading."""
    return f"<h2>{escape(text)}</h2>"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """Return what is said of the whole, by its label."""
    return "<dl>" + "".join(f"<dt>{escape(label)}</dt><dd>{escape(text)}</dd>" for label, text in pairs) + "</dl>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """Return a table, of which the first ``left`` columns are names."""

    def line(kind: str, cells: Sequence[str]) -> str:
        names = [' class="name"' if column < left else "" for column in range(len(cells))]
        inner = (f"<{kind}{name}>{escape(cell)}</{kind}>" for name, cell in zip(names, cells, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(line("td", row) for row in rows)
    return f'<div class="scroll"><table><thead>{line("th", header)}</thead><tbody>{body}</tbody></table></div>'


def hints(found: Iterable[tuple[str, str]]) -> str:
    """Return hints, each with its rule."""
    items = (f'<li>{escape(text)}<br><span class="soft">Rule: {escape(rule)}.</span></li>' for text, rule in found)
    return f"<ul>{''.join(items)}</ul>"


def keys(meanings: Mapping[str, str]) -> str:
    """Return what colours mean, by their class."""

    def key(kind: str, text: str) -> str:
        drawn = f'<rect class="{kind}" width="10" height="10"/>'
        return f'<span><svg viewBox="0 0 10 10" aria-hidden="true">{drawn}</svg>{escape(text)}</span> '

    return f'<p class="keys soft">{"".join(key(*one) for one in meanings.items())}</p>'


def note(text: str, kind: str = "soft") -> str:
    """Return a remark."""
    return f'<p class="{kind}">{escape(text)}</p>'
