"""The status of watcher and nodes as text that fits one screen: what is wrong first, many nodes summed up."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

_TITLES = ("WANTED", "IS", "RELEASE", "ASKED", "ROLES")
# A longer text is cut, a longer name gets a line of its own.
_WIDEST = 18
_NAME = 24
_UNITS = ((86400, "d"), (3600, "h"), (60, "m"))
# Rows for nodes, of those with problems and of the others, that are shown even if they do not fit.
_FEWEST = 4


def render(found: Mapping[str, Any], width: int = 80, height: int = 24) -> str:
    """
    Return the text.

    :param found: what ``bcm.status`` returns.
    :param width: columns of the terminal; fewer than 60 are not enough for a table.
    :param height: its lines.
    """
    for room in range(max(height, _FEWEST), _FEWEST, -1):
        # The last line is the prompt's.
        if len((text := _page(found, max(width, 60), room)).splitlines()) < height:
            return text
    return _page(found, max(width, 60), _FEWEST)


def age(seconds: int | None) -> str:
    """Return an age in its largest unit."""
    if seconds is None:
        return "never"
    return next((f"{seconds // size}{unit}" for size, unit in _UNITS if seconds >= size), f"{seconds}s")


def _page(found: Mapping[str, Any], width: int, room: int) -> str:
    nodes = {name: line for name, line in found["nodes"].items() if not line["head"]}
    wrong = {name: line for name, line in nodes.items() if line["problem"]}
    right = {name: line for name, line in nodes.items() if not line["problem"]}
    parts = [
        _own(found, width),
        _problems(wrong, room, width),
        _heads({name: line for name, line in found["nodes"].items() if line["head"]}, width),
        _nodes(right, room, width),
        _hints(nodes, width),
    ]
    return "\n\n".join("\n".join(part) for part in parts if part)


def _own(found: Mapping[str, Any], width: int) -> list[str]:
    answered = f"answered by {found['head']} {age(found['age'])} ago" if found["updated"] else "never answered yet"
    lines = [
        ("roles", f"{found['source']}, {answered}; failed polls since: {found['failures']}"),
        ("release", f"{found['release'] or 'none'} in the pillar"),
    ]
    if found["error"]:
        lines.append(("error", f"{found['error']} (since {found['error_since']})"))
    lines += [("targets", problem) for problem in found["target_problems"][:3]]
    if more := len(found["target_problems"]) - 3:
        lines += [("targets", f"{more} more problems")] if more > 0 else []
    lines += [("list", problem) for problem in found.get("list_problems", [])[:3]]
    if (more := len(found.get("list_problems", [])) - 3) > 0:
        lines.append(("list", f"{more} more problems"))
    if "asked" in found:
        failed, down = len(found["failed"]), len(found["down"])
        lines.append(("asked", f"{_nodes_text(found['asked'])}: {failed} failed, {down} down"))
    if found.get("problem"):
        lines.append(("problem", found["problem"]))
    return [line for key, text in lines for line in _wrapped(text, f"{key:9}", width, " " * 9)]


def _problems(nodes: Mapping[str, Mapping[str, Any]], room: int, width: int) -> list[str]:
    if not nodes:
        return []
    groups: dict[str, list[str]] = {}
    for name, line in nodes.items():
        groups.setdefault(line["problem"], []).append(name)
    # What only few nodes have is not to be lost behind what many have.
    ordered = sorted(groups.items(), key=lambda group: (len(group[1]), group[1]))
    shown, each = ordered[:room], max(1, room // len(ordered))
    if len(nodes) <= room:
        each = room
    rows: list[tuple[str, ...] | str] = [(f"PROBLEMS ({len(nodes):,})", *_TITLES)]
    for problem, names in shown:
        rows += [_row(name, nodes[name]) for name in names[:each]]
        more = f"and {_nodes_text(len(names) - each)} more: " if len(names) > each else ""
        rows.append(f"{more}{problem}")
    if rest := ordered[room:]:
        left = _nodes_text(sum(len(names) for _, names in rest))
        rows.append(f"and {left} with {len(rest)} other problems; --out=json has all")
    return _table(rows, width)


def _heads(heads: Mapping[str, Mapping[str, Any]], width: int) -> list[str]:
    longest = max(map(len, heads), default=0)
    rows = [f"{name:{longest}}  {', '.join(line['roles'] or []) or 'roles not known'}" for name, line in heads.items()]
    return [f"HEADS ({len(heads)})", *(_cut(row, width) for row in rows)] if heads else []


def _nodes(nodes: Mapping[str, Mapping[str, Any]], room: int, width: int) -> list[str]:
    if not nodes:
        return []
    title = (f"NODES ({len(nodes):,})", *_TITLES)
    if len(nodes) <= room:
        return _table([title, *(_row(name, line) for name, line in nodes.items())], width)
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for line in nodes.values():
        groups.setdefault((line["category"] or "", *_state(line)), []).append(line)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    rows: list[tuple[str, ...] | str] = [title]
    for (category, *state), lines in ordered[:room]:
        rows.append((f"{len(lines):,} {category}".rstrip(), *state, _oldest(lines), _common(lines)))
    if rest := ordered[room:]:
        rows.append(f"and {_nodes_text(sum(len(lines) for _, lines in rest))} of {len(rest)} other kinds")
    return _table(rows, width)


def _hints(nodes: Mapping[str, Mapping[str, Any]], width: int) -> list[str]:
    states = Counter(_state(line)[1] for line in nodes.values())
    texts = {
        "?": "?: not asked yet; `salt-run bcm.status ask=True` asks every node",
        "absent": "absent: dcgm was never applied there; `salt NODE state.apply` does that",
        "no minion": "no minion: no accepted minion that hosts:nodes matches",
    }
    return [line for key, text in texts.items() if states[key] for line in _wrapped(text, "", width, "  ")]


def _state(line: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what is wanted of a node, what it is, and its release."""
    if line["minion"] is None:
        is_now = "no minion"
    elif not line["deployed"] and line["release"] is None and line["service"] != "running":
        is_now = "absent"
    else:
        is_now = line["service"] or "?"
    return line["wanted"] or "", is_now, line["release"] or "-"


def _row(name: str, line: Mapping[str, Any]) -> tuple[str, ...]:
    roles = "unknown" if line["roles"] is None else ", ".join(line["roles"]) or "none"
    return name, *_state(line), age(line["age"]) if line["minion"] else "-", roles


def _oldest(lines: Iterable[Mapping[str, Any]]) -> str:
    ages = [line["age"] for line in lines if line["minion"]]
    return age(None if None in ages else max(ages)) if ages else "-"


def _common(lines: list[Mapping[str, Any]]) -> str:
    """Return the roles that all have, with dots if some have more."""
    sets = [set(line["roles"] or ()) for line in lines]
    common = sorted(set.intersection(*sets))
    return ", ".join(common + ["..."] * any(len(one) > len(common) for one in sets)) or "none"


def _nodes_text(count: int) -> str:
    return f"{count:,} node" if count == 1 else f"{count:,} nodes"


def _table(rows: list[tuple[str, ...] | str], width: int) -> list[str]:
    """Return aligned lines; a row that is one text is a sentence on the rows above it."""
    cells = [row for row in rows if not isinstance(row, str)]
    names = [len(row[0]) for row in cells if len(row[0]) <= _NAME]
    widths = [max(names, default=0)]
    widths += [min(_WIDEST, max(len(row[column]) for row in cells)) for column in range(1, len(cells[0]) - 1)]
    lines = []
    for row in rows:
        if isinstance(row, str):
            lines += _wrapped(row, "    ", width, "    ")
            continue
        name, *rest = row
        if len(name) > _NAME:
            lines.append(name)
            name = ""
        texts = [f"{_cut(text, size):{size}}" for text, size in zip((name, *rest[:-1]), widths, strict=True)]
        lines.append(_cut("  ".join([*texts, rest[-1]]).rstrip(), width))
    return lines


def _cut(text: str, size: int) -> str:
    return text if len(text) <= size else f"{text[: size - 2]}.."


def _wrapped(text: str, first: str, width: int, others: str) -> list[str]:
    lines = textwrap.wrap(" ".join(text.split()), width, initial_indent=first, subsequent_indent=others, max_lines=3)
    return lines or [first.rstrip()]
