"""The dashboard of users, accounts and partitions: who held GPUs, how well they used them, and with which jobs."""

from __future__ import annotations

from dashboards import links, units
from dashboards.board import Board, Row
from dashboards.parts import HALF, NONE, THIRD, WHOLE, Panel, Query, lines, number, numbers, words
from dashboards.queries import CLUSTERS, KWH, MOST, OWNER, amount, at_end, leading, ratio, rows
from dashboards.tables import Column, table_of
from dashboards.variables import clusters, owner
from dashboards.words import BAD, WARNING

# Of one level, and of jobs, which have all three.
_OF = {level: f'{CLUSTERS},{level}=~"${level}"' for level in ("user", "account", "partition")}
_JOBS = f'{CLUSTERS},user=~"$user",account=~"$account",partition=~"$partition"'
_JOB = f"cluster, hpc_job, {OWNER}"
_LEAD = 10
_NOTE = """\
Of the time that is shown. *Utilization* is the mean of the time in which it is known, *coverage* how much of the GPU
hours that is: where it is low, accuse nobody. *Idle* hours were held and are known to be idle. Users are counted with
all their accounts; **Users by account** below counts jobs of the chosen users, accounts and partitions only.
"""


def _hours(level: str, matchers: str, kind: str, by: str) -> str:
    return amount(f"{level}:gpu_hours_{kind}:increase1m", matchers, by)


def _columns(level: str, matchers: str, by: str) -> list[Column]:
    """Return what is told of each user, account or partition: of those with most GPU hours."""
    held, measured, used, idle = (
        _hours(level, matchers, kind, by) for kind in ("allocated", "measured", "used", "idle")
    )
    first = f"topk({MOST}, {held})"
    energy = amount(f"{level}:energy_joules:increase1m", matchers, by)
    now = rows(f"{level}:gpus_allocated:sum", matchers)
    return [
        Column("GPU hours", units.HOURS, first),
        Column("Utilization", units.RATIO, f"{ratio(used, measured)} and {first}", bar=True),
        Column("Coverage", units.RATIO, f"{ratio(measured, held)} and {first}"),
        Column("Idle GPU hours", units.HOURS, f"{idle} and {first}", colours=((1, WARNING), (100, BAD))),
        Column("Energy", units.KWH, f"{energy}{KWH} and {first}"),
        Column("GPUs now", units.COUNT, f"sum by ({by}) ({now}) and {first}"),
    ]


def _of_jobs(by: str) -> list[Column]:
    """Return what is told of jobs. Each question reads every minute of every job: so there are few, and no ratios."""
    first = f"topk({MOST}, {_hours('job', _JOBS, 'allocated', by)})"
    more = {"Known": "measured", "Used": "used", "Idle": "idle"}
    hours = {title: f"{_hours('job', _JOBS, kind, by)} and {first}" for title, kind in more.items()}
    return [Column(title, units.HOURS, text) for title, text in {"GPU hours": first, **hours}.items()]


def _table(level: str, title: str) -> Panel:
    return table_of(title, ["cluster", level], *_columns(level, _OF[level], f"cluster, {level}"), width=WHOLE)


def _leading(level: str, title: str) -> Panel:
    """Return a panel of those with most GPU hours, and of all others together."""
    by, matchers = f"cluster, {level}", _OF[level]
    held, measure = rows(f"{level}:gpus_allocated:sum", matchers), _hours(level, matchers, "allocated", by)
    first = f"topk({_LEAD}, {at_end(measure)})"
    return lines(
        *(title, units.COUNT, Query(leading(held, by, measure, _LEAD), f"{{{{cluster}}}} {{{{{level}}}}}")),
        Query(f"sum({held} unless on ({by}) {first})", "all others"),
        about=f"Those {_LEAD} with most GPU hours.",
        width=THIRD,
        stacked=True,
    )


def _total(kind: str) -> str:
    return amount(f"account:gpu_hours_{kind}:increase1m", _OF["account"])


NOW = numbers(
    number("Users now", units.COUNT, Query(f"count({rows('user:gpus_allocated:sum', _OF['user'])})")),
    number("GPUs now", units.COUNT, Query(f"sum({rows('account:gpus_allocated:sum', _OF['account'])})")),
    number("Jobs now", units.COUNT, Query(f"count({rows('job:gpus_allocated:sum', _JOBS)})")),
    number("GPU hours", units.HOURS, Query(_total("allocated")), about="Of the chosen accounts."),
    number("Utilization", units.RATIO, Query(ratio(_total("used"), _total("measured")))),
    number("Coverage", units.RATIO, Query(ratio(_total("measured"), _total("allocated")))),
    number("Idle GPU hours", units.HOURS, Query(_total("idle"))),
    number("Energy", units.KWH, Query(amount("account:energy_joules:increase1m", _OF["account"]) + KWH)),
)
BY_ACCOUNT = table_of(
    "Users by account",
    ["cluster", "account", "user"],
    *_of_jobs("cluster, account, user"),
    about="Of jobs of the chosen users, accounts and partitions. Used: known hours, times utilization.",
)
JOBS = table_of(
    "Jobs with most GPU hours",
    ["cluster", "hpc_job", "user", "account", "partition"],
    *_of_jobs(_JOB),
    about=f"Up to {MOST}, of the chosen users, accounts and partitions. Used: known hours, times utilization.",
)
IDLE = table_of(
    "Jobs that hold an idle GPU for half an hour now",
    ["cluster", "hpc_job", "user", "account", "partition"],
    Column(
        *("Idle GPUs", units.COUNT),
        f"topk({MOST}, min_over_time({rows('job:gpu_hours_idle:increase1m', _JOBS)}[30m]) * 60 > 0)",
        colours=((0, BAD),),
    ),
    about="The least number in the last 30 minutes.",
    nothing=NONE,
    width=HALF,
)
UTILIZATION = lines(
    *("Utilization of accounts", units.RATIO),
    Query(
        leading(
            rows("account:utilization_ratio:avg", _OF["account"]),
            "cluster, account",
            _hours("account", _OF["account"], "allocated", "cluster, account"),
        ),
        "{{cluster}} {{account}}",
    ),
    about=f"Those {_LEAD} with most GPU hours.",
    width=HALF,
)
BOARD = Board(
    *(links.USERS, "Users and accounts"),
    about="GPU hours, their use, and energy of users, accounts, partitions and jobs.",
    time="24h",
    refresh="5m",
    variables=[
        clusters(),
        owner("account", "Account"),
        owner("user", "User"),
        owner("partition", "Partition"),
    ],
    first=[words(_NOTE, 2, WHOLE), *NOW],
    rows=[
        Row(
            "Over time",
            [_leading("user", "Users"), _leading("account", "Accounts"), _leading("partition", "Partitions")],
        ),
        Row("Users", [_table("user", "Users")]),
        Row("Accounts and partitions", [_table("account", "Accounts"), _table("partition", "Partitions")]),
        Row("Idle GPUs", [IDLE, UTILIZATION]),
        Row("Jobs", [JOBS], closed=True),
        Row("Users by account", [BY_ACCOUNT], closed=True),
    ],
)
