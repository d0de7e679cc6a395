"""Runs what others wrote (their Makefile, their binary) as a user of this project, never as root."""

from __future__ import annotations

import math
import os
import pwd
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from superpod_dcgm.base import files

_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_BOOTED = "/run/systemd/system"
# Seconds that a program has to end in before it is killed.
_STOP_SECONDS = 5
# What systemd 239 (RHEL 8) knows: systemd-run refuses a property that it does not.
_PROPERTIES = (
    *("NoNewPrivileges=yes", "CapabilityBoundingSet=", "SystemCallArchitectures=native", "UMask=0022"),
    *("ProtectSystem=strict", "ProtectHome=read-only", "PrivateTmp=yes", "PrivateDevices=yes"),
    *("ProtectKernelTunables=yes", "ProtectKernelModules=yes", "ProtectControlGroups=yes"),
    *("RestrictNamespaces=yes", "RestrictRealtime=yes", "Nice=10", "OOMScoreAdjust=500"),
    f"TimeoutStopSec={_STOP_SECONDS}",
)
_PRIVILEGES = ("--clear-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all")


class UserMissing(OSError):
    """There is no such user. Its text says what makes him."""


@dataclass(frozen=True)
class Place:
    """
    Where a user works.

    :param user: empty or ``root``: whoever runs this.
    :param directory: his own; besides it he can write only to ``writable``.
    :param settings: a file of root's for the environment, which may hold passwords and so is no argument.
    """

    user: str
    directory: str
    settings: str = ""
    writable: tuple[str, ...] = ()


def _entry(user: str) -> pwd.struct_passwd | None:
    if user in ("", "root") or os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(user)
    except KeyError as exc:
        raise UserMissing(f"There is no user {user}: apply dcgm.users") from exc


def number(user: str) -> int:
    """
    Return the number of the user as whom programs run.

    :raises UserMissing: there is no such user.
    """
    entry = _entry(user)
    return entry.pw_uid if entry else os.geteuid()


def give(directory: str, user: str) -> None:
    """
    Make a directory that only the user can read and write.

    :raises OSError: it cannot be made, or there is no such user.
    """
    files.make_directory(directory, 0o700)
    if entry := _entry(user):
        os.chown(directory, entry.pw_uid, entry.pw_gid)


def as_user(argv: Sequence[str], user: str) -> list[str]:
    """
    Return the command that runs a program as a user without any privilege.

    :raises UserMissing: there is no such user.
    """
    entry = _entry(user)
    if not entry:
        return list(argv)
    who = [f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}"]
    return ["setpriv", *who, *_PRIVILEGES, "--", *argv]


def command(argv: Sequence[str], place: Place, where: str, seconds: float, values: Mapping[str, str]) -> list[str]:
    """
    Return the command that runs a program as a user who can write nowhere else, and all that it started ends with it.

    Without a running systemd, as in an image, only the user changes.

    :param where: its working directory.
    :param seconds: after which systemd ends it.
    :param values: its environment, which is written to the place's settings.
    :raises OSError: the settings cannot be written, or there is no such user.
    """
    if not _entry(place.user) or not os.path.isdir(_BOOTED) or not shutil.which("systemd-run", path=_PATH):
        return as_user(argv, place.user)
    files.write_atomic(place.settings, _settings(values), 0o600)
    writable = [f"ReadWritePaths={path}" for path in (place.directory, *place.writable)]
    more = [f"WorkingDirectory={where}", f"EnvironmentFile={place.settings}", f"RuntimeMaxSec={math.ceil(seconds)}"]
    options = [f"--property={one}" for one in (*_PROPERTIES, *writable, *more)]
    return ["systemd-run", "--quiet", "--pipe", "--wait", "--collect", f"--uid={place.user}", *options, "--", *argv]


def _settings(values: Mapping[str, str]) -> str:
    lines = []
    for name, value in values.items():
        quoted = value.replace("\\", "\\\\").replace('"', '\\"')
        lines.append(f'{name}="{quoted}"\n')
    return "".join(lines)
