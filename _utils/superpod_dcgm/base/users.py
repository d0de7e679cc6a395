"""
System users of this project: found by whatever the machine knows users by, and made by systemd-sysusers.

A user has one number on all machines, so that files on shared storage mean the same everywhere. Numbers are below 1000:
who watches for processes of people outside of jobs (BCM's check ``rogueprocess``) takes ours for the system's.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass

from superpod_dcgm.base import files, process

SYSUSERS = "/etc/sysusers.d"
_PASSWD = "/etc/passwd"
_SECONDS = 30
_FIRST_OF_PEOPLE = 1000
# How states of releases before 2026-12 made the exporter's user, with a number that the machine chose.
_FORMER_TITLE, _FORMER_HOME = "dcgm-exporter", "/nonexistent"


class UserError(Exception):
    """A user cannot be made or removed. Its text names the key, the number and who holds it."""


@dataclass(frozen=True)
class User:
    """A user and a group of the same name and number; ``key`` is what the pillar calls the number."""

    name: str
    number: int
    key: str
    title: str


def _passwd(of: str | int) -> pwd.struct_passwd | None:
    """Ask all that the machine knows users by (NSS): files, LDAP, SSSD."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(of) if isinstance(of, str) else pwd.getpwuid(of)
    return None


def _group(of: str | int) -> grp.struct_group | None:
    with contextlib.suppress(KeyError):
        return grp.getgrnam(of) if isinstance(of, str) else grp.getgrgid(of)
    return None


def problems(wanted: Sequence[User]) -> list[str]:
    """Return a sentence for each name or number that somebody else has."""
    return [sentence for user in wanted for sentence in _clashes(user)]


def _clashes(user: User) -> list[str]:
    found, group = _passwd(user.name), _group(user.name)
    if found:
        if found.pw_uid == user.number or _is_former(found):
            return []
        return [
            f"{user.key}: {user.number} is not the number of the user {user.name}, who is there already with "
            f"{found.pw_uid}{_called(found)}. Give {found.pw_uid} if he is meant; it must be below {_FIRST_OF_PEOPLE}"
        ]
    taken = []
    if holder := _passwd(user.number):
        taken.append(f"the user {holder.pw_name}{_called(holder)}")
    if (other := _group(user.number)) and other.gr_name != user.name:
        taken.append(f"the group {other.gr_name}")
    if group and group.gr_gid != user.number:
        return [
            f"{user.key}: {user.number} is not the number of the group {user.name}, which is there already with "
            f"{group.gr_gid}. Give {group.gr_gid}, or remove that group"
        ]
    if not taken:
        return []
    return [
        f"{user.key}: {user.number} belongs to {' and '.join(taken)}, so {user.name} cannot have it. Give a free one"
    ]


def _called(found: pwd.struct_passwd) -> str:
    return f" ({found.pw_gecos})" if found.pw_gecos else ""


def _is_former(found: pwd.struct_passwd) -> bool:
    """Whether a release of this project made this user. He keeps his number: a site's files may belong to it."""
    mark = (found.pw_gecos, found.pw_dir)
    return mark == (_FORMER_TITLE, _FORMER_HOME) and 0 < found.pw_uid < _FIRST_OF_PEOPLE


def number_of(user: User) -> int:
    """Return the number that a user has, or would get."""
    found = _passwd(user.name)
    return found.pw_uid if found else user.number


def missing(wanted: Sequence[User]) -> list[User]:
    """Return the users that nobody knows, and those that we made and whose file is missing or another."""
    return [user for user in wanted if not _passwd(user.name) or (_is_ours(user) and not _is_written(user))]


def _file(user: User) -> str:
    return os.path.join(SYSUSERS, f"{user.name}.conf")


def _text(user: User) -> str:
    # No shell: systemd before 240 takes none, and gives nologin. The group is made with the same name and number.
    return (
        "# Made by the Salt state dcgm.users, which takes the user away with this file.\n"
        f'u {user.name} {number_of(user)} "{user.title}" -\n'
    )


def _is_written(user: User) -> bool:
    try:
        with open(_file(user), encoding="utf-8") as stream:
            return stream.read() == _text(user) and os.fstat(stream.fileno()).st_mode & 0o777 == 0o644
    except OSError:
        return False


def _is_ours(user: User) -> bool:
    found = _passwd(user.name)
    return os.path.lexists(_file(user)) or bool(found and _is_former(found))


def make(user: User) -> None:
    """
    Make a user and his group, now and wherever this machine's files are copied to.

    :raises UserError: systemd refuses.
    :raises OSError: the file cannot be written.
    """
    files.make_directory(SYSUSERS)
    files.write_atomic(_file(user), _text(user))
    answer = process.run(["systemd-sysusers", _file(user)], _SECONDS)
    found = _passwd(user.name)
    if answer.code != 0 or not found:
        raise UserError(f"{user.key}: systemd-sysusers did not make the user {user.name}: {answer.problem}")
    if found.pw_gid == 0 or found.pw_uid == 0:
        raise UserError(f"{user.key}: the user {user.name} has root's number; remove him")


def there(wanted: Sequence[User]) -> list[User]:
    """Return the users on this machine that this project made."""
    return [user for user in wanted if _is_ours(user)]


def remove(user: User) -> None:
    """
    Remove a user that this project made, his group, and the file.

    :raises UserError: he cannot be removed, because a process of his runs for example.
    """
    for program, database in (("userdel", _PASSWD), ("groupdel", "/etc/group")):
        if not _is_local(user.name, database):
            continue
        answer = process.run([program, user.name], _SECONDS)
        if answer.code != 0:
            raise UserError(f"The user {user.name} cannot be removed: {program}: {answer.problem}")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_file(user))
    # Many machines have no such directory; it stays as long as others have a file there.
    with contextlib.suppress(OSError):
        os.rmdir(SYSUSERS)


def _is_local(name: str, database: str) -> bool:
    with open(database, encoding="utf-8", errors="replace") as stream:
        return any(line.startswith(f"{name}:") for line in stream)
