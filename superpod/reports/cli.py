"""`superpod job`, `superpod report` and `superpod top`."""

from __future__ import annotations

import sys
import time

import click

from superpod import ui
from superpod.errors import SuperpodError
from superpod.reports import job as jobs
from superpod.reports import job_page, job_text, options, text, times, usage, usage_page, usage_text
from superpod.reports.live import Place, live
from superpod.reports.options import Asked

INCOMPLETE = 3


@click.command("job")
@options.server
@click.argument("job")
@click.option("--since", default="90d", show_default=True, help="How far back the job is looked for: 7d, 2026-11-20 …")
@click.option("--at", metavar="TIME", help="A time at which it ran, if its id was used more than once.")
@click.option("--slurm/--no-slurm", default=True, help="Ask sacct and scontrol where they are.  [default: slurm]")
@click.option("--gpus", is_flag=True, help="Show each GPU of a large job.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.option("--html", metavar="FILE", help="Write one page with charts, too.")
def job(
    asked: Asked, job: str, since: str, at: str | None, slurm: bool, gpus: bool, as_json: bool, html: str | None
) -> None:
    """
    Report on one job: GPUs, use, memory, power, energy, idle time, XIDs.

    JOB is Slurm's raw id. 4711_3 (task of an array) and 4711+1 (part of a het job) need
    sacct or scontrol here. Exit code 3: there is no data, or a part is missing.
    """
    moment = times.moment(at, asked.now) if at else None
    found = jobs.collect(asked.client, job, asked.cluster, options.window(since, "now", asked.now), moment, slurm)
    warnings = asked.client.warnings
    if as_json:
        options.print_json(job_text.as_json(found, asked.client.server.address, warnings))
    else:
        text.show(job_text.lines(found, gpus))
    if html:
        options.write_page(html, job_page.page_of(asked.client, found))
    options.warn(warnings)
    sys.exit(0 if found.complete and not warnings else INCOMPLETE)


@click.command("report")
@options.server
@click.option("--since", default="7d", show_default=True, help="From when on: 7d (before the end), 2026-11-20 …")
@click.option("--until", default="now", show_default=True, help="Up to when.")
@click.option(
    "--by", type=click.Choice(list(usage.LEVELS)), help="What each row is of.  [default: user; with --user: job]"
)
@click.option("--user", metavar="NAME", default="", help="Only jobs of this user.")
@click.option("--account", metavar="NAME", default="", help="Only jobs of this account.")
@click.option("--partition", metavar="NAME", default="", help="Only jobs of this partition.")
@click.option("--rows", type=click.IntRange(0), default=20, show_default=True, help="Rows to show; 0: all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print it as CSV.")
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.option("--html", metavar="FILE", help="Write one page with charts, too.")
def report(
    asked: Asked, since: str, until: str, by: str | None, rows: int, as_csv: bool, as_json: bool, html: str, **who: str
) -> None:
    """
    Report who held GPUs, and how much of that was used: GPU hours, waste, energy.

    Exit code 3: there is no data, or a part is missing.
    """
    if as_csv and as_json:
        raise SuperpodError("There are both --csv and --json: give one of them.", 2)
    window = options.window(since, until, asked.now)
    level = by or ("job" if who["user"] else "user")
    found = usage.collect(asked.client, level, window, {"cluster": asked.cluster, **who}, asked.now)
    warnings, source = asked.client.warnings, asked.client.server.address
    if as_csv:
        with text.printing():
            click.echo(usage_text.as_csv(found), nl=False)
    elif as_json:
        options.print_json(usage_text.as_json(found, source, warnings))
    else:
        text.show(usage_text.lines(found, rows))
    if html:
        options.write_page(html, usage_page.page_of(found, source, warnings))
    options.warn(warnings)
    sys.exit(0 if found.complete and not warnings else INCOMPLETE)


@click.command("top")
@options.server
@click.argument("node", required=False)
@click.argument("gpu", required=False)
@click.option("--since", default="1h", show_default=True, help="How far back lines of bars go.")
@click.option(
    "--interval", type=click.FloatRange(1, 3600), default=15, show_default=True, help="Seconds between two looks."
)
@click.option(
    "--once", is_flag=True, help="Show it once and end; so it is, too, where there is no terminal, or a dumb one."
)
def top(asked: Asked, node: str | None, gpu: str | None, since: str, interval: float, once: bool) -> None:
    """
    Show jobs and nodes live, those with idle GPUs first; Ctrl-C ends it.

    With NODE its GPUs, with GPU too (3, or 3.1 for an instance) what that one did.
    """
    span = times.span(since)
    if span < times.MINUTE:
        raise SuperpodError(f"--since {since} is less than a minute: there is one value a minute.", 2)
    place = Place(asked.client, asked.cluster, node or "", gpu or "")
    if once or not ui.out.is_terminal or ui.out.is_dumb_terminal:
        width = ui.out.size.width if ui.out.is_terminal else 10_000
        text.show(place.lines(time.time(), span, (width, 10_000)))
        options.warn(asked.client.warnings)
        sys.exit(INCOMPLETE if asked.client.warnings else 0)
    live(place, span, interval)
