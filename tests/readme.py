"""README's code blocks as what they are for: commands to run, files to write, output to expect."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

README = Path(__file__).resolve().parents[1] / "README.md"
# In README, the line before a fence tells readers nothing and tests what the block is:
#   <!-- run on MACHINE [as USER] -->   a script, every command of which succeeds
#   <!-- output -->                     what the script before it prints (loosely: see `printed`)
#   <!-- write MACHINE:PATH -->         all of a file
#   <!-- add to MACHINE:PATH -->        keys of a YAML file
#   <!-- not run: REASON -->
MARK = re.compile(r"<!-- (run on|output|write|add to|not run:)(?: (.*?))? -->")


@dataclass(frozen=True)
class Block:
    """A fenced block; `about` is what stands behind its mark's word."""

    section: str
    line: int
    kind: str
    about: str
    text: str


def blocks(text: str) -> Iterator[Block]:
    """Each fenced block with its mark; the kind of one without a mark is empty."""
    section, mark, begun, inside = "", None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            if begun:
                kind, about = mark.groups(default="") if mark else ("", "")
                yield Block(section, begun, kind.rstrip(":"), about, "".join(f"{part}\n" for part in inside))
                begun, mark, inside = 0, None, []
            else:
                begun = number
        elif begun:
            inside.append(line)
        elif line.startswith("#"):
            section = line.lstrip("# ")
        elif line.strip():
            mark = MARK.fullmatch(line)


def printed(expected: str, output: str) -> list[str]:
    """
    The lines of the expected output that the output does not have.

    Loosely: in any order, among others, with other numbers, other blanks, and anything for an ellipsis.
    """
    found = [" ".join(line.split()) for line in output.splitlines()]
    wanted = [" ".join(line.split()) for line in expected.splitlines() if line.strip()]
    return [line for line in wanted if not any(_pattern(line).fullmatch(other) for other in found)]


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.sub(r"\d+", r"\\d+", re.escape(part)) for part in line.split("…")))


# What cannot be done in the lab, what is done instead, and why.
SUBSTITUTED = {
    "git clone URL /srv/superpod-dcgm-exporter": (
        "test -d /srv/superpod-dcgm-exporter/salt",
        "no machine of the lab reaches the internet; the checkout under test is there",
    ),
    "mon-01": ("bcm-01", "the lab has no monitoring host of its own; a site's Prometheus runs on its head"),
}


def read() -> list[Block]:
    """README's blocks, as the lab can follow them."""
    text = README.read_text()
    for words, (instead, _why) in SUBSTITUTED.items():
        text = text.replace(words, instead)
    return list(blocks(text))
