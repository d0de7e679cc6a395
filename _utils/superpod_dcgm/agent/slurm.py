"""Slurm's commands, each run for a bounded time, and which jobs have a step on this machine."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Callable

from superpod_dcgm.agent import slurmd_process, slurmd_unit
from superpod_dcgm.agent.nvidia import Limit, Trouble
from superpod_dcgm.agent.slurmd_process import Slurmd
from superpod_dcgm.base import files, job_map_conf, process
from superpod_dcgm.base.process import Answer

# Where Slurm's commands are when no slurmd of this machine leads to them; under BCM in none of the usual places.
_SEARCH = (
    *("/cm/local/apps/slurm/current/bin", "/cm/shared/apps/slurm/current/bin", "/opt/slurm/bin"),
    *("/usr/local/slurm/bin", "/usr/local/bin", "/usr/bin"),
)
# Seconds where job-map.conf has none: as long as Slurm's own clients wait for an answer (MessageTimeout).
_ANSWER_SECONDS = 10
_UNIT_SECONDS = 5
# Columns of /proc/net/unix: address, references, protocol, flags (a bit says that somebody listens), …, path.
_STEP_SOCKET = re.compile(
    r"^\S+ \S+ \S+ ([0-9A-Fa-f]{8}) .*/[^/\s]+_([1-9][0-9]{0,9})\.[0-9]+(?:\.[0-9]+)?$", re.MULTILINE
)
_LISTENING = 0x10000
Runner = Callable[[list[str]], Answer]


def runner(processes: str | None = None, seconds: float | None = None, conf: dict[str, str] | None = None) -> Runner:
    """
    Return a function that runs one of Slurm's commands (without its path) and returns its answer.

    :param processes: where the kernel lists processes; for tests.
    :param seconds: how long an answer is waited for, by default as ``limits:controller`` of the pillar says.
    :param conf: job-map.conf, by default that of this node.

    The commands are those of the slurmd that runs, and read the slurm.conf that it reads: under BCM only an environment
    module would name them. Nothing else of the environment reaches them: SQUEUE_STATES and the like would change their
    answer.
    """
    conf = _own_conf() if conf is None else conf
    slurmd = _slurmd(processes)
    commands = conf.get("commands", "")
    environment = {"PATH": os.pathsep.join([commands] if commands else _places(slurmd)), "LC_ALL": "C"}
    if slurmd and (libraries := slurmd.environment.get("LD_LIBRARY_PATH")):
        environment["LD_LIBRARY_PATH"] = libraries
    if configuration := (slurmd and slurmd_process.configuration(slurmd)) or os.environ.get("SLURM_CONF"):
        environment["SLURM_CONF"] = configuration
    late = "does not answer"
    if seconds is None:
        seconds = job_map_conf.number(conf, "limit_controller", _ANSWER_SECONDS)
        late = f"did not answer within {seconds:g} s (dcgm:limits:controller)"
    return functools.partial(_run, environment=environment, seconds=seconds, late=late)


def _own_conf() -> dict[str, str]:
    try:
        return job_map_conf.of_this_node()
    except OSError:
        return {}


def _slurmd(processes: str | None) -> Slurmd | None:
    """The slurmd that runs here, else what its unit would start."""
    limit = Limit("slurmd", _UNIT_SECONDS)
    try:
        if found := slurmd_process.running(limit, processes):
            return found
    except Trouble:
        # It runs in a container: its commands are not this machine's.
        return None
    unit = slurmd_unit.read(limit)
    return Slurmd("", unit.program, unit.program, unit.words, unit.environment) if unit.program else None


def _places(slurmd: Slurmd | None) -> list[str]:
    """Directories in which the commands are looked for, the best first."""
    found: list[str] = []
    for program in (slurmd.place, slurmd.words[0]) if slurmd else ():
        if os.path.isabs(program):
            folder = os.path.dirname(program)
            found += [os.path.join(os.path.dirname(folder), "bin"), folder]
    paths = [slurmd.environment.get("PATH", "") if slurmd else "", os.environ.get("PATH", os.defpath)]
    for place in (*paths[0].split(os.pathsep), *paths[1].split(os.pathsep), *_SEARCH):
        # A relative one would mean another place for each who asks.
        if os.path.isabs(place):
            found.append(place)
    return list(dict.fromkeys(found))


def _run(arguments: list[str], environment: dict[str, str], seconds: float, late: str) -> Answer:
    program = shutil.which(arguments[0], path=environment["PATH"])
    if not program:
        places = environment["PATH"].replace(os.pathsep, ", ")
        error = (
            f"there is no {arguments[0]} on this node, in none of {places} (dcgm:slurm:commands names another place)"
        )
        return Answer(None, error=error, missing=True)
    answer = process.run([program, *arguments[1:]], seconds, environment)
    return Answer(None, error=late, late=True) if answer.late else answer


def jobs_with_steps(sockets: str = "/proc/net/unix") -> set[str]:
    """
    Return the ids of the jobs of which a step runs here: slurmstepd listens on ``…/<node>_<jobid>.<step>``.

    The kernel's own list does not have the sockets that a crash left in slurmd's spool directory, slurmstepd is not
    disturbed as by a connection, and nobody has to know where the spool directory is. A user could keep a stale id of
    his own alive by such a socket, which does no harm.
    """
    text = files.told(sockets).decode("utf-8", "replace")
    return {job for flags, job in _STEP_SOCKET.findall(text) if int(flags, 16) & _LISTENING}
