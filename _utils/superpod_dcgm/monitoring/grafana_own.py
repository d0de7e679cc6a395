"""Our own Grafana on this machine: whether it may be there, its secrets, what is ours of it, and how that goes "
"again."""

from __future__ import annotations

import contextlib
import grp
import json
import os
import secrets
import shutil
import stat

from superpod_dcgm.base import files, listeners, paths, process, systemd
from superpod_dcgm.monitoring.grafana_texts import MARK

_SECONDS = 60
_BYTES = 32
_EXISTING = "set dcgm:grafana:mode to existing to put the dashboards into it, or remove it"
_DATABASE = "grafana.db"


def record() -> dict[str, object]:
    """Return what was noted of our own Grafana; empty where there is none."""
    found = files.read_json(paths.GRAFANA_RECORD)
    return found if isinstance(found, dict) else {}


def note(**facts: object) -> None:
    """
    Add facts to the record of our own Grafana.

    :raises OSError: it cannot be written.
    """
    found = {**record(), **facts}
    if found != record():
        _folder()
        files.write_atomic(paths.GRAFANA_RECORD, json.dumps(found, indent=1, sort_keys=True) + "\n", 0o600)


def _folder() -> None:
    files.make_directory(paths.GRAFANA_CONFIG, 0o755)


def is_ours(path: str) -> bool:
    """Return whether a text file carries our mark."""
    try:
        return files.head(path, len(MARK)) == MARK.encode()
    except OSError:
        return False


def obstacles(port: int, package: str) -> list[str]:
    """
    Return one sentence per thing of others that is in the way of our own Grafana. Nothing is changed.

    :param package: the name of the package that brings it.
    """
    found = _taken(port)
    if not record().get("ours"):
        found += _foreign(package)
    files_of_ours = (paths.GRAFANA_SOURCES_FILE, paths.GRAFANA_PROVIDER_FILE)
    found += [
        f"{path} is there and was not written by this project: move it away"
        for path in files_of_ours
        if os.path.lexists(path) and not is_ours(path)
    ]
    return [*found, *links(), *_lost_secrets()]


def _taken(port: int) -> list[str]:
    ours = _show("MainPID") if record().get("ours") else ""
    holders = [one for one in listeners.on(port) if not ours.strip("0\n") or str(one.pid) != ours.strip()]
    holders = [one for one in holders if not (record().get("ours") and one.unit == paths.GRAFANA_UNIT)]
    return [f"dcgm:grafana:port: on {port} listens {one.words}: choose another port" for one in holders[:1]]


def _show(name: str) -> str:
    try:
        return systemd.systemctl("show", f"--property={name}", "--value", paths.GRAFANA_UNIT)
    except systemd.UnitError:
        return ""


def _foreign(package: str) -> list[str]:
    """A Grafana that somebody has, or had, on this machine."""
    if _show("ActiveState").strip() == "active" or _show("UnitFileState").strip() == "enabled":
        return [f"{paths.GRAFANA_UNIT} of others runs here or is enabled: {_EXISTING}"]
    database = f"{paths.GRAFANA_DATA}/{_DATABASE}"
    # What ours left behind has its secrets beside it.
    if os.path.lexists(database) and not _has_secrets():
        return [f"{database} is data of a Grafana of others: {_EXISTING}, or move its data away"]
    if os.path.lexists(paths.GRAFANA_INI) and not is_ours(paths.GRAFANA_INI) and not _pristine(package):
        return [f"{paths.GRAFANA_INI} was changed by somebody, so a Grafana of others is here: {_EXISTING}"]
    return []


def _pristine(package: str) -> bool:
    """Whether grafana.ini is as the package brought it."""
    answer = process.run(["dpkg-query", "--showformat=${Conffiles}\n", "--show", package], _SECONDS)
    if answer.code == 0:
        sums = dict(line.split()[:2] for line in answer.output.splitlines() if len(line.split()) > 1)
        md5 = process.run(["md5sum", paths.GRAFANA_INI], _SECONDS).output.split()
        return bool(md5) and sums.get(paths.GRAFANA_INI) == md5[0]
    answer = process.run(["rpm", "--verify", "--nomode", "--nouser", "--nogroup", package], _SECONDS)
    return not answer.missing and "is not installed" not in answer.output and paths.GRAFANA_INI not in answer.output


def links() -> list[str]:
    """
    Return a sentence if a part of the path of the dashboards is a link.

    When such a link is switched, Grafana deletes all dashboards and makes them anew, without their stars.
    """
    real = os.path.realpath(paths.GRAFANA_DASHBOARDS)
    if real == paths.GRAFANA_DASHBOARDS:
        return []
    return [
        f"{paths.GRAFANA_DASHBOARDS} leads by a link to {real}: make it a directory, for Grafana loses stars by links"
    ]


def _has_secrets() -> bool:
    return all(os.path.isfile(path) for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY))


def _lost_secrets() -> list[str]:
    """Data that was made with secrets which are gone cannot be read with new ones."""
    if not record().get("secrets") or _has_secrets() or not os.path.lexists(f"{paths.GRAFANA_DATA}/{_DATABASE}"):
        return []
    return [
        f"{paths.GRAFANA_PASSWORD} or {paths.GRAFANA_SECRET_KEY} is missing, and {paths.GRAFANA_DATA} was made "
        "with it: "
        "bring it back from a backup; new ones are not made, since Grafana could not read its data with them"
    ]


def missing_secrets() -> dict[str, str]:
    """Return which secrets are to be made, or to be closed to others, by path; never what is in them."""
    found = {}
    for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY):
        if not os.path.lexists(path):
            found[path] = "made; not shown"
        elif not _is_closed(path):
            found[path] = "closed to others than root and the group grafana"
    return found


def _is_closed(path: str) -> bool:
    found = os.lstat(path)
    with contextlib.suppress(KeyError):
        gid = grp.getgrnam(paths.GRAFANA_USER).gr_gid
        return (stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) == (0o640, os.geteuid(), gid)
    return False


def make_secrets() -> None:
    """
    Make the secrets that are missing. What is in one that is there stays as it is.

    :raises OSError: they cannot be written.
    :raises KeyError: there is no group grafana.
    """
    gid = grp.getgrnam(paths.GRAFANA_USER).gr_gid
    _folder()
    note(secrets=True)
    for path in missing_secrets():
        if not os.path.lexists(path):
            files.write_atomic(path, secrets.token_urlsafe(_BYTES), 0o600)
        os.chown(path, os.geteuid(), gid, follow_symlinks=False)
        os.chmod(path, 0o640)


def keep_original() -> None:
    """
    Keep the package's own grafana.ini, for the day when ours goes.

    :raises OSError: it cannot be copied.
    """
    if os.path.lexists(paths.GRAFANA_ORIGINAL) or is_ours(paths.GRAFANA_INI) or not os.path.isfile(paths.GRAFANA_INI):
        return
    _folder()
    files.write_atomic(paths.GRAFANA_ORIGINAL, files.read_bounded(paths.GRAFANA_INI, 1 << 20).decode(), 0o600)


def make_above(path: str) -> None:
    """
    Make the directory of a file of ours as the package makes its own, if it is missing.

    :raises OSError: it cannot be made.
    """
    files.make_directory(os.path.dirname(path))


def present() -> list[str]:
    """Return the files of our own Grafana that are on this machine; secrets stay with the data, and are not "
    "among them."""
    written = (paths.GRAFANA_INI, paths.GRAFANA_SOURCES_FILE, paths.GRAFANA_PROVIDER_FILE)
    kept = (paths.GRAFANA_RECORD, paths.GRAFANA_ORIGINAL, paths.GRAFANA_GOOD)
    boards = record().get("boards")
    names = boards if isinstance(boards, list) else []
    dashboards = [f"{paths.GRAFANA_DASHBOARDS}/{name}" for name in names]
    found = [path for path in written if is_ours(path)]
    if not record().get("ours") and not found:
        return []
    return found + [path for path in (*dashboards, *kept) if os.path.lexists(path)]


def secrets_there() -> list[str]:
    """Return the files with secrets that are there."""
    return [path for path in (paths.GRAFANA_PASSWORD, paths.GRAFANA_SECRET_KEY) if os.path.lexists(path)]


def has_data() -> bool:
    """Return whether there is data of Grafana on this machine."""
    return os.path.lexists(f"{paths.GRAFANA_DATA}/{_DATABASE}")


def _original() -> str:
    """Where the package's own grafana.ini is: one that an upgrade left beside ours is newer than the one we kept."""
    places = (f"{paths.GRAFANA_INI}.dpkg-dist", f"{paths.GRAFANA_INI}.rpmnew", paths.GRAFANA_ORIGINAL)
    return next((path for path in places if os.path.isfile(path)), "")


def remove() -> None:
    """
    Stop our own Grafana, and remove its files; the package gets its grafana.ini back.

    :raises OSError: a file cannot be removed.
    :raises systemd.UnitError: it does not stop.
    """
    if record().get("ours"):
        process.run(["systemctl", "disable", "--now", paths.GRAFANA_UNIT], _SECONDS)
        if _show("ActiveState").strip() == "active":
            raise systemd.UnitError(f"{paths.GRAFANA_UNIT} does not stop")
        systemd.forget_failure(paths.GRAFANA_UNIT)
    gone = present()
    if paths.GRAFANA_INI in gone and (original := _original()):
        found = os.stat(paths.GRAFANA_INI)
        text = files.read_bounded(original, 1 << 20).decode()
        files.write_atomic(paths.GRAFANA_INI, text, 0o640)
        os.chown(paths.GRAFANA_INI, found.st_uid, found.st_gid)
        gone.remove(paths.GRAFANA_INI)
        if original != paths.GRAFANA_ORIGINAL:
            os.unlink(original)
    # Without data nothing needs them.
    for path in [*gone, *([] if has_data() else secrets_there())]:
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    for folder in (paths.GRAFANA_DASHBOARDS, paths.GRAFANA_CONFIG):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
