"""
Build, install and run releases of dcgm-exporter.

``serving`` is the only place that decides whether the exporter runs. What it does follows from the node's
BCM roles as they are, not from the event that made it run: applied twice, it changes nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import Any

import superpod_build
import superpod_exporter
import superpod_files
import superpod_paths
import superpod_release
import superpod_roles
import superpod_service
import superpod_unit

_ERRORS = (superpod_build.BuildError, superpod_release.ReleaseError, superpod_unit.UnitError, OSError)


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
        answer = subprocess.run(
            [name, "version"], capture_output=True, text=True, timeout=60, check=True, env={"GOTOOLCHAIN": "local", "HOME": "/"}
        )
    except (OSError, subprocess.SubprocessError) as exc:
        return _result(name, False, f"{name} does not run: {exc}")
    found = answer.stdout.split()[2].removeprefix("go")
    if _numbers(found) < _numbers(minimum):
        return _result(
            name, False, f"{name} is Go {found}; this release needs {minimum} or newer. Use dcgm:go:method: archive"
        )
    return _result(name, True, f"{name} is Go {found}; {minimum} is needed")


def _numbers(text: str) -> tuple[int, ...]:
    return (*(int(part) for part in text.split(".") if part.isdigit()), 0, 0, 0)[:3]


def built(
    name: str, commit: str, source: str, artifact: str, go: str, directory: str, timeout: int, wait: int, environment: dict[str, str]
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
    old = superpod_files.read_json(os.path.join(artifact, superpod_release.MANIFEST), {}).get("commit")
    if old == commit:
        return _result(name, True, f"{artifact} is there, built from {commit}")
    changes = {"artifact": {"old": old, "new": commit}}
    if __opts__["test"]:
        return _result(name, None, f"{name} would be built from {source} at {commit}", changes)
    plan = superpod_build.Plan(name, commit, source, go, directory, timeout, dict(environment))
    try:
        with superpod_release.locked(artifact, wait):
            manifest = superpod_files.read_json(os.path.join(artifact, superpod_release.MANIFEST), {})
            if manifest.get("commit") == commit:
                return _result(name, True, f"{artifact} was built by {manifest.get('built_on')} meanwhile")
            facts = {"release": name, "commit": commit, "source": source, "go": os.path.basename(go)}
            superpod_release.publish(artifact, facts, lambda folder: superpod_build.build(plan, folder))
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    return _result(name, True, f"{name} is built and stored in {artifact}", changes)


def installed(name: str, artifact: str, wait: int = 0) -> dict[str, Any]:
    """
    Make sure that a release is installed below /opt/dcgm-exporter, next to others.

    :param name: release tag.
    :param artifact: directory of the artifact in the store.
    :param wait: seconds to wait for the artifact where another node builds it.
    """
    directory = os.path.join(superpod_paths.EXPORTER_ROOT, name)
    if superpod_release.is_installed(artifact, directory):
        return _result(name, True, f"dcgm-exporter {name} is installed in {directory}")
    changes = {"installed": {"old": _sum(directory), "new": _sum(artifact) or "the artifact that is to be built"}}
    if __opts__["test"]:
        return _result(name, None, f"dcgm-exporter {name} would be installed from {artifact}", changes)
    try:
        superpod_release.await_artifact(artifact, wait)
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
    name: str, release: str, roles: dict[str, Any], url: str, timeout: int, files: list[str] | None = None, deploying: bool = False
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
    return _serve(name, **{"files": None, "deploying": False, **{key: kwargs[key] for key in arguments if key in kwargs}}, changed=True)


def _serve(
    name: str, release: str, roles: dict[str, Any], url: str, timeout: int, files: list[str] | None, deploying: bool, changed: bool
) -> dict[str, Any]:
    deployed = os.path.exists(superpod_paths.UNIT_FILE)
    if not deployed and not (deploying and __opts__["test"]):
        return _result(name, not deploying, f"{name} is not deployed on this node yet")
    record = superpod_roles.read(superpod_paths.ROLES_FILE)
    wanted = superpod_roles.wanted(roles, record)
    try:
        desired = superpod_service.fingerprint(_choose(release, deploying), tuple(files or ()))
        changes = _changes(name, wanted, desired, changed)
    except _ERRORS as exc:
        return _result(name, False, str(exc))
    sentence = _sentence(name, wanted, record)
    if not changes:
        return _result(name, True, sentence)
    if __opts__["test"]:
        return _result(name, None, f"{sentence}: would be changed", changes)
    try:
        problem = _act(name, wanted, desired, changes, (url, timeout))
    except _ERRORS as exc:
        problem = str(exc)
    return _result(name, not problem, problem or sentence, changes)


def _choose(release: str, deploying: bool) -> str | None:
    """A change of roles never chooses a release that is not installed."""
    there = os.path.isdir(os.path.join(superpod_paths.EXPORTER_ROOT, release))
    return release if deploying or there else superpod_service.linked_release()


def _sentence(name: str, wanted: str, record: dict[str, Any] | None) -> str:
    roles = ", ".join((record or {}).get("roles", [])) or "none"
    return {
        "running": f"{name} runs (roles: {roles})",
        "stopped": f"{name} is stopped and disabled: none of this node's roles wants it (roles: {roles})",
        "unknown": f"{name} is left as it is: the roles of this node are not known yet",
    }[wanted]


def _changes(name: str, wanted: str, desired: dict[str, Any], changed: bool) -> dict[str, Any]:
    state = superpod_unit.show(name)
    up, enabled = superpod_unit.is_up(state), state.get("UnitFileState") == "enabled"
    flag = os.path.exists(superpod_paths.ENABLED_FLAG)
    found: dict[str, Any] = {}
    linked = superpod_service.linked_release()
    if linked != desired["release"]:
        found["release"] = {"old": linked, "new": desired["release"]}
    target = {"running": True, "stopped": False, "unknown": up}[wanted]
    if up != target:
        found["service"] = {"old": "running" if up else "stopped", "new": "running" if target else "stopped"}
    elif up and (changed or found or _stale(desired)):
        found["service"] = {"old": "running", "new": "restarted"}
    if wanted != "unknown" and (enabled, flag) != (target, target):
        found["boot"] = {"old": "starts" if enabled and flag else "does not start", "new": "starts" if target else "does not start"}
    return found


def _stale(desired: dict[str, Any]) -> bool:
    good = superpod_service.last_good()
    return any(good.get(key) != desired[key] for key in ("release", "binary", "files"))


def _act(name: str, wanted: str, desired: dict[str, Any], changes: dict[str, Any], probe: tuple[str, int]) -> str:
    """Carry the changes out, and return why they did not succeed, or an empty string."""
    good = superpod_service.last_good()
    if "release" in changes:
        superpod_files.link_atomic(desired["release"], superpod_paths.EXPORTER_CURRENT)
    superpod_unit.systemctl("daemon-reload")
    if wanted == "stopped":
        with contextlib.suppress(FileNotFoundError):
            os.unlink(superpod_paths.ENABLED_FLAG)
        superpod_unit.systemctl("disable", "--now", name)
        return ""
    if wanted == "running":
        superpod_files.write_atomic(superpod_paths.ENABLED_FLAG, "Written by the Salt state dcgm.exporter.service.\n")
        superpod_unit.systemctl("enable", name)
    if "service" not in changes:
        return ""
    superpod_unit.systemctl("restart", name)
    problem = superpod_unit.await_metrics(name, *probe)
    if problem:
        return f"dcgm-exporter {desired['release']}: {problem} after {probe[1]} s. {_go_back(name, good, desired, probe)}"
    superpod_service.remember(desired)
    return ""


def _go_back(name: str, good: dict[str, Any], bad: dict[str, Any], probe: tuple[str, int]) -> str:
    log = f"See `journalctl -u {name}`."
    if not superpod_service.can_go_back(good, bad):
        return f"There is no earlier good state to go back to. {log}"
    superpod_service.restore(good)
    superpod_unit.systemctl("daemon-reload")
    superpod_unit.systemctl("restart", name)
    problem = superpod_unit.await_metrics(name, *probe)
    if problem:
        return f"Release {good['release']} and its configuration were put back and do not answer either: {problem}. {log}"
    return f"Release {good['release']} and its configuration were put back and answer. {log}"


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


def published_source(name: str, checkout: str, commit: str) -> dict[str, Any]:
    """
    Offer a checkout of dcgm-exporter on this machine to the builder, as a git bundle on shared storage.

    :param name: path of the bundle.
    :param checkout: the folder; when it is missing, the bundle goes.
    :param commit: what the bundle must hold.
    """
    there = os.path.exists(name)
    if not os.path.isdir(checkout):
        if not there:
            return _result(name, True, f"There is no checkout in {checkout}")
        return _remove_file(name, f"There is no checkout in {checkout} any more")
    held = _git("bundle", "list-heads", name) if there else ""
    if commit in held:
        return _result(name, True, f"{name} holds {commit}")
    if __opts__["test"]:
        return _result(name, None, f"{checkout} would be offered as {name}", {"bundle": {"old": None, "new": commit}})
    os.makedirs(os.path.dirname(name), exist_ok=True)
    problem = _bundle(name, checkout, commit)
    return _result(name, not problem, problem or f"{checkout} is offered as {name}", {} if problem else {"bundle": {"old": None, "new": commit}})


def _remove_file(path: str, comment: str) -> dict[str, Any]:
    changes = {"removed": path}
    if __opts__["test"]:
        return _result(path, None, f"{comment}: {path} would be removed", changes)
    os.unlink(path)
    return _result(path, True, f"{comment}: {path} is removed", changes)


def _git(*arguments: str, cwd: str = "/") -> str:
    answer = subprocess.run(["git", *arguments], cwd=cwd, capture_output=True, text=True, timeout=300, check=False)
    return answer.stdout if answer.returncode == 0 else ""


def _bundle(name: str, checkout: str, commit: str) -> str:
    temporary = f"{name}.new"
    answer = subprocess.run(
        ["git", "-C", checkout, "bundle", "create", "--quiet", temporary, "--tags", "HEAD"],
        capture_output=True, text=True, timeout=600, check=False,
    )
    if answer.returncode:
        return f"{checkout} cannot be offered: {answer.stderr.strip()}"
    if commit not in _git("bundle", "list-heads", temporary):
        os.unlink(temporary)
        return f"{checkout} has no tag or HEAD at commit {commit}"
    os.replace(temporary, name)
    return ""
