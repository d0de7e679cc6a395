"""
Build dcgm-exporter from a pinned commit, in a directory that is gone afterwards whatever happens.

Clone, modules and compiler run as a user of this project who can write to that directory only.
"""

from __future__ import annotations

import logging
import os
import shutil
import stat
import time
from dataclasses import dataclass, field

from superpod_dcgm.base import complaint, files, process
from superpod_dcgm.exporter import confined
from superpod_dcgm.exporter.go import quiet
from superpod_dcgm.exporter.source import write_trust

log = logging.getLogger(__name__)
# What `make binary` leaves behind, and where (upstream's Makefile).
_PRODUCTS = {
    "dcgm-exporter": "cmd/dcgm-exporter/dcgm-exporter",
    "default-counters.csv": "etc/default-counters.csv",
}
# Caches that a site may share between builds.
_CACHES = ("GOCACHE", "GOMODCACHE", "GOPATH")
_LINES_SHOWN = 15
# What systemd may take to say that the time is over.
_GRACE = 15.0
# Lies in a directory of a build, and what else earlier ones had there: only such a directory is removed.
_MARK = ".superpod-dcgm-build"
_CONTENT = {_MARK, "work", "environment", ".gitconfig", ".config", ".cache", "tmp", "cache", "go", "dcgm-exporter"}


class BuildError(Exception):
    """The build could not be done. Its text is the reason with the last lines of output."""


@dataclass(frozen=True)
class Plan:
    """What to build, from where, with which Go, and as whom (empty: whoever calls)."""

    release: str
    commit: str
    source: str
    go: str
    directory: str
    timeout: int
    environment: dict[str, str] = field(default_factory=dict)
    user: str = ""

    @property
    def work(self) -> str:
        """The directory of the user who builds."""
        return os.path.join(self.directory, "work")

    @property
    def place(self) -> confined.Place:
        """Where he may write, caches of the site included."""
        caches = [self.environment.get(name, "") for name in _CACHES]
        shared = tuple(path for path in caches if os.path.isabs(path) and os.path.isdir(path))
        return confined.Place(self.user, self.work, os.path.join(self.directory, "environment"), shared)


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
        _check(source, plan, deadline)
        _collect(source, destination, confined.number(plan.user))
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
    # Others must get through it to their own.
    files.make_directory(plan.directory)
    files.write_atomic(os.path.join(plan.directory, _MARK), "")
    confined.give(plan.work, "")
    quiet(plan.work)
    for folder in (os.path.join(plan.work, "tmp"), plan.work):
        confined.give(folder, plan.user)


def _clone(plan: Plan, deadline: float) -> str:
    source = os.path.join(plan.work, "dcgm-exporter")
    write_trust(plan.work)
    log.info("Cloning %s at %s", plan.source, plan.release)
    arguments = ["git", "clone", "--quiet", "--no-hardlinks", "--branch", plan.release, plan.source, source]
    _run(arguments, plan.work, plan, deadline)
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
        "HOME": plan.work,
        "XDG_CONFIG_HOME": f"{plan.work}/.config",
        "XDG_CACHE_HOME": f"{plan.work}/.cache",
        "TMPDIR": f"{plan.work}/tmp",
        "LC_ALL": "C.UTF-8",
        "GIT_TERMINAL_PROMPT": "0",
        "GOCACHE": f"{plan.work}/cache",
        "GOPATH": f"{plan.work}/go",
        # Without -modcacherw only root could remove what Go fetched.
        "GOFLAGS": "-buildvcs=false -modcacherw",
        # The Go release is pinned with its checksum; it shall not fetch another one.
        "GOTOOLCHAIN": "local",
    }
    values.update(plan.environment)
    return values


def _run(arguments: list[str], directory: str, plan: Plan, deadline: float) -> str:
    left, values, text = max(0.1, deadline - time.monotonic()), _environment(plan), " ".join(arguments)
    if not shutil.which(arguments[0], path=values["PATH"]):
        raise BuildError(f"{arguments[0]} is not installed on this node")
    command = confined.command(arguments, plan.place, directory, left, values)
    waits = left + _GRACE if command[0] == "systemd-run" else left
    answer = process.run(command, waits, values, directory, together=True)
    if answer.late or (answer.code and time.monotonic() >= deadline):
        raise BuildError(f"{text}: not finished after {plan.timeout} s in all, ended")
    if answer.code is None:
        raise BuildError(f"{text}: {answer.error}")
    if answer.code:
        tail = "\n".join(complaint.clean(answer.output)[-_LINES_SHOWN:])
        reason = complaint.reason(answer.output) or "nothing said"
        who = f" (as the user {plan.user}, who must be able to read the source)" if confined.number(plan.user) else ""
        raise BuildError(f"{text}: {answer.ending}{who}: {reason}\nIts last lines:\n{tail}")
    return answer.output


def _check(source: str, plan: Plan, deadline: float) -> None:
    """What was built shall run here; root does not try it."""
    binary = os.path.join(source, _PRODUCTS["dcgm-exporter"])
    if os.path.exists(binary):
        _run([binary, "--version"], source, plan, deadline)


def _collect(source: str, destination: str, owner: int) -> None:
    for name, product in _PRODUCTS.items():
        try:
            descriptor = os.open(os.path.join(source, product), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as exc:
            raise BuildError(f"`make binary` succeeded and left no {product}") from exc
        try:
            found = os.fstat(descriptor)
            # What a build links to may be a file that only root can read.
            if not stat.S_ISREG(found.st_mode) or found.st_uid != owner:
                raise BuildError(f"`make binary` left a {product} that is no file of its own: not used")
            with open(descriptor, "rb", closefd=False) as made, files.create(os.path.join(destination, name)) as target:
                shutil.copyfileobj(made, target)
        finally:
            os.close(descriptor)
