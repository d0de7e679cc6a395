"""The exporter's web configuration: TLS and users of /metrics. What is in it is neither shown nor open to others."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from typing import Any

from superpod_dcgm.base import files, ownership, paths, readable, state

# Given by Salt's loader.
__opts__: dict[str, Any]

_MODE = 0o640


def configured(name: str, contents: str, user: str, certificate: str = "", key: str = "") -> dict[str, Any]:
    """
    Write the exporter's web configuration, if its user can have certificate and key. It is closed to others.

    :param name: the file.
    :param contents: its text; where it is empty, nothing is written.
    :param user: who runs the exporter.
    :param certificate: a PEM file on this node.
    :param key: the key that belongs to it.

    .. code-block:: yaml

        Write the web configuration of dcgm-exporter:
          dcgm_web.configured:
            - name: /etc/dcgm-exporter/web-config.yml
            - contents: 'basic_auth_users: {}'
            - user: dcgm-exporter
    """
    if not contents:
        return state.result(name, True, "The pillar has no TLS and no users for /metrics")
    if os.path.lexists(name) and not ownership.is_ours(name, paths.EXPORTER_ROOT):
        return state.result(name, False, f"{name} was not written by this project: move it away")
    if not _user_is_there(user):
        # A first apply in test mode: he is made by a state before this one.
        return state.result(name, None if __opts__["test"] else False, f"There is no user {user} to read {name}")
    if certificate and (wrong := readable.pair_problems(certificate, key, user, "dcgm:exporter:tls")):
        return state.result(name, False, "\n".join(wrong))
    if _is_as_wanted(name, contents, user):
        return state.result(name, True, f"{name} is as it should be")
    changes = {"web configuration": "written; what is in it is not shown"}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be written", changes)
    try:
        files.write_atomic(name, contents, 0o600)
        os.chown(name, os.geteuid(), _gid(user))
        os.chmod(name, _MODE)
        good = _is_as_wanted(name, contents, user)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be written: {exc}")
    return state.result(name, good, f"{name} is written", changes)


def removed(name: str, contents: str = "") -> dict[str, Any]:
    """
    Remove the exporter's web configuration once nothing reads it any more, if it is ours.

    :param name: the file.
    :param contents: what is to be in it; where there is something, it stays.

    .. code-block:: yaml

        Remove the web configuration of dcgm-exporter that nothing reads:
          dcgm_web.removed:
            - name: /etc/dcgm-exporter/web-config.yml
    """
    if contents or not os.path.lexists(name) or not ownership.is_ours(name, paths.EXPORTER_ROOT):
        return state.result(name, True, "Nothing is to be removed")
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed", {"removed": name})
    os.unlink(name)
    return state.result(name, True, f"{name} is removed", {"removed": name})


def _user_is_there(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _is_as_wanted(name: str, contents: str, user: str) -> bool:
    try:
        found = os.lstat(name)
        text = files.read_bounded(name, 1 << 20, follow=False)
    except OSError:
        return False
    right = _MODE, os.geteuid(), _gid(user), contents.encode()
    return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, text) == right


def _gid(user: str) -> int:
    """Everybody's own group has his name; where it has another, it is the one that he has."""
    try:
        return grp.getgrnam(user).gr_gid
    except KeyError:
        return pwd.getpwnam(user).pw_gid
