"""Build, install and remove releases of dcgm-exporter, and the Go that builds them."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from typing import Any

from superpod_dcgm.base import paths, state
from superpod_dcgm.exporter import artifacts, build
from superpod_dcgm.exporter import go as compiler
from superpod_dcgm.exporter import installed as releases

# Given by Salt's loader.
__opts__: dict[str, Any]
__states__: dict[str, Callable[..., dict[str, Any]]]

_ERRORS = (build.BuildError, compiler.GoError, artifacts.ReleaseError, OSError)


def go_unpacked(name: str, source: str, sha256: str) -> dict[str, Any]:
    """
    Make sure that a Go release is unpacked, and report its thousands of files as one change.

    :param name: the directory, which gets the archive's folder ``go``.
    :param source: the archive: URL, ``salt://`` address or path.
    :param sha256: its SHA-256.

    .. code-block:: yaml

        Unpack Go 1.26.2:
          dcgm_release.go_unpacked:
            - name: /opt/superpod-dcgm/go1.26.2
            - source: https://go.dev/dl/go1.26.2.linux-amd64.tar.gz
            - sha256: 990e6b4bbba816dc3ee129eaeaf4b42f17c2800b88a2166c265ac1a200262282
    """
    ret = __states__["archive.extracted"](name, source=source, source_hash=sha256, user="root", group="root")
    comment = (str(ret["comment"]).splitlines() or [""])[0]
    if ret["result"] is None:
        # Salt names no changes then.
        return state.result(name, None, comment, {"go": "to be unpacked"})
    if not ret["changes"]:
        return state.result(name, ret["result"], ret["comment"])
    count = len(ret["changes"].get("extracted_files", ()))
    what = f"{count} files unpacked" if count else ", ".join(sorted(ret["changes"]))
    return state.result(name, ret["result"], comment, {"go": what})


def go_removed(name: str) -> dict[str, Any]:
    """
    Remove the Go releases that ``go_unpacked`` made, and their directory if nothing of others is left in it.

    :param name: the directory.

    .. code-block:: yaml

        Remove /opt/superpod-dcgm:
          dcgm_release.go_removed:
            - name: /opt/superpod-dcgm
    """
    if not os.path.isdir(name):
        return state.result(name, True, f"{name} is not there")
    gone = compiler.unpacked(name)
    others = sorted(set(os.listdir(name)) - {os.path.basename(path) for path in gone})
    stays = f"; {name} stays, because of what others put there: {', '.join(others)}" if others else ""
    return _removed(name, [*gone, *([] if others else [name])], stays)


def build_removed(name: str) -> dict[str, Any]:
    """
    Remove what a build left that was ended from outside.

    :param name: its directory.

    .. code-block:: yaml

        Remove what a build of dcgm-exporter left:
          dcgm_release.build_removed:
            - name: /opt/dcgm-exporter-deployment
    """
    if not os.path.lexists(name):
        return state.result(name, True, f"{name} is not there")
    ours = build.is_ours(name)
    return _removed(name, [name] if ours else [], "" if ours else f"; {name} stays: no build made it")


def _removed(name: str, gone: list[str], stays: str) -> dict[str, Any]:
    if not gone:
        return state.result(name, True, f"Nothing of ours is there{stays}")
    changes = {"removed": gone}
    if __opts__["test"]:
        return state.result(name, None, f"{len(gone)} would be removed{stays}", changes)
    for path in gone:
        shutil.rmtree(path, ignore_errors=True)
    left = [path for path in gone if os.path.lexists(path)]
    comment = f"{', '.join(left)} cannot be removed" if left else f"{len(gone)} removed{stays}"
    return state.result(name, not left, comment, changes)


def go_usable(name: str, minimum: str) -> dict[str, Any]:
    """
    Make sure that a Go compiler is new enough for the release of dcgm-exporter that is to be built.

    :param name: path of the ``go`` command.
    :param minimum: oldest release that builds it, such as ``1.26.0``. Empty: it is not known, and any will do.

    .. code-block:: yaml

        Check that Go is new enough:
          dcgm_release.go_usable:
            - name: /usr/bin/go
            - minimum: 1.26.0
    """
    if __opts__["test"] and not os.path.exists(name):
        return state.result(name, True, f"{name} will be checked once it is installed")
    try:
        found = compiler.version(name)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    if not compiler.is_new_enough(found, minimum):
        hint = "Set dcgm:go:method: archive, or dcgm:go:version to a newer one"
        return state.result(name, False, f"{name} is Go {found}; this release needs {minimum} or newer. {hint}")
    needed = f"{minimum} or newer is needed" if minimum else "what is needed is not known"
    return state.result(name, True, f"{name} is Go {found}; {needed}")


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
    user: str = "",
) -> dict[str, Any]:
    """
    Make sure that the artifact of a release is in the store for every user to read; build it when it is not there.

    :param name: release tag.
    :param commit: what the tag must point to.
    :param source: git URL, path of a checkout, or bundle.
    :param artifact: directory of the artifact in the store.
    :param go: where ``bin/go`` is.
    :param directory: build directory; gone afterwards.
    :param timeout: seconds that the build may take.
    :param wait: seconds to wait for another node that builds the same.
    :param user: as whom it is cloned and built; empty: as whoever calls.

    .. code-block:: yaml

        Build dcgm-exporter 4.5.3-4.8.2:
          dcgm_release.built:
            - name: 4.5.3-4.8.2
            - commit: 691c92762eb551313c825f6efe4ceeee20982801
            - source: https://github.com/NVIDIA/dcgm-exporter.git
            - artifact: /cm/shared/apps/dcgm-exporter/artifacts/4.5.3-4.8.2/linux-amd64
            - go: /usr
            - directory: /opt/dcgm-exporter-deployment
            - timeout: 1800
            - wait: 2400
            - environment: {}
    """
    old = artifacts.built_from(artifact) or None
    if old == commit:
        return _opened(name, artifact, f"{artifact} is there, built from {commit}")
    changes = {"artifact": {"old": old, "new": commit}}
    if __opts__["test"]:
        return state.result(name, None, f"{name} would be built from {source} at {commit}", changes)
    plan = build.Plan(name, commit, source, go, directory, timeout, dict(environment), user)
    try:
        done = _build(plan, artifact, wait)
    except _ERRORS as exc:
        artifacts.note_failure(artifact, str(exc))
        return state.result(name, False, str(exc))
    if not done:
        return state.result(name, True, f"{artifact} was built by another node meanwhile")
    return state.result(name, True, f"{name} is built and stored in {artifact}", changes)


def _opened(name: str, directory: str, comment: str) -> dict[str, Any]:
    """Let every user read what is there: a minion with a strict umask may have made it with a release before."""
    closed = sorted(artifacts.closed(directory))
    if not closed:
        return state.result(name, True, comment)
    changes = {"modes": closed}
    if __opts__["test"]:
        return state.result(name, None, f"{comment}; its modes would be set right", changes)
    try:
        artifacts.open_to_all(directory)
    except OSError as exc:
        return state.result(name, False, f"{comment}, and its modes cannot be set right: {exc}")
    return state.result(name, True, f"{comment}; its modes are set right", changes)


def _build(plan: build.Plan, artifact: str, wait: int) -> bool:
    """Build under the lock of the artifact; return False where another node did that in the meantime."""
    with artifacts.lock(artifact, wait):
        if artifacts.built_from(artifact) == plan.commit:
            return False
        version = compiler.version(os.path.join(plan.go, "bin/go"))
        facts = {"release": plan.release, "commit": plan.commit, "source": plan.source, "go": version}
        with artifacts.publishing(artifact, facts) as folder:
            build.build(plan, folder)
    return True


def installed(name: str, artifact: str, commit: str, wait: int = 0, user: str = "") -> dict[str, Any]:
    """
    Make sure that a release is installed below /opt/dcgm-exporter, next to others.

    :param name: release tag.
    :param artifact: directory of the artifact in the store.
    :param commit: what it must have been built from; empty when that is not known.
    :param wait: seconds to wait for the artifact where another node builds it.
    :param user: as whom it is tried whether the binary runs here; empty: as whoever calls.

    .. code-block:: yaml

        Install dcgm-exporter 4.5.3-4.8.2:
          dcgm_release.installed:
            - name: 4.5.3-4.8.2
            - artifact: /cm/shared/apps/dcgm-exporter/artifacts/4.5.3-4.8.2/linux-amd64
            - commit: ''
    """
    directory = os.path.join(paths.EXPORTER_ROOT, name)
    if releases.is_installed(artifact, directory, commit):
        return _opened(name, directory, f"dcgm-exporter {name} is installed in {directory}")
    changes = {"installed": {"old": _sum(directory), "new": _sum(artifact) or "the artifact that is to be built"}}
    if __opts__["test"]:
        return state.result(name, None, f"dcgm-exporter {name} would be installed from {artifact}", changes)
    try:
        artifacts.await_artifact(artifact, commit, wait)
        changes["installed"]["new"] = _sum(artifact)
        releases.install(artifact, directory, user)
    except _ERRORS as exc:
        return state.result(name, False, str(exc))
    return state.result(name, True, f"dcgm-exporter {name} is installed in {directory}", changes)


def _sum(directory: str) -> str | None:
    with contextlib.suppress(artifacts.ReleaseError):
        return artifacts.read_sums(directory).get(artifacts.BINARY)
    return None


def pruned(name: str, keep: int, release: str) -> dict[str, Any]:
    """
    Remove old releases from this node, never the current, the wanted or the last good one.

    :param name: what the releases are called in the report.
    :param keep: how many may stay.
    :param release: the release that shall be current.

    .. code-block:: yaml

        Remove old releases of dcgm-exporter:
          dcgm_release.pruned:
            - keep: 3
            - release: 4.5.3-4.8.2
    """
    surplus = releases.surplus(keep, release)
    if not surplus:
        return state.result(name, True, f"No more than {keep} releases are installed")
    changes = {"removed": surplus}
    if __opts__["test"]:
        return state.result(name, None, "Old releases would be removed", changes)
    for old in surplus:
        shutil.rmtree(os.path.join(paths.EXPORTER_ROOT, old))
    return state.result(name, True, "Old releases are removed", changes)
