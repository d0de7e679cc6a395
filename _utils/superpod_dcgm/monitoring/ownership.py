"""Whether a Prometheus of ours may be on this machine: port, places and services of others are theirs."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from superpod_dcgm.base import files, listeners, paths, process, readable, systemd
from superpod_dcgm.monitoring import disk, texts

MARK = texts.MARK
UNIT_DIRECTORY = "/etc/systemd/system"
_FORMER = "superpod-dcgm.conf"
_DEFAULT_PORT = 9090
_LISTEN = re.compile(r"--?web\.listen-address[=\s]\s*[\"']?[^\s\"']*:(\d+)")


@dataclass(frozen=True)
class Wanted:
    """What the pillar says of our Prometheus; ``unit`` is the package's own service."""

    port: int
    data: str
    config: str
    program: str
    packages: tuple[str, ...]
    unit: str


def obstacles(wanted: Wanted) -> list[str]:
    """Return one sentence per thing of others, or disk, that is in the way of our Prometheus. Nothing is changed."""
    unfit = [sentence] if (sentence := disk.obstacle(wanted.data)) else []
    return [*unfit, *_taken(wanted), *_foreign_files(wanted), *_foreign_data(wanted.data), *_foreign_unit(wanted)]


def record() -> dict[str, object]:
    """Return what was noted of this machine's Prometheus of ours; empty where there is none."""
    found = files.read_json(paths.PROMETHEUS_RECORD)
    return found if isinstance(found, dict) else {}


def is_ours(path: str) -> bool:
    """Return whether a text file carries our mark."""
    try:
        return files.head(path, len(MARK), follow=True) == MARK.encode()
    except OSError:
        return False


def is_ours_to_include(path: str) -> bool:
    """Return whether a scrape configuration is ours: it has our mark, or, as before there was one, only our jobs."""
    if is_ours(path):
        return True
    try:
        with open(path, encoding="utf-8") as stream:
            found = yaml.safe_load(stream)
        jobs = {job["job_name"] for job in found["scrape_configs"]}
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return False
    return list(found) == ["scrape_configs"] and bool(jobs) and jobs <= {*paths.SCRAPE_JOBS, *paths.SCRAPE_NAMES}


def former(unit: str) -> str:
    """Return the drop-in by which an earlier version of this project took the package's service over, or ``""``."""
    path = f"{UNIT_DIRECTORY}/{unit}.d/{_FORMER}"
    return path if os.path.isfile(path) else ""


def is_pristine(unit: str) -> bool:
    """
    Return whether nobody configured the package's service: its files are the package's, and only ours are with them.

    Then it ran for us alone. Where nobody can tell, it is somebody's.
    """
    others = [name for name in _listed(f"{UNIT_DIRECTORY}/{unit}.d") if name != _FORMER]
    answer = process.run(["dpkg-query", "--showformat=${Conffiles}\n", "--show", unit.removesuffix(".service")], 30)
    if answer.code != 0:
        return False
    sums = [line.split()[:2] for line in answer.output.splitlines() if len(line.split()) >= 2]
    return not others and bool(sums) and all(_md5(path) == known for path, known in sums)


def unreadable(user: str, places: Iterable[str]) -> list[str]:
    """Return a sentence per file or directory that ``user`` cannot read: he is asked, whatever the modes say."""
    found = []
    for place in places:
        words = f"{place} is not there"
        if os.path.lexists(place):
            words = "" if readable.by(user, place) else f"{place} cannot be read by the user {user}"
        found += [f"{words}; Prometheus would find no target" if os.path.isdir(place) else words] if words else []
    return found


def exposed(places: Iterable[str]) -> list[str]:
    """Return a sentence per file with a secret that everybody on this machine can read."""
    found = []
    for place in places:
        with contextlib.suppress(OSError):
            if stat.S_IMODE(os.stat(place).st_mode) & stat.S_IROTH:
                found.append(f"{place} can be read by everybody; take that right away (chmod o-r)")
    return found


def _taken(wanted: Wanted) -> list[str]:
    hint = "choose another port, or set prometheus:mode to existing to have that Prometheus scrape the nodes"
    free = {paths.PROMETHEUS_UNIT}
    if former(wanted.unit) and is_pristine(wanted.unit):
        # It goes before ours comes.
        free.add(wanted.unit)
    pids = {_show(unit, "MainPID").strip() for unit in free}
    found = [
        holder
        for holder in listeners.on(wanted.port)
        if holder.unit not in free and str(holder.pid) not in pids - {"0"}
    ]
    if found:
        return [f"dcgm:prometheus:port: on {wanted.port} listens {found[0].words}: {hint}"]
    enabled = [unit for unit in _enabled_servers() if unit not in free and port_of(unit) == wanted.port]
    return [
        f"dcgm:prometheus:port: {unit} is enabled and would listen on {wanted.port} at the next boot: {hint}"
        for unit in enabled
    ]


def _enabled_servers() -> list[str]:
    """The units of others that start a Prometheus at boot."""
    try:
        text = systemd.systemctl("list-unit-files", "--no-legend", "--state=enabled", "*prometheus*.service")
    except systemd.UnitError:
        return []
    units = [line.split()[0] for line in text.splitlines() if line.split()]
    return [unit for unit in units if re.search(r"path=\S*/prometheus\s", _show(unit, "ExecStart"))]


def port_of(unit: str) -> int:
    """Return the port that a unit's Prometheus is told to listen on."""
    texts = [_show(unit, "ExecStart"), _show(unit, "Environment")]
    for name in re.findall(r"(/\S+) \(ignore_errors", _show(unit, "EnvironmentFiles")):
        with contextlib.suppress(OSError), open(name, encoding="utf-8", errors="replace") as stream:
            texts += [line for line in stream if not line.lstrip().startswith("#")]
    found = _LISTEN.search("\n".join(texts))
    return int(found[1]) if found else _DEFAULT_PORT


def _show(unit: str, name: str) -> str:
    try:
        return systemd.systemctl("show", f"--property={name}", "--value", unit)
    except systemd.UnitError:
        return ""


def _foreign_files(wanted: Wanted) -> list[str]:
    keys = {wanted.config: "dcgm:prometheus:config: ", paths.PROMETHEUS_UNIT_FILE: ""}
    return [
        f"{key}{path} is there and was not written by this project: it is left as it is; "
        + ("choose another path" if key else "move it away first")
        for path, key in keys.items()
        if os.path.lexists(path) and not is_ours(path)
    ]


def _foreign_data(data: str) -> list[str]:
    if not os.path.isdir(data):
        return [f"dcgm:prometheus:data: {data} is no directory"] if os.path.lexists(data) else []
    owner = os.stat(data).st_uid
    if not os.listdir(data) or owner == _uid(paths.PROMETHEUS_USER):
        return []
    return [
        f"dcgm:prometheus:data: {data} belongs to {_name(owner)} and is not empty: "
        "give our Prometheus a directory of its own"
    ]


def _foreign_unit(wanted: Wanted) -> list[str]:
    """A package's first start would start what the site has under the same name."""
    path = f"{UNIT_DIRECTORY}/{wanted.unit}"
    installs = wanted.packages and not os.path.exists(wanted.program)
    if not installs or not os.path.isfile(path) or os.path.islink(path):
        return []
    return [
        f"dcgm:prometheus:packages: installing them would start {path}, which is the site's: name its Prometheus in "
        "prometheus:program and set prometheus:packages to [], or install the packages yourself"
    ]


def _uid(name: str) -> int | None:
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(name).pw_uid
    return None


def _name(uid: int) -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"uid {uid}"


def _listed(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return os.listdir(path)
    return []


def _md5(path: str) -> str:
    answer = process.run(["md5sum", path], 30)
    return answer.output.split()[0] if answer.code == 0 else ""
