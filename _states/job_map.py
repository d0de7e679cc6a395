"""
Make slurmd run prolog and epilog through links, and keep ids of dead jobs out of the job map.

slurmd drains a node whose prolog or epilog fails, and a dispatcher may fail on a link that leads nowhere:
a link is made only when its target can be run, and nothing of somebody else's is ever replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from salt.exceptions import CommandExecutionError
from superpod_dcgm.agent import job_map
from superpod_dcgm.base import files, state
from superpod_dcgm.slurm import scripts

# Given by Salt's loader.
__env__: str
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]


def reconciled(name: str) -> dict[str, Any]:
    """
    Make sure that the job map is true: no odd files, no ids of jobs that are gone, no job without its label.

    Without an answer of Slurm's controller nothing is known: then nothing changes, and the report has a warning.

    :param name: what the report calls the job map.

    .. code-block:: yaml

        Remove finished jobs from the job map:
          job_map.reconciled: []
    """
    try:
        found = __salt__["job_map.reconcile"](test=True)
        if __opts__["test"] or not _wrong(found):
            return _reconciliation(name, found, None if _wrong(found) else True)
        done = __salt__["job_map.reconcile"](test=False)
        left = __salt__["job_map.reconcile"](test=True)
    except CommandExecutionError as exc:
        return state.result(name, False, str(exc))
    return _reconciliation(name, done, not (done["answered"] and done["problem"]) and not _wrong(left))


def _wrong(found: dict[str, Any]) -> dict[str, Any]:
    return {key: found[key] for key in ("removed", "restored", "repaired") if found.get(key)}


def _reconciliation(name: str, found: dict[str, Any], good: bool | None) -> dict[str, Any]:
    problem = found["problem"]
    words = {None: "would be", True: "are", False: "are, but others still have to be,"}[good]
    sentences = {
        "removed": f"Ids of jobs that are gone {words} removed",
        "restored": f"Labels that were lost {words} given back",
        "repaired": f"Odd files {words} put right",
    }
    changes = _wrong(found)
    comment = "; ".join(sentences[key] for key in changes)
    if not changes:
        comment = f"No id of a job that is gone {'could be removed' if good is False else 'is known'}"
    report = state.result(name, good, f"{comment}; {problem}" if problem else comment, changes)
    return report if found["answered"] else {**report, "warnings": [f"Which jobs are gone is not known: {problem}"]}


def wired(name: str, prolog: str, epilog: str) -> dict[str, Any]:
    """
    Make sure that Slurm's configuration runs prolog and epilog with every allocation. It is only read, never changed.

    :param name: what the report calls the controller.
    :param prolog: link of the prolog on the nodes.
    :param epilog: link of the epilog on the nodes.

    .. code-block:: yaml

        Check that slurmd runs prolog and epilog with every job:
          job_map.wired:
            - prolog: /cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh
            - epilog: /cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh
    """
    try:
        found = __salt__["job_map.wiring"](prolog, epilog)
    except CommandExecutionError as exc:
        return state.result(name, False, str(exc))
    return state.result(name, found["fits"], "\n".join(found["report"]))


def script(name: str, source: str) -> dict[str, Any]:
    """
    Make sure that a script which slurmd runs is there, replaced in one step.

    ``file.managed`` renames first and sets the mode afterwards: for a moment slurmd would find a script that it
    cannot execute. A source that does not pass ``bash -n`` never replaces one that does.

    :param name: path of the script.
    :param source: the script on the file server.

    .. code-block:: yaml

        Write the shared prolog:
          job_map.script:
            - name: /cm/shared/apps/slurm/var/cm/prolog-dcgm.sh
            - source: salt://dcgm/slurm/files/job-map.sh
    """
    cached = __salt__["cp.cache_file"](source, __env__)
    if not cached:
        return state.result(name, False, f"{source} is not on the file server")
    if problem := scripts.syntax_problem(cached):
        return state.result(name, False, f"{problem}; {name} is left as it is")
    changes = scripts.script_changes(cached, name)
    if not changes:
        return state.result(name, True, f"{name} is up to date")
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be written", changes)
    try:
        scripts.write_script(cached, name)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be written: {exc}")
    return state.result(name, True, f"{name} is written", changes)


def moved(name: str, former: str) -> dict[str, Any]:
    """
    Move the job map to another directory, so that jobs that run keep their labels; the former directory goes.

    :param name: the directory, which has to be there. What is in it already is newer and stays.
    :param former: the directory that an earlier apply used.

    .. code-block:: yaml

        Move the job map from its former directory:
          job_map.moved:
            - name: /run/dcgm-job-map
            - former: /run/other-dcgm-map
    """
    if not os.path.isdir(former) or os.path.islink(former):
        return state.result(name, True, f"there is no job map in {former}")
    changes = {"moved": {"old": former, "new": name}}
    if __opts__["test"]:
        return state.result(name, None, f"{former} would be moved", changes)
    try:
        job_map.move(former, name)
    except OSError as exc:
        return state.result(name, False, f"{former} cannot be moved: {exc}")
    return state.result(name, True, f"{former} is moved", changes)


def linked(name: str, target: str, coming: bool = False) -> dict[str, Any]:
    """
    Make sure that a link leads to a script, provided that slurmd can run the script.

    :param name: path of the link.
    :param target: the script. It must be a regular file, readable and executable for everybody, and pass ``bash -n``.
    :param coming: an earlier state of the same run writes the script, so that ``test=True`` need not find it yet.

    .. code-block:: yaml

        Link the prolog where slurmd runs it:
          job_map.linked:
            - name: /etc/slurm/prolog.d/60-prolog-dcgm.sh
            - target: /usr/local/libexec/superpod-dcgm/prolog-dcgm.sh
    """
    found = scripts.inspect_link(name, target)
    if found.obstacle:
        return state.result(name, False, found.obstacle)
    expected = __opts__["test"] and coming and not os.path.lexists(target)
    if not expected and (problem := scripts.script_problem(target)):
        return state.result(name, False, f"{problem}; slurmd is not made to run it")
    if found.target == target:
        return state.result(name, True, f"slurmd runs {target} through {name}")
    changes = {"link": {"old": found.target, "new": target}}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would lead to {target}", changes)
    try:
        files.link_atomic(target, name)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be made: {exc}")
    return state.result(name, True, f"slurmd runs {target} through {name}", changes)


def unlinked(name: str, target: str) -> dict[str, Any]:
    """
    Make sure that our link is gone; whatever else has its name stays.

    :param name: path of the link.
    :param target: the script that it leads to; one of the same name elsewhere counts as ours too.

    .. code-block:: yaml

        Remove the prolog link:
          job_map.unlinked:
            - name: /etc/slurm/prolog.d/60-prolog-dcgm.sh
            - target: /usr/local/libexec/superpod-dcgm/prolog-dcgm.sh
    """
    found = scripts.inspect_link(name, target)
    if found.target is None or found.obstacle:
        return state.result(name, True, found.obstacle or f"{name} is not there")
    changes = {"link": {"old": found.target, "new": None}}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be removed", changes)
    try:
        os.unlink(name)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be removed: {exc}")
    return state.result(name, True, f"{name} is removed", changes)
