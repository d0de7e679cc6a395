"""Writes help.txt, from which setup.sh answers --help before anything is installed: python -m superpod.help"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from superpod.cli import PROGRAM, main

FILE = Path(__file__).with_name("help.txt")
# What click leaves of a terminal of 80 columns.
WIDTH = 78


def pages(command: click.Command, context: click.Context) -> Iterator[str]:
    """The help of a command and of all commands below it, each under a line with what one types."""
    yield f"== {context.command_path}\n{command.get_help(context)}\n"
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from pages(child, child.make_context(name, [], parent=context, resilient_parsing=True))


def text() -> str:
    """All of help.txt."""
    return "".join(pages(main, main.make_context(PROGRAM, [], resilient_parsing=True, terminal_width=WIDTH)))


if __name__ == "__main__":
    FILE.write_text(text())
