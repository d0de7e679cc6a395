"""Where the source of dcgm-exporter comes from: a checkout, a bundle on shared storage, or a git server."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from superpod_dcgm.base import files, process

_SECONDS = 600


class SourceError(Exception):
    """A checkout cannot be offered. Its text says why."""


def bundle(store: str, commit: str) -> str:
    """Return where the git bundle that holds ``commit`` lies in the shared store."""
    return os.path.join(store, "source", f"dcgm-exporter-{commit}.bundle")


def choose(source: dict[str, Any], offered: str) -> str:
    """Return what to clone: ``exporter:source:path`` if given, else the bundle if there is one, else the URL."""
    if source["path"]:
        return str(source["path"])
    return offered if os.path.exists(offered) else str(source["url"])


def publish(checkout: str, release: str, commit: str, target: str) -> None:
    """
    Write the tag ``release`` of ``checkout`` as the git bundle ``target``, after checking that it is ``commit``.

    :raises SourceError: no such tag, another commit, or git failed; no bundle appears then.
    """
    found = _git(checkout, "rev-parse", "--verify", f"refs/tags/{release}^{{commit}}")
    if found != commit:
        raise SourceError(f"The tag {release} in {checkout} points to commit {found}, not to {commit}: not offered")
    files.make_directory(os.path.dirname(target))
    # In a folder of its own: git keeps a lock beside what it writes, and nothing half written stays.
    with tempfile.TemporaryDirectory(prefix=".bundle-", dir=os.path.dirname(target)) as folder:
        fresh = os.path.join(folder, os.path.basename(target))
        _git(checkout, "bundle", "create", "--quiet", fresh, f"refs/tags/{release}")
        os.chmod(fresh, 0o644)
        os.replace(fresh, target)


def write_trust(home: str) -> None:
    """
    Let git, run with this home, read repositories that belong to anybody: the commit is what is trusted.

    Git before 2.38 takes `safe.directory` from a file only, not from the command line (git-config(1)).
    """
    trust = "[safe]\n\tdirectory = *\n[advice]\n\tdetachedHead = false\n"
    files.write_atomic(os.path.join(home, ".gitconfig"), trust)


def _git(checkout: str, *arguments: str) -> str:
    command = ["git", "-C", checkout, *arguments]
    with tempfile.TemporaryDirectory(prefix="superpod-git-") as home:
        write_trust(home)
        answer = process.run(command, _SECONDS, process.surroundings(HOME=home, XDG_CONFIG_HOME=home))
    if answer.code != 0:
        raise SourceError(f"{' '.join(command)}: {answer.problem}")
    return answer.output.strip()
