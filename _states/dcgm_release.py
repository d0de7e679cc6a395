"""
Build, install and run releases of dcgm-exporter.

``serving`` is the only place that decides whether the exporter runs. What it does follows from the node's
BCM roles as they are, not from the event that made it run: applied twice, it changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

import superpod_build
import superpod_paths
import superpod_release
import superpod_roles
import superpod_service
import superpod_serving
import superpod_unit

_ERRORS = (superpod_build.BuildError, superpod_release.ReleaseError, superpod_unit.UnitError, OSError)

_ROLES_MISSING = (
    "No roles were delivered to this node: look at `salt-run bcm.status` on the head, then `salt-run bcm.sync`"
)


def _result(name: str, result: bool | None, comment: str, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"name": name, "result": result, "comment": comment, "changes": changes or {}}


def go_usable(name: str, minimum: str) -> dict[str, Any]:
    """
    Make sure that a Go compiler is new enough for the release of dcgm-exporter that is to be built.

    :param name: path of the ``go`` command.
    :param minimum: oldest release that builds it, such as ``1.26.0``.
    """
    if __opts__["test"] and not os.path.exists(name):
        return _result(name, True, f"{name} will be checked once it is installed")
    try:
        found = superpod_build.go_version(name)
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    if not superpod_build.is_new_enough(found, minimum):
        hint = "Set dcgm:go:method: archive, or dcgm:go:version to a newer one"
        return _result(name, False, f"{name} is Go {found}; this release needs {minimum} or newer. {hint}")
    return _result(name, True, f"{name} is Go {found}; {minimum} or newer is needed")


def built(
    name: str,
    commit: str,
    source: str,
    artifact: str,
    go: str,
    directory: str,
    timeout: int,
    wait: int,
    environment: dict[str, str],
) -> dict[str, Any]:
    """
    Make sure that the artifact of a release is in the store; build it when it is not.

    :param name: release tag.
    :param commit: what the tag must point to.
    :param source: git URL, path of a checkout, or bundle.
    :param artifact: directory of the artifact in the store.
    :param go: where ``bin/go`` is.
    :param directory: build directory; gone afterwards.
    :param timeout: seconds that the build may take.
    :param wait: seconds to wait for another node that builds the same.
    """
    old = superpod_release.built_from(artifact) or None
    if old == commit:
        return _result(name, True, f"{artifact} is there, built from {commit}")
    changes = {"artifact": {"old": old, "new": commit}}
    if __opts__["test"]:
        return _result(name, None, f"{name} would be built from {source} at {commit}", changes)
    plan = superpod_build.Plan(name, commit, source, go, directory, timeout, dict(environment))
    try:
        with superpod_release.locked(artifact, wait):
            if superpod_release.built_from(artifact) == commit:
                return _result(name, True, f"{artifact} was built by another node meanwhile")
            compiler = superpod_build.go_version(os.path.join(go, "bin/go"))
            facts = {"release": name, "commit": commit, "source": source, "go": compiler}
            superpod_release.publish(artifact, facts, lambda folder: superpod_build.build(plan, folder))
    except _ERRORS as exc:
        superpod_release.note_failure(artifact, str(exc))
        return _result(name, False, str(exc))
    return _result(name, True, f"{name} is built and stored in {artifact}", changes)


def installed(name: str, artifact: str, commit: str, wait: int = 0) -> dict[str, Any]:
    """
    Make sure that a release is installed below /opt/dcgm-exporter, next to others.

    :param name: release tag.
    :param artifact: directory of the artifact in the store.
    :param commit: what it must have been built from; empty when that is not known.
    :param wait: seconds to wait for the artifact where another node builds it.
    """
    directory = os.path.join(superpod_paths.EXPORTER_ROOT, name)
    if superpod_release.is_installed(artifact, directory, commit):
        return _result(name, True, f"dcgm-exporter {name} is installed in {directory}")
    changes = {"installed": {"old": _sum(directory), "new": _sum(artifact) or "the artifact that is to be built"}}
    if __opts__["test"]:
        return _result(name, None, f"dcgm-exporter {name} would be installed from {artifact}", changes)
    try:
        superpod_release.await_artifact(artifact, commit, wait)
        changes["installed"]["new"] = _sum(artifact)
        superpod_release.install(artifact, directory)
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    return _result(name, True, f"dcgm-exporter {name} is installed in {directory}", changes)


def _sum(directory: str) -> str | None:
    with contextlib.suppress(superpod_release.ReleaseError):
        return superpod_release.read_sums(directory).get(superpod_release.BINARY)
    return None


def serving(
    name: str,
    release: str,
    roles: dict[str, Any],
    url: str,
    timeout: int,
    files: list[str] | None = None,
    deploying: bool = False,
) -> dict[str, Any]:
    """
    Make the exporter run, or not, as the node's roles say, with the release and the configuration that are installed.

    Roles that are not known leave it as it is. A release or configuration that does not answer on ``/metrics``
    in time is taken back, and the state fails.

    :param name: the unit.
    :param release: the release that shall be current.
    :param roles: the settings ``dcgm:roles``.
    :param url: address of the exporter's own ``/metrics``.
    :param timeout: seconds until it must answer.
    :param files: further files whose change needs a restart.
    :param deploying: this run installs the exporter; without it, a node that has none is left alone.
    """
    return _serve(name, release, roles, url, timeout, files, deploying, False)


def mod_watch(name: str, sfun: str = "serving", **kwargs: Any) -> dict[str, Any]:
    """Restart the exporter because a watched state changed, or would change, what it runs with."""
    arguments = ("release", "roles", "url", "timeout", "files", "deploying")
    return _serve(
        name,
        **{"files": None, "deploying": False, **{key: kwargs[key] for key in arguments if key in kwargs}},
        changed=True,
    )


def _serve(
    name: str,
    release: str,
    roles: dict[str, Any],
    url: str,
    timeout: int,
    files: list[str] | None,
    deploying: bool,
    changed: bool,
) -> dict[str, Any]:
    deployed = os.path.exists(superpod_paths.UNIT_FILE)
    if not deployed and not (deploying and __opts__["test"]):
        return _result(name, not deploying, f"{name} is not deployed on this node yet")
    record = superpod_roles.read(superpod_paths.ROLES_FILE)
    wanted = superpod_roles.wanted(roles, record)
    try:
        desired = superpod_service.fingerprint(_choose(release, deploying), tuple(files or ()))
        changes = superpod_serving.changes(name, wanted, desired, changed)
        if wanted != "stopped" and not __opts__["test"]:
            superpod_serving.let_start()
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    sentence = _sentence(name, wanted, record)
    if not changes:
        problem = "" if wanted != "running" or __opts__["test"] else superpod_unit.await_metrics(name, url, timeout)
        ret = _result(name, not problem, problem or sentence)
        return {**ret, "warnings": [_ROLES_MISSING]} if wanted == "unknown" and deploying else ret
    if __opts__["test"]:
        return _result(name, None, f"{sentence}: would be changed", changes)
    try:
        problem = superpod_serving.act(name, wanted, desired, changes, (url, timeout))
    except _ERRORS as exc:
        problem = str(exc)
    if problem and superpod_service.linked_release() != desired["release"]:
        changes.pop("release", None)
    return _result(name, not problem, problem or sentence, changes)


def _choose(release: str, deploying: bool) -> str | None:
    """A change of roles never changes the release: one that was taken back stays so until it is deployed again."""
    return release if deploying else superpod_service.linked_release()


def _sentence(name: str, wanted: str, record: dict[str, Any] | None) -> str:
    roles = ", ".join((record or {}).get("roles", [])) or "none"
    return {
        "running": f"{name} runs (roles: {roles})",
        "stopped": f"{name} is stopped and disabled: none of this node's roles wants it (roles: {roles})",
        "unknown": f"{name} is left as it is: the roles of this node are not known yet",
    }[wanted]


def stopped(name: str) -> dict[str, Any]:
    """
    Make sure that the exporter neither runs nor starts at boot, whatever the roles of the node are.

    :param name: the unit.
    """
    try:
        state = superpod_unit.show(name)
        up, enabled = superpod_unit.is_up(state), state.get("UnitFileState") == "enabled"
        if not up and not enabled:
            return _result(name, True, f"{name} neither runs nor starts at boot")
        changes = {"service": {"old": "running" if up else "enabled", "new": "stopped"}}
        if __opts__["test"]:
            return _result(name, None, f"{name} would be stopped and disabled", changes)
        superpod_unit.systemctl("disable", "--now", name)
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    return _result(name, True, f"{name} is stopped and disabled", changes)


def emptied(name: str) -> dict[str, Any]:
    """
    Remove a directory if nothing is left in it: what others put there is theirs.

    :param name: the directory.
    """
    if not os.path.isdir(name):
        return _result(name, True, f"{name} is not there")
    left = sorted(os.listdir(name))
    if left and not __opts__["test"]:
        return _result(name, True, f"{name} stays, because of what others put there: {', '.join(left)}")
    if __opts__["test"]:
        return _result(name, None, f"{name} would be removed if nothing of others is left in it", {"removed": name})
    os.rmdir(name)
    return _result(name, True, f"{name} is removed", {"removed": name})


def pruned(name: str, keep: int, release: str) -> dict[str, Any]:
    """
    Remove old releases from this node, never the current, the wanted or the last good one.

    :param name: what the releases are called in the report.
    :param keep: how many may stay.
    :param release: the release that shall be current.
    """
    surplus = superpod_service.surplus(keep, release)
    if not surplus:
        return _result(name, True, f"No more than {keep} releases are installed")
    changes = {"removed": surplus}
    if __opts__["test"]:
        return _result(name, None, "Old releases would be removed", changes)
    for old in surplus:
        shutil.rmtree(os.path.join(superpod_paths.EXPORTER_ROOT, old))
    return _result(name, True, "Old releases are removed", changes)
