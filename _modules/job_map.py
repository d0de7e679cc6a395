"""The job map of a node: which Slurm jobs hold which GPU, which are gone, and whether slurmd is set up to keep it."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import counters, devices, job_map, slurm
from superpod_dcgm.agent import reconcile as reconciliation
from superpod_dcgm.base import job_map_conf, paths
from superpod_dcgm.slurm import wiring as slurm_wiring

# Given by Salt's loader.
__opts__: dict[str, Any]

_SCONTROL_SECONDS = 20
_PLACES = ("prolog_link", "epilog_link", "textfile", "directory")


def _conf() -> dict[str, str]:
    try:
        return job_map_conf.of_this_node()
    except OSError as exc:
        raise CommandExecutionError(f"The job map is not configured on this node: {exc}") from exc


def former(wanted: dict[str, str]) -> dict[str, str]:
    """
    Return the paths that an earlier apply used and that are wanted no more, by their keys in job-map.conf.

    A path is empty where there is none.

    :param wanted: job-map.conf as it is to be.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' job_map.former '{"textfile": "/var/lib/node_exporter"}'
    """
    try:
        known = job_map_conf.of_this_node()
    except OSError:
        known = {}
    return {key: "" if (path := known.get(key, "")) in wanted.values() else path for key in _PLACES}


def places(wanted: dict[str, str]) -> list[str]:
    """
    Return all that the agent reads and writes on this node, whatever the pillar was when it was put there.

    :param wanted: job-map.conf as the pillar wants it.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-01' job_map.places '{"directory": "/run/dcgm-job-map"}'
    """
    before = former(wanted)
    found = [*paths.AGENT_FILES, wanted.get("directory", ""), before["directory"]]
    texts = (wanted.get("textfile"), before["textfile"])
    return [path for path in found if path] + [os.path.join(path, paths.TEXTFILE) for path in texts if path]


def reconcile(test: bool | None = None) -> dict[str, Any]:
    """
    Make the job map true, as the timer on the node does from time to time: put odd files right, remove the ids of jobs
    that are gone, and give back labels that were lost.

    Returns ``removed`` and ``restored`` (job ids per map file), ``repaired`` (odd files that were put right), ``kept``
    (why each other id stays), ``answered`` (whether Slurm's controller answered where it had to be asked; without its
    answer nothing is removed) and ``problem``.

    :param test: only say what would be done; by default as Salt's option ``test``.
    :raises CommandExecutionError: the map is not configured, or cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' job_map.reconcile test=True
    """
    test = bool(__opts__.get("test") if test is None else test)
    try:
        table = devices.current() if devices.read_status().get("ok") is True else None
        result = reconciliation.reconcile(_conf(), test, table=table)
        if not test:
            counters.note_repairs([fault.reason for fault in result.repaired])
            counters.note_reconciliation(result.removed, not result.problem, result.restored, result.after)
    except OSError as exc:
        raise CommandExecutionError(f"The job map cannot be reconciled: {exc}") from exc
    return {**dataclasses.asdict(result), "repaired": {fault.name: fault.words for fault in result.repaired}}


def show() -> dict[str, list[str]]:
    """
    Return the ids of the jobs that hold each GPU, as dcgm-exporter reads them at this moment.

    :raises CommandExecutionError: the map is not configured, or cannot be read.

    CLI Example:

    .. code-block:: bash

        salt 'dgx-*' job_map.show
    """
    directory = _conf().get("directory", "")
    try:
        return job_map.read_map(directory)
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
        known = _conf()
        links = {kind: link or known.get(f"{kind}_link", "") for kind, link in links.items()}
    return slurm_wiring.check(_slurm_configuration(), **links)


def _slurm_configuration() -> str:
    answer = slurm.runner(seconds=_SCONTROL_SECONDS)(["scontrol", "show", "config"])
    if answer.missing:
        raise CommandExecutionError("There is no scontrol on this minion: ask one with Slurm's client commands")
    if answer.code != 0:
        raise CommandExecutionError(f"scontrol show config: {answer.problem}")
    return answer.output
