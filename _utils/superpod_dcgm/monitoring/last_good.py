"""The files by which our Prometheus last came up: kept with owners and modes, compared, and put back."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection
from dataclasses import replace

from superpod_dcgm.base import files, paths
from superpod_dcgm.monitoring import rules_installed
from superpod_dcgm.monitoring.page import Page

_CONFIG, _WEB, _RULES = "prometheus.yml", "web.yml", "rules"
_TLS = "tls_server_config:"


def _unit() -> str:
    return os.path.basename(paths.PROMETHEUS_UNIT_FILE)


def places(config: str) -> dict[str, str]:
    """
    Return the files that it runs by now, by the name of the copy that is kept of each.

    :param config: its configuration file.
    """
    found = {_unit(): paths.PROMETHEUS_UNIT_FILE, _CONFIG: config}
    if os.path.lexists(paths.PROMETHEUS_WEB):
        found[_WEB] = paths.PROMETHEUS_WEB
    # Those of the site that lie beside ours are read, too.
    for name in _listed(paths.PROMETHEUS_RULES):
        if name.endswith(".yml"):
            found[f"{_RULES}/{name}"] = f"{paths.PROMETHEUS_RULES}/{name}"
    return found


def checked(config: str) -> dict[str, str]:
    """Return what promtool has to check, by its name of the check; ``config`` brings the rule files with it."""
    web = {"web-config": paths.PROMETHEUS_WEB} if os.path.lexists(paths.PROMETHEUS_WEB) else {}
    return {"config": config, **web}


def changed(config: str) -> set[str]:
    """Return the names of the files that differ from what it last came up with, or are new or gone."""
    now = places(config)
    gone = {name for name in _kept() if name not in now}
    return gone | {name for name, path in now.items() if _sum(path) != _sum(_copy_of(name))}


def needs_restart(names: Collection[str]) -> bool:
    """
    Return whether such a change takes more than a reload: other options, or TLS that comes or goes.

    Users, passwords and certificates of the web configuration are read at each request.
    """
    return _unit() in names or (_WEB in names and _has_tls(paths.PROMETHEUS_WEB) != _has_tls(_copy_of(_WEB)))


def is_kept() -> bool:
    """Return whether there is anything to go back to."""
    return {_unit(), _CONFIG} <= set(_kept())


def remember(config: str) -> None:
    """
    Keep copies of the files that it runs by.

    :raises OSError: they cannot be written.
    """
    fresh = f"{paths.PROMETHEUS_GOOD}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    # The web configuration has hashes of passwords.
    files.make_directory(fresh, 0o700)
    for name, path in places(config).items():
        files.make_directory(os.path.dirname(f"{fresh}/{name}"), 0o700)
        _copy(path, f"{fresh}/{name}")
    files.replace_directory(fresh, paths.PROMETHEUS_GOOD)


def restore(config: str) -> None:
    """
    Put the files back that it last came up with, and remove rule files of ours that came since.

    :raises OSError: a file cannot be written.
    """
    kept = _kept()
    for path in rules_installed.of_ours(paths.PROMETHEUS_RULES):
        if f"{_RULES}/{os.path.basename(path)}" not in kept:
            os.unlink(path)
    targets = {_unit(): paths.PROMETHEUS_UNIT_FILE, _CONFIG: config, _WEB: paths.PROMETHEUS_WEB}
    for name in kept:
        target = targets.get(name, f"{paths.PROMETHEUS_CONFIG}/{name}")
        files.make_directory(os.path.dirname(target))
        _copy(_copy_of(name), target)
    if _WEB not in kept:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(paths.PROMETHEUS_WEB)


def page(now: Page) -> Page:
    """Return how it is asked when it runs by the kept files, whose port and TLS may be others."""
    tls = _has_tls(_copy_of(_WEB))
    return replace(now, port=port_in(_copy_of(_unit())) or now.port, tls=tls and bool(now.ca))


def port_in(unit_file: str) -> int:
    """Return the port in a unit file of ours; 0 where there is none."""
    with contextlib.suppress(OSError), open(unit_file, encoding="utf-8") as stream:
        if found := re.search(r"--web\.listen-address=\S*:(\d+)", stream.read()):
            return int(found[1])
    return 0


def _kept() -> list[str]:
    rules = [f"{_RULES}/{name}" for name in _listed(_copy_of(_RULES))]
    return [*(name for name in _listed(paths.PROMETHEUS_GOOD) if name != _RULES), *rules]


def _copy_of(name: str) -> str:
    return f"{paths.PROMETHEUS_GOOD}/{name}"


def _copy(source: str, target: str) -> None:
    """In one step, with mode and owner: a server that reads meanwhile finds the old file or the new one."""
    fresh = f"{os.path.dirname(target)}/.superpod-{os.path.basename(target)}.new"
    found = os.stat(source)
    with files.create(fresh, 0o600) as stream, open(source, "rb") as content:
        shutil.copyfileobj(content, stream)
    if os.geteuid() == 0:
        os.chown(fresh, found.st_uid, found.st_gid)
    os.chmod(fresh, found.st_mode & 0o777)
    os.replace(fresh, target)


def _has_tls(path: str) -> bool:
    with contextlib.suppress(OSError), open(path, encoding="utf-8") as stream:
        return _TLS in stream.read()
    return False


def _listed(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []


def _sum(path: str) -> str:
    with contextlib.suppress(OSError):
        return files.sha256(path)
    return ""
