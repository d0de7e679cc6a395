"""`superpod test`: pytest, with or without the tests that need root and the lab."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from superpod.lab.layout import CHECKOUT

# More would only wait for the longest file.
MOST_WORKERS = 4
# The tests share two labs, whose processes wait most of the time (tests/groups.py).
LABS = 2


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--fast",
    is_flag=True,
    help="Leave out what needs root and the lab.",
)
@click.option(
    "--long",
    "longer",
    is_flag=True,
    help="Run also what CI leaves out: Grafana's own libraries, which npm installs.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]")
def test(fast: bool, longer: bool, arguments: tuple[str, ...]) -> None:
    """
    Run all tests that CI runs, in worker processes (-n 0: in one process, for --pdb).

    What this machine cannot run is counted with the reason, and fails where CI=true. Other
    arguments are for pytest: paths, -k, -x, -rs …
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    if fast:
        environment["SUPERPOD_TEST_FAST"] = "1"
    else:
        workers += LABS - 1
    if longer:
        environment["SUPERPOD_TEST_LONG"] = "1"
    # What the user says comes later, and wins.
    side_by_side = ["-n", str(workers), "--dist", "loadfile", "--no-loadscope-reorder"]
    # Root must leave no files of its own in somebody's checkout.
    cache = ["-p", "no:cacheprovider"] if os.geteuid() != CHECKOUT.stat().st_uid else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *cache, *side_by_side, *arguments], cwd=CHECKOUT, env=environment, check=False
    )
    sys.exit(done.returncode)
