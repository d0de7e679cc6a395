"""`superpod test`: pytest, with or without the tests that need root and the lab."""

from __future__ import annotations

import os
import subprocess
import sys

import click

from superpod.lab.layout import CHECKOUT

# More would only wait for tests/integration, which one process does in two minutes.
MOST_WORKERS = 4


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--fast",
    is_flag=True,
    help="Leave out what needs root and the lab; worker processes run the others (-n 0: none, for --pdb).",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENTS]")
def test(fast: bool, arguments: tuple[str, ...]) -> None:
    """
    Run all tests that CI runs.

    What this machine cannot run is counted with the reason, and fails where CI=true. Other
    arguments are for pytest: paths, -k, -x, -rs …
    """
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    workers = []
    if fast:
        environment["SUPERPOD_TEST_FAST"] = "1"
        # Files stay whole, so that there is one Salt master. What the user says comes later, and wins.
        count = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
        workers = ["-n", str(count), "--dist", "loadfile", "--no-loadscope-reorder"]
    # Root must leave no files of its own in somebody's checkout.
    cache = ["-p", "no:cacheprovider"] if os.geteuid() != CHECKOUT.stat().st_uid else []
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *cache, *workers, *arguments], cwd=CHECKOUT, env=environment, check=False
    )
    sys.exit(done.returncode)
