"""Prometheus on the monitoring host: ours as a service of its own beside those of others, or included by theirs."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import state, systemd
from superpod_dcgm.monitoring import existing, ownership, package, server
from superpod_dcgm.monitoring import page as pages

# Given by Salt's loader.
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]
__states__: dict[str, Callable[..., dict[str, Any]]]

_ERRORS = (OSError, systemd.UnitError, server.ServerError)


def left(name: str) -> dict[str, Any]:
    """
    Make sure that no drop-in of an earlier version of this project runs the package's service as ours.

    :param name: the package's service.

    .. code-block:: yaml

        Remove what an earlier version added to prometheus.service:
          dcgm_prometheus.left:
            - name: prometheus.service
    """
    drop_in = ownership.former(name)
    if not drop_in:
        return state.result(name, True, f"{name} has no drop-in of this project")
    changes = {"removed": drop_in}
    if __opts__["test"]:
        return state.result(name, None, f"{drop_in} of an earlier version would be removed, {name} given back", changes)
    try:
        done = package.leave(name)
    except _ERRORS as exc:
        return state.result(name, False, f"{name} cannot be given back: {exc}")
    return state.result(name, True, done, changes)


def possible(
    name: str, port: int, data: str, config: str, program: str, packages: list[str], unit: str
) -> dict[str, Any]:
    """
    Check that our Prometheus takes nothing of others: port, directories, services. Nothing is changed.

    :param name: a sentence.
    :param port: where it is to listen.
    :param data: its data directory.
    :param config: its configuration file.
    :param program: path of the program.
    :param packages: packages that bring it.
    :param unit: the service that these packages bring.

    .. code-block:: yaml

        Check that superpod-prometheus.service takes nothing of others:
          dcgm_prometheus.possible:
            - port: 9090
            - data: /var/lib/superpod-prometheus
            - config: /etc/superpod-prometheus/prometheus.yml
            - program: /usr/bin/prometheus
            - packages: [prometheus]
            - unit: prometheus.service
    """
    found = ownership.obstacles(ownership.Wanted(port, data, config, program, tuple(packages), unit))
    return state.result(name, not found, "\n".join(found) or f"port {port}, {data} and {config} are free or ours")


def packaged(name: str, packages: list[str], unit: str) -> dict[str, Any]:
    """
    Make sure that the program is installed. If we install it, its own service is masked first, and that is noted.

    :param name: path of the program.
    :param packages: packages that bring it; none where the site installs it.
    :param unit: the service that these packages bring. Where the package is there already it is never touched.

    .. code-block:: yaml

        Install Prometheus:
          dcgm_prometheus.packaged:
            - name: /usr/bin/prometheus
            - packages: [prometheus]
            - unit: prometheus.service
    """
    missing = [wanted for wanted in packages if not __salt__["pkg.version"](wanted)]
    if not missing:
        there = os.access(name, os.X_OK)
        return state.result(name, there, f"{name} is {'there' if there else 'missing: see dcgm:prometheus:program'}")
    changes = {"installed": missing, "masked": unit}
    if __opts__["test"]:
        return state.result(name, None, f"{', '.join(missing)} would be installed, without starting {unit}", changes)
    try:
        package.mask(unit, missing)
        ret = __states__["pkg.installed"](name, pkgs=missing)
        if ret["result"] is False:
            package.unmask()
            package.note(packages=[], masked=False)
            return state.result(name, False, ret["comment"])
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"{', '.join(missing)} installed; {unit} stays masked while ours is here", changes)


def readable(name: str, user: str, places: list[str], secrets: list[str] | None = None) -> dict[str, Any]:
    """
    Check that the user of our Prometheus can read what its configuration names, and not everybody its secrets.

    Nothing is changed.

    :param name: a sentence.
    :param user: the user.
    :param places: files and directories.
    :param secrets: files with a password or a key.

    .. code-block:: yaml

        Check that superpod-prometheus can read what it needs:
          dcgm_prometheus.readable:
            - user: superpod-prometheus
            - places: [/cm/shared/apps/dcgm-exporter/prometheus-targets]
    """
    if __opts__["test"]:
        return state.result(name, True, "That is looked at when user and directories are there")
    found = [*ownership.unreadable(user, places), *ownership.exposed(secrets or [])]
    return state.result(name, not found, "\n".join(found) or f"{user} can read {', '.join(places) or 'all'}")


def serving(
    name: str, config: str, page: dict[str, Any], data: str, timeout: int, promtool: str = ""
) -> dict[str, Any]:
    """
    Make sure that our Prometheus runs by its files, starts at boot, stays up and is ready.

    promtool checks all of its files first. Where only they changed, and not its options, it reads them anew and goes
    on running. With files by which it does not come up, those of the last time are put back, and the state fails.

    :param name: its unit.
    :param config: its configuration file.
    :param page: how it is asked: ``port``, ``tls``, ``ca``, ``user``, ``password_file``.
    :param data: its data directory, which the record keeps for the day when it is removed.
    :param timeout: seconds that it may take.
    :param promtool: the program that checks its files.

    .. code-block:: yaml

        Start superpod-prometheus.service:
          dcgm_prometheus.serving:
            - name: superpod-prometheus.service
            - config: /etc/superpod-prometheus/prometheus.yml
            - page: {port: 9090}
            - data: /var/lib/superpod-prometheus
            - timeout: 60
            - promtool: /usr/bin/promtool
    """
    wanted = server.Server(config, pages.Page(**page), timeout, promtool)
    try:
        todo = server.differences(wanted)
        if __opts__["test"] or not todo:
            words = ", ".join(f"{what} to be {done}" for what, done in todo.items()) or "it runs as it should"
            return state.result(name, None if todo else True, words, todo)
        server.apply(wanted, todo)
        package.note(config=config, data=data)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"{name} is up and ready on port {wanted.page.port}", todo)


def removed(name: str, config: str, data: str) -> dict[str, Any]:
    """
    Remove our Prometheus, and give the package's service back if it was masked for it. The data stays.

    :param name: its unit.
    :param config: its configuration file.
    :param data: its data directory.

    .. code-block:: yaml

        Remove superpod-prometheus.service:
          dcgm_prometheus.removed:
            - name: superpod-prometheus.service
            - config: /etc/superpod-prometheus/prometheus.yml
            - data: /var/lib/superpod-prometheus
    """
    known = ownership.record()
    present, masked = package.present(config), package.is_masked_by_us()
    data = str(known.get("data", data))
    stays = f"its data stays in {data}: remove it with rm -r" if os.path.isdir(data) else "it has no data"
    if not present and not masked:
        return state.result(name, True, f"{name} is not there; {stays}")
    changes: dict[str, Any] = {"removed": present, **({"kept": data} if os.path.isdir(data) else {})}
    if masked:
        changes["unmasked"] = masked
    if installed := known.get("packages"):
        changes["packages that stay"] = installed
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed; {stays}", changes)
    try:
        package.unmask()
        package.remove(config)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"{name} is removed; {stays}", changes)


def told(
    name: str,
    page: dict[str, Any],
    scrape_config: str,
    targets: str,
    rules: list[str] | None = None,
    secrets: list[str] | None = None,
) -> dict[str, Any]:
    """
    Ask a Prometheus of others by its API whether it has our targets and rules.

    What its administrator has left to do is one sentence, and shows as a change until it is done. Nothing is changed.

    :param name: a sentence.
    :param page: how it is asked: ``port``, ``tls``, ``ca``, ``user``, ``password_file``.
    :param scrape_config: our file with the jobs.
    :param targets: the directory of the target files.
    :param rules: our rule files.
    :param secrets: files with a password or a key; one that everybody can read is a warning.

    .. code-block:: yaml

        Check that the existing Prometheus has our targets and rules:
          dcgm_prometheus.told:
            - page: {port: 9090}
            - scrape_config: /etc/prometheus/scrape_configs.d/dcgm-exporter.yml
            - targets: /cm/shared/apps/dcgm-exporter/prometheus-targets
    """
    wanted = pages.Page(**page)
    found = existing.look(wanted, existing.Ours(scrape_config, targets, tuple(rules or ())))
    if not found.asked:
        who = f"No Prometheus tells on port {wanted.port} (dcgm:prometheus:port)"
        if found.refused:
            key = "dcgm:prometheus:web:user and password_file"
            who = f"What listens on port {wanted.port} refuses us (give {key}), and does not tell"
        why = f"{who} whether it has our targets and rules. If it has not: {found.to_do}"
        return {**state.result(name, True, why), "warnings": [f"{why}.", *ownership.exposed(secrets or [])]}
    notes = [*_doubled(found), *_for_vmalert(found), *ownership.exposed(secrets or [])]
    if found.to_do:
        ret = state.result(name, None if __opts__["test"] else True, found.to_do, {"to do": found.to_do})
    else:
        words = f"It has {found.exporters} exporters as targets and {found.rules} rule files of ours"
        ret = state.result(name, True, words)
    return {**ret, "warnings": notes} if notes else ret


def _doubled(found: existing.Found) -> list[str]:
    return [
        f"Job {job} of this Prometheus scrapes exporters that are targets of ours, too: every series comes twice. "
        "Take that job out"
        for job in found.twice
    ]


def _for_vmalert(found: existing.Found) -> list[str]:
    folders = sorted({os.path.dirname(path) for path in found.for_vmalert})
    return [
        f"This is a VictoriaMetrics, which has no rules itself: have vmalert read them (-rule={folder}/*.yml). With "
        "-vmalert.proxyURL it shows them, and they are looked at here"
        for folder in folders
    ]
