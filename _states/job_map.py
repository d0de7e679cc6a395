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
from superpod_dcgm.slurm import links, runnable, running, scripts

# Given by Salt's loader.
__env__: str
__opts__: dict[str, Any]
__salt__: dict[str, Callable[..., Any]]

_NOT_KNOWN = "Whether slurmd runs prolog and epilog cannot be told here in full; ask a node: salt NODE job_map.wiring"
_ALL_GRES = ["gpu", "shard", "mps"]
_OWN_DIRECTORY = "choose another slurm:local_directory, or slurm:scripts: shared"
_FOR_ALL = "dcgm.slurm.shared_clean to the head after dcgm.clean on all nodes"
_DONE = {"removed": "Ids of dead jobs {} removed", "restored": "Lost labels {} given back"}
_DONE["repaired"] = "Odd files {} put right"
Known = dict[str, list[str]]


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
    problem, changes = found["problem"], _wrong(found)
    words = {None: "would be", True: "are", False: "are, but others still have to be,"}[good]
    comment = "; ".join(_DONE[key].format(words) for key in changes)
    comment = comment or f"No id of a job that is gone {'could be removed' if good is False else 'is known'}"
    report = state.result(name, good, f"{comment}; {problem}" if problem else comment, changes)
    return report if found["answered"] else {**report, "warnings": [f"Which jobs are gone is not known: {problem}"]}


def wired(name: str, prolog: str, epilog: str, gres: list[str] | None = None) -> dict[str, Any]:
    """
    Make sure that Slurm's configuration runs prolog and epilog with every allocation. It is only read, never changed.

    What cannot be told on this machine, and what slurm:gres lacks, is a warning.

    :param name: what the report calls the controller.
    :param prolog: link of the prolog on the nodes.
    :param epilog: link of the epilog on the nodes.
    :param gres: what the pillar has as slurm:gres.

    .. code-block:: yaml

        Check that slurmd runs prolog and epilog with every job:
          job_map.wired:
            - prolog: /cm/local/apps/slurm/var/prologs/60-prolog-dcgm.sh
            - epilog: /cm/local/apps/slurm/var/epilogs/60-epilog-dcgm.sh
    """
    try:
        found = __salt__["job_map.wiring"](prolog, epilog, gres)
        # Slurm runs the scripts all the same where the pillar does not know that jobs share GPUs.
        runs = (
            __salt__["job_map.wiring"](prolog, epilog, _ALL_GRES)["fits"] if found["fits"] is False else found["fits"]
        )
    except CommandExecutionError as exc:
        return state.result(name, False, str(exc))
    report = state.result(name, runs is not False, "\n".join(found["report"]))
    warnings = [_NOT_KNOWN] if runs is None else found["report"][-1:] if runs else []
    return {**report, "warnings": warnings} if found["fits"] is not True and warnings else report


def script(
    name: str, source: str, storage: Known | None = None, guarded: bool = False, makedirs: bool = False
) -> dict[str, Any]:
    """
    Make sure that a script which slurmd runs is there, replaced in one step.

    ``file.managed`` renames first and sets the mode afterwards: for a moment slurmd would find a script that it
    cannot execute. A source that does not pass ``bash -n`` never replaces one that does.

    :param name: path of the script.
    :param source: the script on the file server.
    :param storage: the script has to be this node's own: what is known to be shared (see ``linked``).
    :param guarded: leave a script of the same name that is not ours.

    .. code-block:: yaml

        Write the shared prolog:
          job_map.script:
            - name: /cm/shared/apps/slurm/var/cm/prolog-dcgm.sh
            - source: salt://dcgm/slurm/files/job-map.sh
    """
    cached = __salt__["cp.cache_file"](source, __env__)
    if not cached:
        return state.result(name, False, f"{source} is not on the file server")
    if problem := runnable.syntax_problem(cached):
        return state.result(name, False, f"{problem}; {name} is left as it is")
    if storage and (why := scripts.storage(storage).why(os.path.dirname(name))):
        return state.result(name, False, f"{name} would be every node's, not this one's: {why}; {_OWN_DIRECTORY}")
    if guarded and os.path.lexists(name) and not scripts.is_ours(name):
        return state.result(name, False, f"{name} is there, and is not ours; it is left as it is; move it away")
    changes = scripts.script_changes(cached, name)
    if not changes:
        return state.result(name, True, f"{name} is up to date")
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be written", changes)
    try:
        scripts.write_script(cached, name, makedirs)
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


def linked(
    name: str,
    target: str,
    coming: bool = False,
    local: bool = False,
    storage: Known | None = None,
    known: list[str] | None = None,
) -> dict[str, Any]:
    """
    Make sure that a link leads to a script, provided that slurmd can run it, on this node and on others.

    slurmd asks access(2); so does this, in slurmd's own mounts. A link of ours that slurmd cannot follow is removed.

    :param name: path of the link.
    :param target: a regular file, executable for everybody, that only root can replace and that passes ``bash -n``.
    :param coming: an earlier state of the same run writes the script, so that ``test=True`` need not find it yet.
    :param local: the script is this node's own: then neither it nor the link may be where other nodes see it.
    :param storage: ``places``: directories that are shared with other nodes; ``stores``: directories that have to be.
    :param known: further places of our script: a link to one of them is ours, whatever is there now.

    .. code-block:: yaml

        Link the prolog where slurmd runs it:
          job_map.linked:
            - name: /etc/slurm/prolog.d/60-prolog-dcgm.sh
            - target: /usr/local/libexec/superpod-dcgm/prolog-dcgm.sh
    """
    if (found := links.inspect_link(name, target, known)).obstacle:
        return state.result(name, False, found.obstacle)
    root, shared = runnable.slurmd_root(), scripts.storage(storage)
    expected = __opts__["test"] and coming and not os.path.lexists(target)
    if problem := links.problem(name, target, local, shared, root, expected):
        alone = links.is_alone(name, local, shared)
        return _removal(name, found).refuse(f"{problem}; slurmd is not made to run it", alone)
    if found.target == target:
        return state.result(name, True, f"slurmd runs {target} through {name}")
    changes = {"link": {"old": "stand-in" if found.stand_in else found.target, "new": target}}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would lead to {target}", changes)
    try:
        files.link_atomic(target, name)
    except OSError as exc:
        return state.result(name, False, f"{name} cannot be made: {exc}")
    if problem := runnable.script_problem(name, root):
        return _removal(name, links.Link(target, "")).refuse(problem, False)
    return state.result(name, True, f"slurmd runs {target} through {name}", changes)


def _removal(name: str, found: links.Link) -> links.Removal:
    return links.Removal(name, found, __opts__["test"], __salt__["job_map.left_empty"])


def unlinked(
    name: str,
    target: str,
    storage: Known | None = None,
    known: list[str] | None = None,
    everywhere: bool = False,
) -> dict[str, Any]:
    """
    Make sure that our link is gone; whatever else has its name stays, and so does one that other nodes run.

    No prolog or epilog runs at that moment. Where slurmd would find nothing without the link, and drain the node, a
    script that does nothing takes its place.

    :param name: path of the link.
    :param target: the script that it leads to; one of ours elsewhere counts too.
    :param storage: what is shared with other nodes, as for ``linked``.
    :param known: further places of our script.
    :param everywhere: remove it for all nodes that see it.

    .. code-block:: yaml

        Remove the prolog link:
          job_map.unlinked:
            - name: /etc/slurm/prolog.d/60-prolog-dcgm.sh
            - target: /usr/local/libexec/superpod-dcgm/prolog-dcgm.sh
    """
    found = links.inspect_link(name, target, known)
    if found.obstacle or (found.target is None and not found.stand_in):
        return state.result(name, True, found.obstacle or f"{name} is not there")
    problem = "" if found.stand_in else runnable.script_problem(name, runnable.slurmd_root())
    shared = scripts.storage(storage)
    why = "" if problem or everywhere or found.stand_in else shared.why(os.path.dirname(name))
    if why and shared.why(os.path.realpath(name)):
        comment = f"{name} stays, since other nodes run it: {why}. To remove it for all nodes, apply {_FOR_ALL}"
        return {**state.result(name, True, comment), "warnings": [comment]}
    return _removal(name, found).report(problem, True, 0 if problem else running.QUIET_SECONDS)


def alive(name: str, target: str, known: list[str] | None = None, coming: bool = False) -> dict[str, Any]:
    """
    Make sure that no link of ours leads to what slurmd cannot run: the next job would drain the node.

    :param name: path of the link, which need not be there.
    :param target: the script that it leads to.
    :param known: further places of our script.
    :param coming: an earlier state of the same run writes the script.

    .. code-block:: yaml

        Remove the prolog link if slurmd cannot run it:
          job_map.alive:
            - name: /etc/slurm/prolog.d/60-prolog-dcgm.sh
            - target: /usr/local/libexec/superpod-dcgm/prolog-dcgm.sh
    """
    found = links.inspect_link(name, target, known)
    if found.obstacle or found.target is None or (coming and __opts__["test"]):
        return state.result(name, True, f"{name} leads to no script of ours")
    if problem := runnable.script_problem(name, runnable.slurmd_root()):
        return _removal(name, found).report(problem, True, 0)
    return state.result(name, True, f"slurmd can run {name}")


def removed(name: str, storage: Known | None = None, own: bool = False) -> dict[str, Any]:
    """
    Make sure that a script, or a directory of scripts, is gone; no prolog or epilog runs at that moment.

    :param name: path of it.
    :param storage: what is shared with other nodes, as for ``linked``: a directory that is stays.
    :param own: it is ours, whatever it holds.

    .. code-block:: yaml

        Remove the local scripts:
          job_map.removed:
            - name: /usr/local/libexec/superpod-dcgm
            - own: True
    """
    return scripts.removal(name, scripts.storage(storage), own, __opts__["test"])
