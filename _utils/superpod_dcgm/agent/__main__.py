"""
What timer and services of a node run: ``python -m superpod_dcgm.agent devices | tick | serve``.

``devices`` makes the device table, ``tick`` keeps the job map true and writes this project's metrics, ``serve`` answers
HTTP requests for them. Exit code 0: all of it worked; 1: something did not, standard error says what.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from superpod_dcgm.agent import counters, device_table, metrics, reconcile, server
from superpod_dcgm.agent.log import say
from superpod_dcgm.base import files, job_map_conf, paths

_RECONCILE_SECONDS = 300


def make_devices() -> int:
    """Make the device table and return the exit code."""
    from superpod_dcgm.agent import devices

    problem = devices.refresh(job_map_conf.of_this_node(), force=True)["problem"]
    say(problem)
    return 1 if problem else 0


def tick() -> int:
    """Do what is due and return the exit code; one step that fails does not keep the others from being done."""
    conf = job_map_conf.of_this_node()
    steps: dict[str, Callable[[dict[str, str]], None]] = {
        "device table": _refresh,
        "reconciliation": _reconcile,
        "spool": _count,
        "metrics": _write,
        "leftovers": _sweep,
    }
    return 1 if [name for name, step in steps.items() if not _done(name, step, conf)] else 0


def _done(name: str, step: Callable[[dict[str, str]], None], conf: dict[str, str]) -> bool:
    try:
        step(conf)
    except Exception as exc:
        say(f"{name}: {exc if isinstance(exc, OSError) else repr(exc)}")
        return False
    return True


def _refresh(conf: dict[str, str]) -> None:
    # Loaded here, so that the other steps are done even if this one cannot be.
    from superpod_dcgm.agent import devices

    before = devices.read_status().get("problem")
    problem = devices.refresh(conf)["problem"]
    # Said once; a metric tells how long it lasts.
    say(problem if problem != before else "")


def _sweep(conf: dict[str, str]) -> None:
    own = {conf.get(key, "") for key in ("textfile", "directory")}
    for directory in {paths.NODE_RUNTIME, *own} - {""}:
        files.sweep(directory)


def _reconcile(conf: dict[str, str]) -> None:
    if not counters.reconciliation_due(job_map_conf.number(conf, "reconcile", _RECONCILE_SECONDS)):
        return
    try:
        result = reconcile.reconcile(conf)
    except OSError:
        counters.note_reconciliation({}, False)
        raise
    counters.note_reconciliation(result.removed, not result.problem)
    for name, jobs in result.removed.items():
        say(f"removed from {name}, as Slurm knows no such job here: {', '.join(jobs)}")
    # A controller in maintenance is no failure of this node: a metric tells it.
    say(result.problem)
    if result.answered and result.problem:
        raise OSError(result.problem)


def _count(_conf: dict[str, str]) -> None:
    counters.count_spool()


def _write(conf: dict[str, str]) -> None:
    from superpod_dcgm.agent import devices

    table = devices.current() or device_table.Table()
    metrics.write(conf, table, devices.read_status().get("ok") is True)


COMMANDS = {"devices": make_devices, "tick": tick, "serve": server.serve}


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names and return the exit code."""
    if len(arguments) != 1 or arguments[0] not in COMMANDS:
        say(f"usage: python -m superpod_dcgm.agent {' | '.join(COMMANDS)}")
        return 2
    try:
        return COMMANDS[arguments[0]]()
    except OSError as exc:
        say(f"{arguments[0]}: {exc}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
