"""Build dcgm-exporter from a pinned commit, in a directory that is gone afterwards whatever happens."""

import contextlib
import logging
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass, field
from typing import Any

import superpod_checkout

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
    superpod_checkout.write_trust(plan.directory)
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
    """Run a command in a session of its own, so that a time-out ends its children as well."""
    try:
        process = subprocess.Popen(
            arguments,
            cwd=directory,
            env=_environment(plan),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError as exc:
        raise BuildError(f"{arguments[0]} is not installed on this node: {exc}") from exc
    try:
        output, _ = process.communicate(timeout=max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as exc:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise BuildError(f"{' '.join(arguments)}: not finished after {plan.timeout} s in all, ended") from exc
    if process.returncode:
        tail = "\n".join(output.splitlines()[-_LINES_SHOWN:])
        raise BuildError(f"{' '.join(arguments)}: exit code {process.returncode}\n{tail}")
    return output


def _collect(source: str, destination: str) -> None:
    for name, product in _PRODUCTS.items():
        path = os.path.join(source, product)
        if not os.path.isfile(path):
            raise BuildError(f"`make binary` succeeded and left no {product}")
        shutil.copyfile(path, os.path.join(destination, name))
    os.chmod(os.path.join(destination, "dcgm-exporter"), 0o755)


def go_prefix(settings: dict[str, Any]) -> str:
    """Return the directory with ``bin/go`` that the settings ``dcgm:go`` choose."""
    if settings["enabled"] and settings["method"] == "archive":
        # The archive has one folder `go`. Unpacked as it is, Salt finds what an interrupted unpacking left out.
        return os.path.join(settings["directory"], f"go{settings['version']}", "go")
    # Where Go's own instructions put it, if an administrator did; else the distribution's.
    by_hand = "/usr/local/go"
    return by_hand if not settings["enabled"] and os.path.exists(f"{by_hand}/bin/go") else "/usr"


def go_version(command: str) -> str:
    """
    Return the version of a Go compiler, such as ``1.26.2``.

    :raises BuildError: it does not run.
    """
    try:
        answer = subprocess.run(
            [command, "version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={"GOTOOLCHAIN": "local", "HOME": "/nonexistent"},
        )
        return answer.stdout.split()[2].removeprefix("go")
    except (OSError, subprocess.SubprocessError, IndexError) as exc:
        raise BuildError(f"{command} does not run: {exc}") from exc


def is_new_enough(found: str, minimum: str) -> bool:
    """Return whether Go ``found`` can build what asks for Go ``minimum``; a pre-release counts as its release."""
    return _numbers(found) >= _numbers(minimum)


def _numbers(text: str) -> tuple[int, ...]:
    numbers = [int(part) for part in re.findall(r"\d+", text)[:3]]
    return (*numbers, 0, 0, 0)[:3]
