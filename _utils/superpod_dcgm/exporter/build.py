"""Build dcgm-exporter from a pinned commit, in a directory that is gone afterwards whatever happens."""

from __future__ import annotations

import logging
import os
import shutil
import time
from dataclasses import dataclass, field

from superpod_dcgm.base import process
from superpod_dcgm.exporter.source import write_trust

log = logging.getLogger(__name__)
# What `make binary` leaves behind, and where (upstream's Makefile).
_PRODUCTS = {
    "dcgm-exporter": "cmd/dcgm-exporter/dcgm-exporter",
    "default-counters.csv": "etc/default-counters.csv",
}
_LINES_SHOWN = 15


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
    shutil.rmtree(plan.directory, ignore_errors=True)
    try:
        os.makedirs(plan.directory, mode=0o700)
        source = _clone(plan, deadline)
        _verify(plan, source, deadline)
        log.info("Building dcgm-exporter %s with %s", plan.release, plan.go)
        _run(["make", "binary"], source, plan, deadline)
        _collect(source, destination)
    except OSError as exc:
        raise BuildError(f"Building dcgm-exporter {plan.release} in {plan.directory} failed: {exc}") from exc
    finally:
        shutil.rmtree(plan.directory, ignore_errors=True)


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
        "LANG": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GOCACHE": f"{plan.directory}/cache",
        "GOPATH": f"{plan.directory}/go",
        "GOFLAGS": "-buildvcs=false",
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
        tail = "\n".join(answer.output.splitlines()[-_LINES_SHOWN:])
        raise BuildError(f"{' '.join(arguments)}: exit code {answer.code}\n{tail}")
    return answer.output


def _collect(source: str, destination: str) -> None:
    for name, product in _PRODUCTS.items():
        path = os.path.join(source, product)
        if not os.path.isfile(path):
            raise BuildError(f"`make binary` succeeded and left no {product}")
        shutil.copyfile(path, os.path.join(destination, name))
    os.chmod(os.path.join(destination, "dcgm-exporter"), 0o755)
