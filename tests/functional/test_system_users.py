"""The state of the system users as Salt's loader calls it."""

from __future__ import annotations

import os
import pwd
from typing import Any

import pytest
from superpod_dcgm.base import users

MINE = pwd.getpwuid(os.geteuid())


def wanted(name: str, number: int) -> list[dict[str, Any]]:
    return [{"name": name, "number": number, "key": "dcgm:users:agent", "title": "Metrics"}]


def test_a_number_that_is_taken_stops_before_anything_is_made(states: Any) -> None:
    both = [*wanted("superpod-free", 987), *wanted("superpod-dcgm", MINE.pw_uid)]
    done = states.dcgm_user.present(name="users", users=both)
    assert (done.result, done.changes) == (False, {})
    assert f"dcgm:users:agent: {MINE.pw_uid} belongs to the user {MINE.pw_name}" in done.comment


@pytest.mark.parametrize("function", ["present", "absent"])
def test_users_are_foretold_made_and_removed(states: Any, monkeypatch: pytest.MonkeyPatch, function: str) -> None:
    there: set[str] = {"superpod-x"} if function == "absent" else set()
    monkeypatch.setattr(users, "make", lambda user: there.add(user.name))
    monkeypatch.setattr(users, "remove", lambda user: there.discard(user.name))
    monkeypatch.setattr(users, "missing", lambda found: [user for user in found if user.name not in there])
    monkeypatch.setattr(users, "there", lambda found: [user for user in found if user.name in there])
    call = getattr(states.dcgm_user, function)
    before = set(there)
    foretold = call(name="users", users=wanted("superpod-x", 986), test=True)
    assert (foretold.result, there) == (None, before)
    done = call(name="users", users=wanted("superpod-x", 986))
    assert (done.result, done.changes) == (True, foretold.changes)
    assert call(name="users", users=wanted("superpod-x", 986)).changes == {}


def test_a_user_that_cannot_be_made_is_a_failure(states: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(user: users.User) -> None:
        raise users.UserError(f"{user.name} is refused")

    monkeypatch.setattr(users, "make", refuse)
    done = states.dcgm_user.present(name="users", users=wanted("superpod-x", 986))
    assert (done.result, done.changes, done.comment) == (False, {}, "superpod-x is refused")
