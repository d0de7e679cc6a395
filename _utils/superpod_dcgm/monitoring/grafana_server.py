"""Our own Grafana as a service: it comes up with what it is given, or goes back to what it last came up with."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from superpod_dcgm.base import files, listeners, paths, process, systemd
from superpod_dcgm.monitoring import grafana_own, written
from superpod_dcgm.monitoring.page import Page

_PAUSE = 0.5
_SECONDS = 60
_LARGEST = 1 << 20
# Provisioning files that a Grafana that runs reads anew when it is told to, by what its API calls them.
_KINDS = {"GRAFANA_SOURCES_FILE": "datasources", "GRAFANA_PROVIDER_FILE": "dashboards"}


class ServerError(Exception):
    """Grafana does not come up. Its text says why, and what runs now."""


@dataclass(frozen=True)
class Server:
    """
    Our own Grafana: the texts of its files by path, how it is asked, its package's version, seconds to come up.

    ``certificates`` and ``secrets``: files of the site, for which it has to restart, or to read its data source anew.
    """

    texts: Mapping[str, str]
    page: Page
    version: str
    timeout: float
    certificates: Sequence[str] = ()
    secrets: Sequence[str] = ()

    def sums(self) -> dict[str, str]:
        """Return by what it is to run: SHA-256 of each file, and the version."""
        site = {path: _sum_of(path) for path in (*self.certificates, *self.secrets)}
        return {**{path: _sum(text) for path, text in self.texts.items()}, **site, "version": self.version}


def differences(server: Server) -> dict[str, str]:
    """Return what is to be done, and nothing where it runs as it should."""
    state = systemd.show(paths.GRAFANA_UNIT)
    found, changed = {}, _changed(server)
    if "version" in changed and _started_since_installed(state):
        # The package's own script did it.
        changed.remove("version")
    if state.get("ActiveState") != "active":
        found["service"] = "started"
    elif changed & {paths.GRAFANA_INI, "version", *server.certificates}:
        found["service"] = "restarted"
    elif changed:
        found["provisioning"] = "read anew"
    if state.get("UnitFileState") != "enabled":
        found["boot"] = "enabled"
    return found


def is_as_it_ran(path: str) -> bool:
    """Return whether a file is as when it last came up."""
    return _ran().get(path) == _sum_of(path)


def _changed(server: Server) -> set[str]:
    ran = _ran()
    return {name for name, digest in server.sums().items() if ran.get(name) != digest}


def _started_since_installed(state: Mapping[str, str]) -> bool:
    try:
        began = time.time() - time.monotonic() + int(state.get("ActiveEnterTimestampMonotonic", "0")) / 1e6
        with os.scandir(paths.GRAFANA_PROGRAMS) as programs:
            return all(program.stat().st_ctime < began for program in programs)
    except (OSError, ValueError):
        return False


def _sum_of(path: str) -> str:
    with contextlib.suppress(OSError):
        return files.sha256(path)
    return ""


def _ran() -> dict[str, str]:
    """By what it last came up."""
    found = grafana_own.record().get("ran")
    return found if isinstance(found, dict) else {}


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def apply(server: Server, todo: Mapping[str, str]) -> str:
    """
    Do what ``differences`` says, and look whether it came up; what did not is put back as it was.

    :return: a note on what was done otherwise; ``""`` where there is none.
    :raises ServerError: it did not come up. The text says why, and what runs now.
    """
    hint = ""
    try:
        if "boot" in todo:
            systemd.systemctl("enable", paths.GRAFANA_UNIT)
        if "service" in todo:
            _restart(server)
        elif "provisioning" in todo and not _read_anew(server):
            hint = "it refused to read its provisioning anew, so it was restarted"
            _restart(server)
        await_up(server)
    except (ServerError, systemd.UnitError) as exc:
        raise ServerError(f"{exc}. {_go_back(server)}") from exc
    _remember(server)
    return hint


def _restart(server: Server) -> None:
    systemd.systemctl("daemon-reload")
    process.run(["systemctl", "reset-failed", paths.GRAFANA_UNIT], _SECONDS)
    systemd.systemctl("restart", paths.GRAFANA_UNIT)


def _read_anew(server: Server) -> bool:
    """Whether it did as told; it takes the word of its own administrator only, who may have another password by now."""
    page = Page(**{**vars(server.page), "user": "admin", "password_file": paths.GRAFANA_PASSWORD})
    paths_of = {getattr(paths, name): kind for name, kind in _KINDS.items()}
    changed = _changed(server)
    kinds = [kind for path, kind in paths_of.items() if path in changed or kind == "datasources"]
    return all(page.fetch(f"/api/admin/provisioning/{kind}/reload", post=True)[0] == 200 for kind in kinds)


def await_up(server: Server) -> None:
    """
    Wait until it runs, listens, and says of itself that it is well.

    :raises ServerError: it does not.
    """
    deadline = time.monotonic() + server.timeout
    while True:
        state = systemd.show(paths.GRAFANA_UNIT)
        if state.get("ActiveState") == "failed":
            raise ServerError(f"{paths.GRAFANA_UNIT} does not stay up: {_reason()}")
        pid = state.get("MainPID", "0")
        heard = any(str(one.pid) == pid for one in listeners.on(server.page.port))
        status, text = server.page.fetch("/api/health") if heard else (0, "")
        if status == 200 and _is_well(text):
            return
        if time.monotonic() > deadline:
            said = f"/api/health says HTTP {status}" if heard else f"it does not listen on port {server.page.port}"
            raise ServerError(f"{paths.GRAFANA_UNIT} is not well after {server.timeout:g} s ({said}): {_reason()}")
        time.sleep(_PAUSE)


def _is_well(text: str) -> bool:
    with contextlib.suppress(ValueError, AttributeError):
        return bool(json.loads(text).get("database") == "ok")
    return False


def _reason() -> str:
    return systemd.last_words(paths.GRAFANA_UNIT) or f"it says nothing; see /var/log/grafana/{paths.GRAFANA_USER}.log"


def _remember(server: Server) -> None:
    files.make_directory(paths.GRAFANA_GOOD, 0o700)
    for path, text in server.texts.items():
        files.write_atomic(_copy_of(path), text, 0o600)
    grafana_own.note(ran=server.sums(), page=vars(server.page))


def _copy_of(path: str) -> str:
    return f"{paths.GRAFANA_GOOD}/{path.strip('/').replace('/', '_')}"


def _go_back(server: Server) -> str:
    """Put the last good files back and start it with them; return what came of it."""
    try:
        old = {path: files.read_bounded(_copy_of(path), _LARGEST).decode() for path in server.texts}
    except OSError:
        with contextlib.suppress(systemd.UnitError):
            systemd.systemctl("disable", "--now", paths.GRAFANA_UNIT)
        return "It is stopped; it never ran before"
    try:
        for path, text in old.items():
            written.File(path, text, group=paths.GRAFANA_USER).write()
        before = replace(server, texts=old, page=_page_before(server))
        _restart(before)
        await_up(before)
    except (OSError, KeyError, ServerError, systemd.UnitError) as exc:
        return f"With what it last ran by it does not come up either: {exc}"
    return "It runs as before, by what it last ran by"


def _page_before(server: Server) -> Page:
    """How it is asked when it runs by what it last ran by."""
    found = grafana_own.record().get("page")
    return Page(**found) if isinstance(found, dict) else server.page


def version(package: str, file: str) -> str:
    """Return the version in a package's file, ``""`` where it has none, or is another package's."""
    commands = (
        ["dpkg-deb", "--showformat=${Package} ${Version}", "--show", file],
        ["rpm", "--query", "--package", "--queryformat", "%{NAME} %{VERSION}-%{RELEASE}", file],
    )
    command = commands[0] if file.endswith(".deb") else commands[1]
    words = process.run(command, _SECONDS).output.split()
    return words[1] if len(words) == 2 and words[0] == package else ""


def wrong_file(file: str, sha256: str) -> str:
    """Return why a file is not the one that is meant, in a sentence; ``""`` where it is."""
    if not os.path.isfile(file):
        return f"dcgm:grafana:package_file: {file} is not there"
    found = files.sha256(file)
    if found != sha256:
        return f"dcgm:grafana:package_sha256: {file} has the SHA-256 {found}, not {sha256}"
    return ""
