"""What the programs of a node tell the administrator."""

from __future__ import annotations

import sys


def say(sentence: str) -> None:
    """Print a sentence on standard error, which journald keeps; an empty one is nothing."""
    if sentence:
        print(sentence, file=sys.stderr, flush=True)
