"""
What timer and services of a node run: ``python -m superpod_dcgm.agent devices | tick | serve [FILE PORT]``.

``devices`` makes the device table, ``tick`` keeps the job map true and writes this project's metrics, ``serve`` answers
HTTP requests for them, or for FILE on PORT, as on the head. Exit code 0: all of it worked; 1: something did not,
standard error says what.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable

from superpod_dcgm.agent import counters, device_table, job_map, metrics, reconcile, report, server, tidy, xids
from superpod_dcgm.agent.device_table import Table
from superpod_dcgm.agent.log import say
from superpod_dcgm.base import job_map_conf, leftovers, maintenance, paths

_RECONCILE_SECONDS = 300
# After that the others are done; what takes longer is waited for at the end, as long as the unit may run.
_STEP_SECONDS = 25.0


class Told(Exception):
    """A step did not work, and its reason was said before."""


def make_devices() -> int:
    """Make the device table and return the exit code."""
    from superpod_dcgm.agent import devices

    if record := maintenance.held():
        say(maintenance.sentence(record))
        return 0
    conf = job_map_conf.of_this_node()
    problem = devices.refresh(conf, force=True)["problem"]
    say(problem)
    for warning in report.warnings(devices.read_status()):
        say(warning)
    return 1 if problem else 0


def tick() -> int:
    """Do what is due and return the exit code; a step that fails or hangs does not keep the others from being done."""
    conf = job_map_conf.of_this_node()
    # What waits for others comes late, and the metrics before and after it.
    steps: list[tuple[str, Callable[[dict[str, str]], None]]] = [
        ("job map", _tidy),
        ("spool", _count),
        ("kernel log", _count_xids),
        ("metrics", _write),
        ("device table", _refresh),
        ("reconciliation", _reconcile),
        ("metrics", _write),
        ("leftovers", _sweep),
    ]
    done: list[bool] = []
    for thread in [_start(name, step, conf, done) for name, step in steps]:
        thread.join()
    return 0 if done == [True] * len(steps) else 1


def _start(
    name: str, step: Callable[[dict[str, str]], None], conf: dict[str, str], done: list[bool]
) -> threading.Thread:
    """Run a step and wait for it for a bounded time: one that reads a dead device sleeps where nothing wakes it."""

    def work() -> None:
        done.append(_done(name, step, conf))

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    thread.join(_STEP_SECONDS)
    if thread.is_alive():
        say(f"{name}: takes longer than {_STEP_SECONDS:g} s; the rest is done meanwhile")
    return thread


def _done(name: str, step: Callable[[dict[str, str]], None], conf: dict[str, str]) -> bool:
    try:
        step(conf)
    except Told:
        return False
    except Exception as exc:
        say(f"{name}: {exc if isinstance(exc, OSError) else repr(exc)}")
        return False
    return True


def _table() -> Table | None:
    """The device table, where its last attempt worked; what cannot be loaded is told by the step that makes it."""
    with contextlib.suppress(Exception):
        from superpod_dcgm.agent import devices

        return devices.current() if devices.read_status().get("ok") is True else None
    return None


def _tidy(conf: dict[str, str]) -> None:
    faults, problem = tidy.tidy(conf.get("directory", ""), conf.get("idle", "empty"), _table())
    counters.note_repairs([fault.reason for fault in faults])
    for sentence in counters.news([*(fault.sentence for fault in faults), problem]):
        say(sentence)
    if problem:
        raise Told


def _refresh(conf: dict[str, str]) -> None:
    # Loaded here, so that the other steps are done even if this one cannot be.
    from superpod_dcgm.agent import devices

    if maintenance.held():
        return
    before = devices.read_status()
    problem = devices.refresh(conf)["problem"]
    # Said once; metrics tell how long it lasts.
    say(problem if problem != before.get("problem") else "")
    known = report.warnings(before)
    for warning in report.warnings(devices.read_status()):
        say(warning if warning not in known else "")


def _sweep(conf: dict[str, str]) -> None:
    own = {conf.get(key, "") for key in ("textfile", "directory")}
    for directory in {paths.NODE_RUNTIME, *own} - {""}:
        leftovers.sweep(directory)


def _reconcile(conf: dict[str, str]) -> None:
    known, table = counters.load(), _table()
    interval = job_map_conf.number(conf, "reconcile", _RECONCILE_SECONDS)
    try:
        missing = reconcile.lost(job_map.look(conf.get("directory", "")), conf, table)
        # A label that was lost since is given back at once.
        if not counters.reconciliation_due(interval) and missing.keys() <= set(known["lost"]):
            return
        result = reconcile.reconcile(conf, table=table, after=int(known["after"]))
        left = reconcile.lost(job_map.look(conf["directory"]), conf, table)
    except OSError:
        counters.note_reconciliation({}, False, lost=known["lost"])
        raise
    counters.note_reconciliation(result.removed, not result.problem, result.restored, result.after, left)
    for name, jobs in result.removed.items():
        say(f"removed from {name}, as Slurm knows no such job here: {', '.join(jobs)}")
    for name, jobs in result.restored.items():
        say(f"given back to {name}, as their records and Slurm say: {', '.join(jobs)}")
    # A controller in maintenance is no failure of this node: a metric tells it.
    say(result.problem)
    if result.answered and result.problem:
        raise Told


def _count(_conf: dict[str, str]) -> None:
    counters.count_spool()


def _count_xids(_conf: dict[str, str]) -> None:
    from superpod_dcgm.agent import devices

    # After a boot that a GPU spoils there may be no table yet; that of the boot before knows the buses.
    problem = xids.count(devices.current() or devices.kept() or device_table.Table())
    # Said once; a metric tells how long it lasts. It is no failure of the tick, which this node's unit would show.
    for sentence in counters.news([f"the kernel log cannot be read: {problem}"] if problem else []):
        say(sentence)


def _write(conf: dict[str, str]) -> None:
    from superpod_dcgm.agent import devices

    table, status = devices.current() or device_table.Table(), devices.read_status()
    metrics.write(conf, table, status.get("ok") is True, status)


COMMANDS: dict[str, Callable[[], int]] = {"devices": make_devices, "tick": tick, "serve": server.serve}


def main(arguments: list[str]) -> int:
    """Run the command that ``arguments`` names and return the exit code."""
    command, *more = arguments or [""]
    of_a_file = command == "serve" and len(more) == 2 and more[1].isdecimal()
    if command not in COMMANDS or (more and not of_a_file):
        say(f"usage: python -m superpod_dcgm.agent {' | '.join(COMMANDS)} [FILE PORT]")
        return 2
    try:
        return server.serve(more[0], int(more[1])) if of_a_file else COMMANDS[command]()
    except OSError as exc:
        say(f"{command}: {exc}")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
