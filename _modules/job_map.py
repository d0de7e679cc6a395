"""The job map of a node: which Slurm jobs hold which GPU, which are gone, and whether slurmd is set up to keep it."""

from __future__ import annotations

import dataclasses
from typing import Any

import superpod_exporter
import superpod_job_map
import superpod_job_settings
import superpod_paths
import superpod_reconcile
import superpod_service
import superpod_slurm
import superpod_textfile
from salt.exceptions import CommandExecutionError

_SCONTROL_SECONDS = 20


def _settings() -> dict[str, str]:
    try:
        return superpod_job_map.read_settings(superpod_paths.JOB_MAP_CONFIG)
    except OSError as exc:
        raise CommandExecutionError(f"The job map is not configured on this node: {exc}") from exc


def former(wanted: dict[str, str]) -> dict[str, str]:
    """
    Return the paths that an earlier apply used and that are wanted no longer, by their settings' keys.

    :param wanted: settings as they are to be: ``prolog_link``, ``epilog_link``, ``textfile``, ``directory``.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' job_map.former '{"textfile": "/var/lib/node_exporter"}'
    """
    try:
        known = superpod_job_map.read_settings(superpod_paths.JOB_MAP_CONFIG)
    except OSError:
        return {}
    paths = {
        key: known.get(key, "") for key in ("prolog_link", "epilog_link", "textfile", "directory") if key in wanted
    }
    return {key: path for key, path in paths.items() if path and path not in wanted.values()}


def reconcile(test: bool | None = None) -> dict[str, Any]:
    """
    Remove the ids of jobs that are gone from the job map, as the timer on the node does from time to time.

    Returns ``removed`` (job ids per map file), ``kept`` (why each other id stays), ``answered`` (whether Slurm's
    controller answered where it had to be asked; without its answer nothing is removed) and ``problem``.

    :param test: only say what would be removed; by default as Salt's option ``test``.
    :raises CommandExecutionError: the map is not configured, or cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' job_map.reconcile test=True
    """
    test = bool(__opts__.get("test") if test is None else test)
    try:
        result = superpod_reconcile.reconcile(_settings(), test)
        if not test:
            superpod_textfile.note_reconciliation(result.removed, not result.problem)
    except OSError as exc:
        raise CommandExecutionError(f"The job map cannot be reconciled: {exc}") from exc
    return dataclasses.asdict(result)


def settings(wanted: dict[str, str], release: str, label: bool, compatibility: dict[str, Any]) -> dict[str, str]:
    """
    Return the settings of prolog and epilog for the exporter that runs: the release before if an upgrade failed.

    :param wanted: the settings for the release of the pillar.
    :param release: that release.
    :param label: whether the exporter reads the map.
    :param compatibility: what is known of releases.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' job_map.settings '{idle: empty, mig: "yes"}' 4.5.3-4.8.2 True '{releases: {}}'
    """
    current = superpod_service.linked_release()
    if __opts__.get("test") or current in (None, release):
        return wanted
    try:
        facts = superpod_exporter.facts(current, compatibility)
    except ValueError:
        return wanted
    return {**wanted, **superpod_job_settings.of_release(facts, label)}


def show() -> dict[str, list[str]]:
    """
    Return the ids of the jobs that hold each GPU, as dcgm-exporter reads them at this moment.

    :raises CommandExecutionError: the map is not configured, or cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' job_map.show
    """
    directory = _settings().get("directory", "")
    try:
        return superpod_job_map.read_map(directory)
    except OSError as exc:
        raise CommandExecutionError(f"The job map cannot be read: {exc}") from exc


def wiring(prolog: str = "", epilog: str = "") -> dict[str, Any]:
    """
    Say whether Slurm's configuration makes slurmd run prolog and epilog of the job map with every allocation.

    Returns ``fits``, and ``report`` with one sentence each for Prolog, Epilog and PrologFlags. Nothing is changed:
    under BCM, slurm.conf is changed with cmsh.

    :param prolog: link of the prolog; by default the one of this node.
    :param epilog: link of the epilog; by default the one of this node.
    :raises CommandExecutionError: there is no ``scontrol`` here, or it has no answer from the controller.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' job_map.wiring
    """
    links = {"prolog": prolog, "epilog": epilog}
    if not all(links.values()):
        known = _settings()
        links = {kind: link or known.get(f"{kind}_link", "") for kind, link in links.items()}
    return superpod_job_map.wiring(_slurm_configuration(), **links)


def _slurm_configuration() -> str:
    answer = superpod_slurm.runner(seconds=_SCONTROL_SECONDS)(["scontrol", "show", "config"])
    if answer.code is None and answer.error.startswith("there is no"):
        raise CommandExecutionError("There is no scontrol on this minion: ask one with Slurm's client commands")
    if answer.code != 0:
        raise CommandExecutionError(f"scontrol show config: {answer.problem}")
    return answer.output
