"""Which tests follow one another in one worker process: a file's, and those that share a lab."""

from __future__ import annotations

from pathlib import PurePath

from xdist.scheduler import LoadScopeScheduling

# Files of tests/lab that share a lab, by the first words of their names: two halves that take about as long. All of
# test_0 is in one, because it looks for what a lab leaves on this machine. A file of no half has a lab of its own.
LABS = {
    "lab 1": ("test_0", "test_2", "test_4", "test_5"),
    "lab 2": ("test_1", "test_3"),
}
# What takes longest comes first, and the many short files fill the time that is left; but a third lab does not boot
# together with the other two, and finds what their builds have compiled.
FIRST = (*LABS, "tests/integration/", "tests/lab/")


def group(nodeid: str) -> str:
    """Return the group of a test; one worker runs a whole group."""
    file = nodeid.partition("::")[0]
    path = PurePath(file)
    labs = (lab for lab, names in LABS.items() if path.name.startswith(names))
    return next(labs, file) if path.parts[:2] == ("tests", "lab") else file


def rank(nodeid: str) -> int:
    """Return the place of a test's group in the order of starting; the order within a group stays."""
    name = group(nodeid)
    return next((place for place, first in enumerate(FIRST) if name.startswith(first)), len(FIRST))


class GroupScheduling(LoadScopeScheduling):
    """Gives worker processes whole groups."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
