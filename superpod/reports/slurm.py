"""What Slurm says of a job, where its commands are: name, state, times, nodes, and the raw id of an array's task."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

from superpod_dcgm.base import process

from superpod.errors import SuperpodError

# Where BCM has Slurm's commands for those who loaded no module.
PLACES = ("/cm/shared/apps/slurm/current/bin", "/cm/local/apps/slurm/current/bin", "/opt/slurm/bin")
SECONDS = 15
_ID = re.compile(r"(\d+)(?:_(\d+)|\+(\d+))?(?:\.(?:batch|extern|interactive|\d+))?", re.ASCII)
_SEPARATOR = "\x1f"
_FIELDS = (
    *("JobIDRaw", "JobID", "User", "Account", "Partition", "State"),
    *("Start", "End", "AllocTRES", "NodeList", "JobName"),
)
_WORD = re.compile(r" ([A-Z]\w*)=")
_HET = re.compile(r" HetJobIdSet=\S+$")
_OWNER = re.compile(r" UserId=\S+\(\d+\) GroupId=")
_WAITING = ("PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "REVOKED", "SPECIAL_EXIT")
_GOING = ("RUNNING", "SUSPENDED", "COMPLETING", "CONFIGURING", "STOPPED", *_WAITING)


@dataclass(frozen=True)
class Record:
    """One try of a job, as Slurm has it. Times are epoch seconds; None: not known, or not yet."""

    raw: str
    id: str
    user: str = ""
    account: str = ""
    partition: str = ""
    state: str = ""
    begin: float | None = None
    end: float | None = None
    tres: str = ""
    nodes: list[str] = field(default_factory=list)
    name: str = ""

    @property
    def gpus(self) -> float | None:
        """How many GPUs Slurm says it has; None: it does not say, as where gres/gpu is not accounted."""
        found = re.search(r"(?:^|,)gres/gpu=(\d+)", self.tres)
        typed = [int(number) for number in re.findall(r"(?:^|,)gres/gpu:[^=,]+=(\d+)", self.tres)]
        # Where gres/gpu is no TRES, the controller has it by type: gpu:h100:8.
        typed = typed or [int(number) for number in re.findall(r"(?:^|,)gpu:(?:[^:,(]+:)?(\d+)", self.tres)]
        return int(found[1]) if found else sum(typed) if typed else None


def command(name: str) -> str:
    """Return where a command of Slurm is; ``""``: nowhere."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(PLACES)) or ""


def raw_id(text: str, ask: bool = True) -> tuple[str, str]:
    """
    Return the raw id that metrics have, and what there is to say about it.

    :param text: ``4711``, ``4711_3`` or ``4711+1``; a step's id stands for its job.
    :param ask: whether Slurm may be asked.
    :raises SuperpodError: it is no id, or only Slurm could tell, and does not.
    """
    found = _ID.fullmatch(text.strip())
    if not found:
        raise SuperpodError(f"{text!r} is no job id; write 4711, or 4711_3 (array), 4711+1 (het job).", 2)
    if found[2] is None and found[3] is None:
        return str(int(found[1])), ""
    wanted = f"{found[1]}_{found[2]}" if found[2] is not None else f"{found[1]}+{found[3]}"
    mine = [one for one in records(wanted) if one.id == wanted and one.raw] if ask else []
    started = [one for one in mine if one.begin is not None]
    if started:
        # Ids of arrays come round, too.
        raw = max(started, key=lambda one: one.begin or 0).raw
        return raw, f"{wanted} is job {raw}."
    if mine:
        # Tasks that wait have the id of their array, and one of their own from the start on.
        raise SuperpodError(f"{wanted} has not started; Slurm says {mine[-1].state}.", 3)
    ways = f"`sacct -Xnj {wanted} -o JobIDRaw`, JobId= in `scontrol show job {wanted}`, $SLURM_JOB_ID in the job"
    kind = "a task of an array" if found[2] is not None else "a part of a het job"
    raise SuperpodError(f"{wanted} is {kind}; metrics have its raw id, which Slurm tells. Ask there: {ways}.", 2)


def records(job: str) -> list[Record]:
    """Return what accounting has of a job, each try for itself; else what the controller knows. None is no error."""
    return _accounting(job) or _controller(job)


def _accounting(job: str) -> list[Record]:
    words = ("-n", "-P", "-X", "-D", f"--delimiter={_SEPARATOR}", "-j", job, "-o", ",".join(_FIELDS))
    return [_accounted(line) for line in _ask("sacct", *words) if line.count(_SEPARATOR) >= len(_FIELDS) - 1]


def _accounted(line: str) -> Record:
    raw, number, user, account, partition, state, *rest = line.split(_SEPARATOR, len(_FIELDS) - 1)
    begin, end, tres, nodes, name = rest
    times = (_time(begin), _time(end))
    return Record(raw, number, user, account, partition, _word(state), *times, tres, hosts(nodes), name)


def _controller(job: str) -> list[Record]:
    found = map(_shown, _ask("scontrol", "-d", "-o", "show", "job", job))
    return [one for one in found if one.raw]


def _shown(line: str) -> Record:
    # The name may hold anything, blanks too.
    place = _OWNER.search(line)
    if not place:
        return Record("", "")
    head, rest = line[: place.start()], line[place.start() :]
    marks = [*_WORD.finditer(rest)]
    found = {mark[1]: rest[mark.end() :].split(" ", 1)[0].replace("(null)", "") for mark in reversed(marks)}
    ids = {mark[1]: mark[2] for mark in re.finditer(r"(\w+)=(\d+)", head.partition(" JobName=")[0])}
    state, raw = found.get("JobState", ""), ids.get("JobId", "")
    number = f"{ids['ArrayJobId']}_{ids['ArrayTaskId']}" if "ArrayTaskId" in ids else raw
    number = f"{ids['HetJobId']}+{ids['HetJobOffset']}" if "HetJobOffset" in ids else number
    # When one that waits may start is a guess, and the end of one that runs is when its time is over.
    begin, nodes = _time(found.get("StartTime", "")), hosts(found.get("NodeList", ""))
    # One that was cancelled before it started has both times, and no nodes.
    begin = None if state in _WAITING or not nodes else begin
    end = None if state in _GOING else _time(found.get("EndTime", ""))
    return Record(
        *(raw, number, found["UserId"].partition("(")[0], found.get("Account", ""), found.get("Partition", ""), state),
        *(begin, end, ",".join(found.get(name, "") for name in ("AllocTRES", "TRES", "JOB_GRES"))),
        *(nodes, _HET.sub("", head.partition(" JobName=")[2])),
    )


def _ask(name: str, *words: str) -> Iterator[str]:
    path = command(name)
    if not path:
        return iter(())
    # What the caller has set for Slurm's output shall change nothing; where its configuration is, it may say.
    more = {"SLURM_CONF": os.environ["SLURM_CONF"]} if os.environ.get("SLURM_CONF") else {}
    answer = process.run([path, *words], SECONDS, process.surroundings(SLURM_TIME_FORMAT="%s", **more))
    return iter(answer.output.splitlines() if answer.code == 0 else ())


def _time(text: str) -> float | None:
    return float(text) if text.isdecimal() and int(text) else None


def _word(state: str) -> str:
    # `CANCELLED by 1000`: the number is somebody's.
    return state.partition(" ")[0]


def hosts(text: str) -> list[str]:
    """Return the nodes of a list as Slurm writes it: ``dgx-[01-03,07],login``; none for what is no list."""
    if not text or text.startswith("(") or text.startswith("None"):
        return []
    parts = re.findall(r"(?:[^,\[\]]|\[[^\]]*\])+", text)
    return [name for part in parts for name in _expanded(part)]


def _expanded(part: str) -> list[str]:
    pieces = re.split(r"(\[[^\]]*\])", part)
    return ["".join(chosen) for chosen in product(*(_numbers(piece) for piece in pieces))]


def _numbers(piece: str) -> list[str]:
    if not piece.startswith("["):
        return [piece]
    found: list[str] = []
    for text in piece[1:-1].split(","):
        first, _, last = text.partition("-")
        numbers = range(int(first), int(last or first) + 1)
        found += [f"{number:0{len(first)}d}" for number in numbers]
    return found
