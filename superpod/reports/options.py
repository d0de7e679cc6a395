"""Options that all reports share: which server, which cluster, and in what form."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from superpod import ui
from superpod.errors import SuperpodError
from superpod.reports import settings, text, times
from superpod.reports.prometheus import Client

Command = TypeVar("Command", bound=Callable[..., Any])
_PATH = click.Path(dir_okay=False)
_OPTIONS = (
    click.option(
        "--prometheus", "address", metavar="URL", help="Prometheus, VictoriaMetrics or Thanos: http://HOST:9090"
    ),
    click.option("--token-file", type=_PATH, help="File with a bearer token."),
    click.option("--auth-user", metavar="NAME", help="User for basic authentication."),
    click.option("--password-file", type=_PATH, help="File with this user's password."),
    click.option("--ca", "ca_file", type=_PATH, help="File with the CA of the server's certificate."),
    click.option("--timeout", metavar="SECONDS", help="How long an answer may take.  [default: 30]"),
    click.option("--config", type=_PATH, help="Configuration file; docs/reports.md has its keys."),
    click.option("--cluster", metavar="NAME", help="Only this cluster, where the server has several."),
)


@dataclass(frozen=True)
class Asked:
    """Who is asked, and of which cluster; ``now`` is when."""

    client: Client
    cluster: str
    now: float


def server(command: Command) -> Command:
    """Give a command the options that say which server is asked; it gets an ``Asked``."""

    def asking(**given: Any) -> Any:
        keys = ("address", "token_file", "password_file", "ca_file", "timeout", "cluster")
        options = {key: given.pop(key) or "" for key in keys} | {"user": given.pop("auth_user") or ""}
        found, cluster = settings.load(options, given.pop("config") or "")
        return command(Asked(Client(found), cluster, time.time()), **given)

    asking.__name__, asking.__doc__ = command.__name__, command.__doc__
    # What was decorated below keeps its options.
    asking.__click_params__ = getattr(command, "__click_params__", [])  # type: ignore[attr-defined]
    wrapped: Any = asking
    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped  # type: ignore[no-any-return]


def window(since: str, until: str, now: float) -> tuple[float, float]:
    """
    Return from when to when is asked.

    :raises SuperpodError: one is no time, or the end is not after the beginning.
    """
    end = min(times.moment(until, now), now)
    # A span is meant from the end on, as in `--until 2026-11-20 --since 7d`.
    begin = times.moment(since, end)
    if begin >= end:
        raise SuperpodError(f"--since {since} ({times.show(begin)}) is not before the end, {times.show(end)}.", 2)
    return begin, end


def write_page(path: str, page: str) -> None:
    """
    Write a page, all of it or nothing.

    :raises SuperpodError: it cannot be written there.
    """
    target = Path(path)
    try:
        if target.exists() and not target.is_file():
            # /dev/stdout is written to, and stays what it is.
            target.write_text(page, encoding="utf-8")
        else:
            # What a link leads to is replaced, and not the link.
            _replace(Path(os.path.realpath(path)), page)
    except OSError as error:
        raise SuperpodError(f"The page {path} cannot be written: {error.strerror}.") from error
    ui.err.print(f"{path} is written.", markup=False)


def _replace(target: Path, page: str) -> None:
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def print_json(found: dict[str, Any]) -> None:
    """Print something for programs, with null where nothing is known."""
    with text.printing():
        click.echo(json.dumps(found, indent=2, ensure_ascii=True, allow_nan=False))


def warn(warnings: Sequence[str]) -> None:
    """Say on stderr that the server's answers may be only a part."""
    for one in warnings:
        ui.err.print(text.fitting(f"The answer may be a part only: {one}"), markup=False, style="yellow")
