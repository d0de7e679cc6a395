"""What our Prometheus takes from the machine, and how that is given back: the package's own service, and our files."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Sequence

from superpod_dcgm.base import files, paths, process, systemd
from superpod_dcgm.monitoring import ownership, rules_installed

_SECONDS = 60


def mask(unit: str, packages: Sequence[str]) -> None:
    """
    Keep the service of packages that are about to be installed from starting, and note that we did both.

    :raises OSError: it cannot be noted; nothing is changed then.
    :raises systemd.UnitError: systemd refuses.
    """
    masked = not os.path.lexists(f"{ownership.UNIT_DIRECTORY}/{unit}")
    note(packages=list(packages), unit=unit, masked=masked)
    if masked:
        systemd.systemctl("mask", unit)


def note(**facts: object) -> None:
    """
    Add facts to the record of this machine's Prometheus of ours.

    :raises OSError: it cannot be written.
    """
    files.make_directory(paths.PROMETHEUS_CONFIG)
    found = {**ownership.record(), **facts}
    files.write_atomic(paths.PROMETHEUS_RECORD, json.dumps(found, indent=1, sort_keys=True) + "\n")


def is_masked_by_us() -> str:
    """Return the unit that we masked and that is masked still, or ``""``."""
    known = ownership.record()
    unit = str(known.get("unit", ""))
    path = f"{ownership.UNIT_DIRECTORY}/{unit}"
    return unit if known.get("masked") and os.path.realpath(path) == "/dev/null" else ""


def unmask() -> str:
    """
    Give the package's service back: unmasked, and not enabled, since nobody but us wanted the package.

    :return: the unit, or ``""`` where there is nothing to give back.
    :raises systemd.UnitError: systemd refuses.
    """
    unit = is_masked_by_us()
    if unit:
        systemd.systemctl("unmask", unit)
        process.run(["systemctl", "disable", unit], _SECONDS)
    return unit


def leave(unit: str) -> str:
    """
    Take away the drop-in by which an earlier version of this project ran the package's service, and give that back.

    A service that nobody configured ran for us alone, and is stopped; one of the site runs on as the site wants it.

    :return: what came of it, as a sentence.
    :raises OSError: the drop-in cannot be removed.
    :raises systemd.UnitError: systemd refuses.
    """
    ours_alone = ownership.is_pristine(unit)
    drop_in = ownership.former(unit)
    with open(drop_in, encoding="utf-8") as stream:
        config = re.search(r"--config\.file=(/\S*superpod-dcgm\S*)", stream.read())
    os.unlink(drop_in)
    if config and os.path.isfile(config[1]):
        os.unlink(config[1])
    with contextlib.suppress(OSError):
        os.rmdir(os.path.dirname(drop_in))
    systemd.systemctl("daemon-reload")
    if ours_alone:
        systemd.systemctl("disable", "--now", unit)
        return f"{unit} ran for this project alone: it is stopped and disabled"
    systemd.systemctl("try-restart", unit)
    return f"{unit} runs by the site's own options again"


def present(config: str) -> list[str]:
    """
    Return the files of our Prometheus that are on this machine; data and the user that owns them are not among them.

    :param config: its configuration file, by the pillar; that of the record may be another.
    """
    noted = str(ownership.record().get("config", config))
    marked = dict.fromkeys([paths.PROMETHEUS_UNIT_FILE, config, noted, paths.PROMETHEUS_WEB])
    found = [path for path in marked if ownership.is_ours(path)] + rules_installed.of_ours(paths.PROMETHEUS_RULES)
    return found + [path for path in (paths.PROMETHEUS_RECORD, paths.PROMETHEUS_GOOD) if os.path.lexists(path)]


def remove(config: str) -> None:
    """
    Stop our Prometheus and remove its files.

    :raises OSError: a file cannot be removed.
    :raises systemd.UnitError: it does not stop.
    """
    if ownership.is_ours(paths.PROMETHEUS_UNIT_FILE):
        systemd.systemctl("disable", "--now", paths.PROMETHEUS_UNIT)
    for path in present(config):
        shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
    for folder in (paths.PROMETHEUS_RULES, paths.PROMETHEUS_CONFIG):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    systemd.systemctl("daemon-reload")
    process.run(["systemctl", "reset-failed", paths.PROMETHEUS_UNIT], _SECONDS)
