"""Control systemd units and find out what they do. Thin over systemctl(1); nothing is cached."""

from __future__ import annotations

import contextlib

from superpod_dcgm.base import complaint, process

# `systemctl stop` waits for TimeoutStopSec of the unit, at most; this is for systemd itself hanging.
_SECONDS = 120
_LOG_SECONDS = 10
# Where units of packages and of the administrator lie (systemd.unit(5)), the strongest first.
DIRECTORIES = (
    *("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system"),
    *("/usr/lib/systemd/system", "/lib/systemd/system"),
)
_PROPERTIES = ",".join(
    (
        *("LoadState", "ActiveState", "SubState", "UnitFileState", "MainPID", "Result", "FragmentPath"),
        *("NRestarts", "NeedDaemonReload", "ActiveEnterTimestampMonotonic"),
    )
)


class UnitError(Exception):
    """systemd refused. Its text has the command and what systemd said."""


def systemctl(*arguments: str) -> str:
    """
    Run systemctl and return its output.

    :raises UnitError: exit code other than 0, or no answer in two minutes.
    """
    command = ["systemctl", "--no-pager", *arguments]
    answer = process.run(command, _SECONDS)
    if answer.code != 0:
        raise UnitError(f"{' '.join(command)}: {answer.problem}")
    return answer.output


def show(unit: str) -> dict[str, str]:
    """
    Return what systemd knows of ``unit``: its states, main process and last result.

    :raises UnitError: systemd does not answer.
    """
    lines = systemctl("show", f"--property={_PROPERTIES}", unit).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def is_up(state: dict[str, str]) -> bool:
    """Return whether a unit in ``state`` (of ``show``) runs or is between two of its automatic restarts."""
    return state.get("ActiveState") in ("active", "activating", "reloading")


def forget_failure(unit: str) -> None:
    """Let a unit that is stopped on purpose not count as failed, which it may for how it ended; best effort."""
    with contextlib.suppress(UnitError):
        # It is unknown to systemd as soon as nothing needs it, which is refused.
        systemctl("reset-failed", unit)


def last_words(unit: str) -> str:
    """Return the telling line of what a unit's own processes last wrote to the journal, or an empty string."""
    for match in ([f"_SYSTEMD_UNIT={unit}"], [f"--unit={unit}"]):
        answer = process.run(
            ["journalctl", "--no-pager", "--quiet", "--output=cat", "--lines=20", *match], _LOG_SECONDS
        )
        if reason := complaint.reason(answer.output):
            return reason
    return ""
