"""System users of this project, with the numbers that the pillar gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import state
from superpod_dcgm.base import users as system_users

# Given by Salt's loader.
__opts__: dict[str, Any]


def present(name: str, users: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Make sure that users are there, or make none of them where one's name or number belongs to somebody else.

    Whoever is known to the machine (files, LDAP, SSSD) with the right number is taken as he is. A user that a release
    before made keeps his number.

    :param name: what the users are called in the report.
    :param users: name, number (of user and group), key (what the pillar calls the number) and title of each.

    .. code-block:: yaml

        Create the system users:
          dcgm_user.present:
            - users: [{name: superpod-dcgm, number: 372, key: 'dcgm:users:agent', title: Metrics of the job map}]
    """
    wanted = _wanted(users)
    if wrong := system_users.problems(wanted):
        return state.result(name, False, "\n".join(wrong))
    missing = system_users.missing(wanted)
    kept = [user for user in wanted if system_users.number_of(user) != user.number]
    note = "".join(
        f". {user.name} keeps the number {system_users.number_of(user)} of a release before" for user in kept
    )
    if not missing:
        return state.result(name, True, f"All are there{note}")
    changes = {user.name: {"old": None, "new": system_users.number_of(user)} for user in missing}
    if __opts__["test"]:
        return state.result(name, None, f"They would be made{note}", changes)
    return _each(name, missing, system_users.make, f"They are made{note}", changes)


def absent(name: str, users: list[dict[str, Any]]) -> dict[str, Any]:
    """
    Remove users that this project made; others of these names stay.

    :param name: what the users are called in the report.
    :param users: as for ``present``.

    .. code-block:: yaml

        Remove the system users:
          dcgm_user.absent:
            - users: [{name: superpod-dcgm, number: 372, key: 'dcgm:users:agent', title: Metrics of the job map}]
    """
    found = system_users.there(_wanted(users))
    if not found:
        return state.result(name, True, "None of them is there")
    changes = {user.name: {"old": system_users.number_of(user), "new": None} for user in found}
    if __opts__["test"]:
        return state.result(name, None, "They would be removed", changes)
    return _each(name, found, system_users.remove, "They are removed", changes)


def _wanted(found: list[dict[str, Any]]) -> list[system_users.User]:
    return [system_users.User(user["name"], user["number"], user["key"], user["title"]) for user in found]


def _each(
    name: str,
    found: list[system_users.User],
    act: Callable[[system_users.User], None],
    comment: str,
    changes: dict[str, Any],
) -> dict[str, Any]:
    done: dict[str, Any] = {}
    for user in found:
        try:
            act(user)
        except (system_users.UserError, OSError) as exc:
            return state.result(name, False, str(exc), done)
        done[user.name] = changes[user.name]
    return state.result(name, True, comment, changes)
