"""Build dcgm-exporter from a pinned commit, in a directory that is gone afterwards whatever happens."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass, field

from superpod_dcgm.base import complaint, files, process
from superpod_dcgm.exporter.go import quiet
from superpod_dcgm.exporter.source import write_trust

log = logging.getLogger(__name__)
# What `make binary` leaves behind, and where (upstream's Makefile).
_PRODUCTS = {
    "dcgm-exporter": "cmd/dcgm-exporter/dcgm-exporter",
    "default-counters.csv": "etc/default-counters.csv",
}
_LINES_SHOWN = 15
# Lies in a directory of a build, and what else earlier ones had there: only such a directory is removed.
_MARK = ".superpod-dcgm-build"
_CONTENT = {_MARK, ".gitconfig", ".config", ".cache", "tmp", "cache", "go", "dcgm-exporter"}


class BuildError(Exception):
    """The build could not be done. Its text is the reason with the last lines of output."""


@dataclass(frozen=True)
class Plan:
    """What to build, from where, and with which Go."""

    release: str
    commit: str
    source: str
    go: str
    directory: str
    timeout: int
    environment: dict[str, str] = field(default_factory=dict)


def build(plan: Plan, destination: str) -> None:
    """
    Build ``plan`` and put binary and counters file into the existing directory ``destination``.

    :raises BuildError: clone, verification of the commit, or build failed, or took longer than the plan allows.
    """
    deadline = time.monotonic() + plan.timeout
    if not is_ours(plan.directory):
        raise BuildError(
            f"{plan.directory} is there, and no build made it: it is not removed. Move it away, "
            "or give another dcgm:exporter:build:directory"
        )
    shutil.rmtree(plan.directory, ignore_errors=True)
    try:
        _prepare(plan)
        source = _clone(plan, deadline)
        _verify(plan, source, deadline)
        log.info("Building dcgm-exporter %s with %s", plan.release, plan.go)
        _run(["make", "binary"], source, plan, deadline)
        _collect(source, destination)
    except OSError as exc:
        raise BuildError(f"Building dcgm-exporter {plan.release} in {plan.directory} failed: {exc}") from exc
    finally:
        shutil.rmtree(plan.directory, ignore_errors=True)


def is_ours(directory: str) -> bool:
    """Return whether a directory is missing, empty, or has what only a build leaves in it."""
    if os.path.islink(directory):
        return False
    try:
        return set(os.listdir(directory)) <= _CONTENT
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _prepare(plan: Plan) -> None:
    files.make_directory(os.path.dirname(plan.directory))
    # Fails if somebody made it in between.
    os.mkdir(plan.directory, 0o700)
    files.write_atomic(os.path.join(plan.directory, _MARK), "")
    files.make_directory(os.path.join(plan.directory, "tmp"))
    quiet(plan.directory)


def _clone(plan: Plan, deadline: float) -> str:
    source = os.path.join(plan.directory, "dcgm-exporter")
    write_trust(plan.directory)
    log.info("Cloning %s at %s", plan.source, plan.release)
    arguments = ["git", "clone", "--quiet", "--no-hardlinks", "--branch", plan.release, plan.source, source]
    _run(arguments, plan.directory, plan, deadline)
    return source


def _verify(plan: Plan, source: str, deadline: float) -> None:
    found = _run(["git", "rev-parse", "HEAD^{commit}"], source, plan, deadline).strip()
    if found != plan.commit:
        raise BuildError(
            f"The tag {plan.release} of {plan.source} points to commit {found}, not to {plan.commit}: not built. "
            "If the tag was moved on purpose, give the new commit in dcgm:exporter:commit"
        )


def _environment(plan: Plan) -> dict[str, str]:
    values = {
        "PATH": f"{plan.go}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": plan.directory,
        "XDG_CONFIG_HOME": f"{plan.directory}/.config",
        "XDG_CACHE_HOME": f"{plan.directory}/.cache",
        "TMPDIR": f"{plan.directory}/tmp",
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GOCACHE": f"{plan.directory}/cache",
        "GOPATH": f"{plan.directory}/go",
        # Without -modcacherw only root could remove what Go fetched.
        "GOFLAGS": "-buildvcs=false -modcacherw",
        # The Go release is pinned with its checksum; it shall not fetch another one.
        "GOTOOLCHAIN": "local",
    }
    values.update(plan.environment)
    return values


def _run(arguments: list[str], directory: str, plan: Plan, deadline: float) -> str:
    left = max(0.1, deadline - time.monotonic())
    answer = process.run(arguments, left, _environment(plan), directory, together=True)
    if answer.missing:
        raise BuildError(f"{arguments[0]} is not installed on this node")
    if answer.late:
        raise BuildError(f"{' '.join(arguments)}: not finished after {plan.timeout} s in all, ended")
    if answer.code is None:
        raise BuildError(f"{' '.join(arguments)}: {answer.error}")
    if answer.code:
        tail = "\n".join(complaint.clean(answer.output)[-_LINES_SHOWN:])
        reason = complaint.reason(answer.output) or "nothing said"
        raise BuildError(f"{' '.join(arguments)}: {answer.ending}: {reason}\nIts last lines:\n{tail}")
    return answer.output


def _collect(source: str, destination: str) -> None:
    for name, product in _PRODUCTS.items():
        path = os.path.join(source, product)
        if not os.path.isfile(path):
            raise BuildError(f"`make binary` succeeded and left no {product}")
        shutil.copyfile(path, os.path.join(destination, name))
    os.chmod(os.path.join(destination, "dcgm-exporter"), 0o755)
